"""``features.py`` of a project: loaded, and called.

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
from updraft.spec.feature_source import FEATURES, FUNCTION, static_problems
from updraft.spec.model import Project
from updraft.spec.problems import Problem, SpecProblems, did_you_mean, shown_path

if TYPE_CHECKING:
    import pandas as pd

MOST_COLUMNS = 2_000
MOST_CATEGORIES = 100_000
"""Distinct texts of one feature in one partition."""
LONGEST_CATEGORY = 1_000
"""Characters."""

_NUMBERS = ("boolean", "decimal", "integer", "floating", "mixed-integer-float")
"""What pandas calls the objects of a column that are numbers, or truth values with gaps."""


@dataclass(frozen=True)
class FeatureCode:
    """The feature function of a project and the hash that names it."""

    function: Callable[[pd.DataFrame], pd.DataFrame]
    sha256: str
    """Of the file's bytes."""
    path: Path
    source: bytes = field(repr=False, compare=False)
    """The file's bytes, as they were run."""


def load_features(project: Project) -> FeatureCode:
    """Run ``features.py`` and take its function ``features``.

    :raises SpecProblems: when the file imports Airflow, has a syntax error, raises, or has no such function.
    """
    path = project.folder / FEATURES
    if problems := static_problems(project.folder, project.spec):
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
        message = f"raises {_in_words(error)} when it is loaded{_alone(error, path.parent)}"
        raise SpecProblems([Problem(shown_path(path), "", None, message, (), _line(error, path))]) from error
    function: Callable[[pd.DataFrame], pd.DataFrame] | None = getattr(module, FUNCTION, None)
    if not callable(function):
        sys.modules.pop(module.__name__, None)
        raise SpecProblems([Problem(shown_path(path), FUNCTION, function, "is not a function of the rows")])
    return function


def compute(project: Project, code: FeatureCode, rows: pd.DataFrame, *, values: bool = True) -> pd.DataFrame:
    """Call the feature function and check what it gives.

    :param rows: rows of a partition as published; the function works on a copy.
    :param values: whether an error may repeat the words of what the function raised, which may quote values of rows.
    :returns: one row per row of ``rows`` with the same index; columns are numbers, truth values or text.
    :raises DataError: when the function raises or gives something else; names the file and the column.
    """
    try:
        made: Any = code.function(rows.copy())
    except Exception as error:
        line = _line(error, code.path)
        place = shown_path(code.path) + (f":{line}" if line else "")
        failed = DataError(f"{place}: {_why(project, rows, code, error, values=values)}")
        if values:
            raise failed from error
        raise failed from None
    frame: pd.DataFrame = _in_plain_types(made)
    complaint = next(_complaints(rows, frame), None)
    if complaint:
        raise DataError(f"{shown_path(code.path)}: {FUNCTION}() {complaint}")
    return frame


def features_of_pseudonyms(
    project: Project, code: FeatureCode, rows: pd.DataFrame, hidden: Collection[str]
) -> tuple[str, ...]:
    """The features that change when pseudonyms do, tried on some rows.

    :param hidden: columns that hold pseudonyms. Two equal ones stay equal, so a feature that only counts or compares them is none of these.
    """
    columns = [column for column in rows.columns if column in hidden]
    if not columns:
        return ()

    def another(value: object) -> object:
        return files.sha256(str(value).encode())[:16] if isinstance(value, str) else value

    others = rows.assign(**{column: rows[column].map(another) for column in columns})
    frame = compute(project, code, rows)
    try:
        changed = compute(project, code, others)
    except DataError:
        return tuple(map(str, frame.columns))
    return tuple(
        str(column) for column in frame.columns if column not in changed or not frame[column].equals(changed[column])
    )


def _in_plain_types(frame: Any) -> Any:
    """Truth values with gaps, decimals and pandas' nullable numbers as float64, in which a missing value is NaN.

    What a file of the lake keeps of them depends on whether a partition has gaps; a feature is of one type in all of them.
    """
    import pandas as pd

    if not isinstance(frame, pd.DataFrame) or not frame.columns.is_unique:
        return frame
    types, converted = pd.api.types, {}
    for name, values in frame.items():
        nullable = isinstance(values.dtype, pd.api.extensions.ExtensionDtype)
        if not isinstance(name, str) or isinstance(values.dtype, pd.CategoricalDtype):
            continue
        if nullable and (types.is_bool_dtype(values.dtype) or types.is_numeric_dtype(values.dtype)):
            converted[name] = pd.Series(values.to_numpy("float64", na_value=float("nan")), index=values.index)
        elif types.is_object_dtype(values.dtype) and types.infer_dtype(values, skipna=True) in _NUMBERS:
            converted[name] = pd.Series(
                [float("nan") if pd.isna(value) else float(value) for value in values], values.index
            )
    return frame.assign(**converted) if converted else frame


def _complaints(rows: pd.DataFrame, frame: Any) -> Iterator[str]:
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
        if complaint := _column_complaint(frame[name]):
            yield f"gave column {name!r} {complaint}"


def _column_complaint(values: pd.Series[Any]) -> str | None:
    import numpy as np
    import pandas as pd

    types = pd.api.types
    if isinstance(values.dtype, pd.CategoricalDtype):
        odd = next((category for category in values.cat.categories if not isinstance(category, str)), None)
        if odd is not None:
            return f"with a category of type {type(odd).__name__}; categories are text: use .astype(str) first"
        return _category_complaint(values.cat.categories)
    if types.is_bool_dtype(values.dtype) or types.is_integer_dtype(values.dtype):
        return None
    if types.is_float_dtype(values.dtype):
        infinite = np.isinf(values.to_numpy(np.float64, na_value=np.nan))
        return f"with {int(infinite.sum())} infinite values; a missing value is NaN" if infinite.any() else None
    if types.is_object_dtype(values.dtype) or types.is_string_dtype(values.dtype):
        kind = types.infer_dtype(values, skipna=True)
        if kind not in ("string", "empty"):
            return f"of mixed type ({kind}); make it all text, or numbers"
        return _category_complaint(values.dropna().unique())
    return f"of type {values.dtype}; a feature is a number or text, so derive one from it"


def _category_complaint(texts: Collection[str]) -> str | None:
    """Each distinct text is kept, in the profile of the partition and in every model."""
    if len(texts) > MOST_CATEGORIES:
        return f"with {len(texts)} distinct texts, more than {MOST_CATEGORIES}; group them, or take the column out"
    longest = max(map(len, texts), default=0)
    if longest > LONGEST_CATEGORY:
        return f"with a text of {longest} characters, more than {LONGEST_CATEGORY}; make a category or a number of it"
    return None


def _why(project: Project, rows: pd.DataFrame, code: FeatureCode, error: Exception, *, values: bool) -> str:
    """A column that is not there is most often one that cannot be there: what happened only afterwards."""
    if isinstance(error, KeyError | AttributeError):
        data = project.spec.data
        columns = [str(column) for column in rows.columns]
        asked = _asked_for(code, error, values=values)
        absent = [column for column in asked if column not in columns]
        for column in absent:
            if column in data.outcomes:
                return f"`{column}` is an outcome: it is not known at prediction time (data.outcomes in project.yaml)"
            if _mentions(data.label.expr, column):
                return f"`{column}` is what the label is made of: it is not known at prediction time (data.label.expr)"
        if absent and _raised_by_pandas(error):
            hint = did_you_mean(absent[0], columns)
            return f"the rows have no column {absent[0]!r}{hint}; there are: {', '.join(columns)}"
    if not values:
        return f"{FUNCTION}() raised {type(error).__name__} (its words are not repeated: they may quote a row)"
    return f"{FUNCTION}() raised {_in_words(error)}"


def _asked_for(code: FeatureCode, error: KeyError | AttributeError, *, values: bool) -> list[str]:
    """The names that a lookup that failed was for.

    Of several columns pandas tells the missing ones in a sentence alone: those that the file writes are looked for in it.

    :param values: whether a name counts that the file does not write: it may be a value of a row.
    """
    tree = ast.parse(code.source)
    written = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    written |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    own = error.name if isinstance(error, AttributeError) else error.args[0] if error.args else None
    listed = [name for name in sorted(written) if repr(name) in str(own)]
    if isinstance(own, str) and (own in written or (values and not listed)):
        return [own]
    return listed


def _raised_by_pandas(error: BaseException) -> bool:
    """Else it is a lookup of the function's own, which says nothing about columns."""
    *_, last = traceback.extract_tb(error.__traceback__)
    return f"{os.sep}pandas{os.sep}" in last.filename or last.filename.startswith("pandas")


def _mentions(text: str, word: str) -> bool:
    return bool(word) and re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text) is not None


def _in_words(error: BaseException) -> str:
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
