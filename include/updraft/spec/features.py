"""``features.py`` of a project: checked without running it, loaded, and called.

The file stands alone: what a model was trained on is named by the hash of this one file, so a second file beside it
would go unseen.
"""

from __future__ import annotations

import ast
import os
import re
import sys
import traceback
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from updraft import files
from updraft.errors import DataError
from updraft.spec.model import Project, ProjectSpec
from updraft.spec.problems import Problem, SpecProblems, did_you_mean, shown_path

if TYPE_CHECKING:
    import pandas as pd

FEATURES = "features.py"
FUNCTION = "features"
MOST_COLUMNS = 2_000
MOST_CATEGORIES = 100_000
"""Distinct texts of one feature in one partition."""
LONGEST_CATEGORY = 1_000
"""Characters."""
_AIRFLOW = ("airflow", "updraft_airflow")


@dataclass(frozen=True)
class FeatureCode:
    """The feature function of a project and the hash that names it."""

    function: Callable[[pd.DataFrame], pd.DataFrame]
    sha256: str
    """Of the file's bytes."""
    path: Path
    source: bytes = field(repr=False, compare=False)
    """The file's bytes, as they were run."""


def check_features(project: Project) -> tuple[Problem, ...]:
    """What is wrong with ``features.py``, as far as it shows without running it."""
    return tuple(static_problems(project.folder, project.spec))


def load_features(project: Project) -> FeatureCode:
    """Run ``features.py`` and take its function ``features``.

    :raises SpecProblems: when the file imports Airflow, has a syntax error, raises, or has no such function.
    """
    path = project.folder / FEATURES
    if problems := check_features(project):
        raise SpecProblems(problems)
    return features_from(project, path.read_bytes(), path)


def features_from(project: Project, content: bytes, path: Path) -> FeatureCode:
    """The feature function of a source that was kept, such as the one that travels in a signed model.

    :param path: what errors call it.
    :raises SpecProblems: when it raises, or has no such function.
    """
    sha = files.sha256(content)
    module = ModuleType(f"_updraft_features_{project.name}_{sha[:12]}")
    module.__file__ = str(path)
    function = _run(module, content, path)
    return FeatureCode(function, sha, path, content)


def _run(module: ModuleType, content: bytes, path: Path) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """Run the file as this module, which stays known by its name unless that fails."""
    sys.modules[module.__name__] = module  # dataclasses and typing look their module up by name
    try:
        # compiled here and not imported: no search path is touched, no stale bytecode is read, none is written
        exec(compile(content, str(path), "exec", dont_inherit=True), module.__dict__)
    except (Exception, SystemExit) as error:
        sys.modules.pop(module.__name__, None)
        message = f"raises {_said(error)} when it is loaded{_alone(error, path.parent)}"
        raise SpecProblems([Problem(shown_path(path), "", None, message, (), _line(error, path))]) from error
    function: Callable[[pd.DataFrame], pd.DataFrame] | None = getattr(module, FUNCTION, None)
    if not callable(function):
        sys.modules.pop(module.__name__, None)
        raise SpecProblems([Problem(shown_path(path), FUNCTION, function, "is not a function of the rows")])
    return function


def compute(project: Project, code: FeatureCode, rows: pd.DataFrame) -> pd.DataFrame:
    """Call the feature function and check what it gives.

    :param rows: rows of a partition as published; the function works on a copy.
    :returns: one row per row of ``rows`` with the same index; columns are numbers, truth values or text.
    :raises DataError: when the function raises or gives something else; names the file and the column.
    """
    try:
        frame = code.function(rows.copy())
    except Exception as error:
        line = _line(error, code.path)
        place = shown_path(code.path) + (f":{line}" if line else "")
        raise DataError(f"{place}: {_why(project, rows, error)}") from error
    wrong = next(_wrong(rows, frame), None)
    if wrong:
        raise DataError(f"{shown_path(code.path)}: {FUNCTION}() {wrong}")
    return frame


def _wrong(rows: pd.DataFrame, frame: Any) -> Iterator[str]:
    """What is wrong with a frame of features, the worst first."""
    import pandas as pd

    if not isinstance(frame, pd.DataFrame):
        yield f"gave a {type(frame).__name__}; it must give a DataFrame"
        return
    if len(frame) != len(rows):
        yield f"gave {len(frame)} rows for {len(rows)}; it must give one for each, in the same order"
    elif not frame.index.equals(rows.index):
        yield "gave rows with another index; build the frame with index=rows.index, and do not sort or reset it"
    for name in frame.columns:
        if not isinstance(name, str) or not name:
            yield f"gave a column named {name!r}; names are text"
        elif name.startswith("_"):
            yield f"gave a column named {name!r}; names that begin with _ are Updraft's own"
    if not len(frame.columns):
        yield "gave no columns"
    if len(frame.columns) > MOST_COLUMNS:
        yield f"gave {len(frame.columns)} columns, more than {MOST_COLUMNS}; keep those that tell something"
        return
    if not frame.columns.is_unique:
        yield f"gave column {frame.columns[frame.columns.duplicated()][0]!r} twice"
        return
    for name in frame.columns:
        if complaint := _wrong_column(frame[name]):
            yield f"gave column {name!r} {complaint}"


def _wrong_column(values: pd.Series[Any]) -> str | None:
    import numpy as np
    import pandas as pd

    types = pd.api.types
    if isinstance(values.dtype, pd.CategoricalDtype):
        odd = next((each for each in values.cat.categories if not isinstance(each, str)), None)
        if odd is not None:
            return f"with category {odd!r}; categories are text: use .astype(str) first"
        return _wrong_categories(values.cat.categories)
    if types.is_bool_dtype(values.dtype) or types.is_integer_dtype(values.dtype):
        return None
    if types.is_float_dtype(values.dtype):
        infinite = np.isinf(values.to_numpy(np.float64, na_value=np.nan))
        return f"with {int(infinite.sum())} infinite values; a missing value is NaN" if infinite.any() else None
    if types.is_object_dtype(values.dtype) or types.is_string_dtype(values.dtype):
        kind = types.infer_dtype(values, skipna=True)
        if kind not in ("string", "empty"):
            return f"of mixed type ({kind}); make it all text, or numbers"
        return _wrong_categories(values.dropna().unique())
    return f"of type {values.dtype}; a feature is a number or text, so derive one from it"


def _wrong_categories(texts: Collection[str]) -> str | None:
    """Each distinct text is kept, in the profile of the partition and in every model."""
    if len(texts) > MOST_CATEGORIES:
        return f"with {len(texts)} distinct texts, more than {MOST_CATEGORIES}; group them, or take the column out"
    longest = max(map(len, texts), default=0)
    if longest > LONGEST_CATEGORY:
        return f"with a text of {longest} characters, more than {LONGEST_CATEGORY}; make a category or a number of it"
    return None


def _why(project: Project, rows: pd.DataFrame, error: Exception) -> str:
    """A column that is not there is most often one that cannot be there: what happened only afterwards."""
    if isinstance(error, KeyError | AttributeError):
        text = str(error)
        data = project.spec.data
        for column in data.outcomes:
            if _mentions(text, column):
                return f"`{column}` is an outcome: it is not known at prediction time (data.outcomes in project.yaml)"
        missing = str(error.args[0] if error.args else "") if isinstance(error, KeyError) else error.name or ""
        if missing not in rows.columns and _mentions(data.label.expr, missing):
            return f"`{missing}` is what the label is made of: it is not known at prediction time (data.label.expr)"
        if _raised_by_pandas(error):
            there = [str(column) for column in rows.columns]
            return f"the rows have no column {missing!r}{did_you_mean(missing, there)}; there are: {', '.join(there)}"
    return f"{FUNCTION}() raised {_said(error)}"


def _raised_by_pandas(error: BaseException) -> bool:
    """Else it is a lookup of the function's own, which says nothing about columns."""
    *_, last = traceback.extract_tb(error.__traceback__)
    return f"{os.sep}pandas{os.sep}" in last.filename or last.filename.startswith("pandas")


def _mentions(text: str, word: str) -> bool:
    return bool(word) and re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text) is not None


def _said(error: BaseException) -> str:
    text = str(error).strip()
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _line(error: BaseException, path: Path) -> int | None:
    """The last line of the file that the error passed through."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return lines[-1] if lines else None


def _alone(error: BaseException, folder: Path) -> str:
    if isinstance(error, ImportError) and error.name and (folder / f"{error.name.split('.')[0]}.py").exists():
        return "; features.py stands alone: move what it needs into it, or into an installed package"
    return ""


def static_problems(folder: Path, spec: ProjectSpec | None) -> list[Problem]:
    """What shows without running ``features.py``; with a spec also the outcomes that it reads."""
    path = folder / FEATURES
    file = shown_path(path)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return [Problem(file, "", None, f"no such file; it holds `def {FUNCTION}(rows)`")]
    except OSError as error:
        return [Problem(file, "", None, f"cannot be read: {error.strerror}")]
    try:
        tree = ast.parse(content, str(path))
    except SyntaxError as error:
        return [Problem(file, "", None, f"not Python: {error.msg}", (), error.lineno)]
    except (ValueError, RecursionError, MemoryError) as error:  # null bytes; nested too deep for the parser
        return [Problem(file, "", None, f"not Python: {str(error) or 'nested too deep'}")]
    found: list[tuple[int | None, str]] = []
    found += [(line, f"imports {name}; features run where no Airflow is: take it out") for line, name in _airflow(tree)]
    found += _shape(tree)
    if spec:
        found += _outcomes_read(tree, frozenset(spec.data.outcomes))
    return [
        Problem(file, "", None, message, (), line) for line, message in sorted(found, key=lambda each: each[0] or 0)
    ]


def _airflow(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Import | ast.ImportFrom | ast.Call):
            continue
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [node.module or ""]
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in ("import_module", "__import__"):
                names = [str(node.args[0].value)]
        for name in names:
            if name.split(".")[0] in _AIRFLOW:
                yield node.lineno, name


def _shape(tree: ast.Module) -> list[tuple[int | None, str]]:
    """Whether there is a function ``features`` of one argument; a name bound in another way is left to loading."""
    bound = False
    for node in _top_level(tree.body):
        if isinstance(node, ast.AsyncFunctionDef) and node.name == FUNCTION:
            return [(node.lineno, f"`{FUNCTION}` is async; make it a plain function")]
        if isinstance(node, ast.FunctionDef) and node.name == FUNCTION:
            arguments = [*node.args.posonlyargs, *node.args.args]
            needed = len(arguments) - len(node.args.defaults)
            keywords = sum(default is None for default in node.args.kw_defaults)
            if needed > 1 or keywords or not (arguments or node.args.vararg):
                return [(node.lineno, f"`{FUNCTION}` must take one argument, the rows: def {FUNCTION}(rows)")]
            bound = True
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            bound |= any(isinstance(target, ast.Name) and target.id == FUNCTION for target in targets)
        if isinstance(node, ast.Import | ast.ImportFrom):
            bound |= any((alias.asname or alias.name) in (FUNCTION, "*") for alias in node.names)
    return [] if bound else [(None, f"has no function `{FUNCTION}`; write def {FUNCTION}(rows): ...")]


def _top_level(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    for node in body:
        yield node
        if isinstance(node, ast.If | ast.Try | ast.With):
            yield from _top_level([child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt)])


def _outcomes_read(tree: ast.Module, outcomes: frozenset[str]) -> list[tuple[int | None, str]]:
    """``rows["arr_delay"]`` in ``features(rows)``; not where ``rows`` is bound anew, as then it may be there."""
    found: list[tuple[int | None, str]] = []
    for function in tree.body:
        if not (isinstance(function, ast.FunctionDef) and function.name == FUNCTION and function.args.args):
            continue
        rows = function.args.args[0].arg
        uses = [node for node in ast.walk(function) if isinstance(node, ast.Name) and node.id == rows]
        if any(not isinstance(node.ctx, ast.Load) for node in uses):
            continue
        reads = [node for node in ast.walk(function) if isinstance(node, ast.Subscript)]
        written = {column for node in reads if not isinstance(node.ctx, ast.Load) for column in _constants(node)}
        for node in reads:
            if isinstance(node.value, ast.Name) and node.value.id == rows:
                found += [
                    (node.lineno, f"`{column}` is an outcome: it is not known at prediction time")
                    for column in _constants(node)
                    if column in outcomes - written
                ]
    return found


def _constants(node: ast.Subscript) -> list[Any]:
    """The columns that a subscript names: ``rows["a"]``, or ``rows[["a", "b"]]``."""
    listed = node.slice.elts if isinstance(node.slice, ast.List | ast.Tuple) else [node.slice]
    return [one.value for one in listed if isinstance(one, ast.Constant)]
