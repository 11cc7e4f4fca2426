"""``features.py`` of a project as text: what is wrong with it, as far as it shows without running it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from updraft.spec.model import ProjectSpec
from updraft.spec.problems import Problem, shown_path

FEATURES = "features.py"
FUNCTION = "features"
_AIRFLOW = ("airflow", "updraft_airflow")


def static_problems(folder: Path, spec: ProjectSpec | None) -> tuple[Problem, ...]:
    """What is wrong with ``features.py``, as far as it shows without running it; with a spec also the outcomes that it reads."""
    return complaints_of(folder / FEATURES, FUNCTION, "rows", frozenset(spec.data.outcomes) if spec else frozenset())


def complaints_of(
    path: Path, function: str, argument: str, outcomes: frozenset[str] = frozenset()
) -> tuple[Problem, ...]:
    """What is wrong with a file of a project that has one function to call, as far as it shows without running it.

    :param outcomes: columns that the function may not read.
    """
    file = shown_path(path)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return (Problem(file, "", None, f"no such file; it holds `def {function}({argument})`"),)
    except OSError as error:
        return (Problem(file, "", None, f"cannot be read: {error.strerror}"),)
    try:
        tree = ast.parse(content, str(path))
    except SyntaxError as error:
        return (Problem(file, "", None, f"not Python: {error.msg}", (), error.lineno),)
    except (ValueError, RecursionError, MemoryError) as error:  # null bytes; nested too deep for the parser
        return (Problem(file, "", None, f"not Python: {str(error) or 'nested too deep'}"),)
    complaints: list[tuple[int | None, str]] = [
        (line, f"imports {name}; {function} run where no Airflow is: take it out") for line, name in _airflow(tree)
    ]
    complaints += _shape(tree, function, argument)
    if outcomes:
        complaints += _outcomes_read(tree, outcomes)
    complaints.sort(key=lambda complaint: complaint[0] or 0)
    return tuple(Problem(file, "", None, message, (), line) for line, message in complaints)


def names_in(folder: Path) -> frozenset[str]:
    """Every text that stands in ``features.py``: a column that it reads is among them."""
    tree = ast.parse((folder / FEATURES).read_bytes())
    return frozenset(
        node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )


def _airflow(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and name of each import of Airflow, wherever it stands in the file."""
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


def _shape(tree: ast.Module, function: str, argument: str) -> list[tuple[int | None, str]]:
    """Whether there is a function of one argument with this name; a name bound in another way is left to loading."""
    bound = False
    for node in _top_level(tree.body):
        if isinstance(node, ast.AsyncFunctionDef) and node.name == function:
            return [(node.lineno, f"`{function}` is async; make it a plain function")]
        if isinstance(node, ast.FunctionDef) and node.name == function:
            arguments = [*node.args.posonlyargs, *node.args.args]
            needed = len(arguments) - len(node.args.defaults)
            keywords = sum(default is None for default in node.args.kw_defaults)
            if needed > 1 or keywords or not (arguments or node.args.vararg):
                return [
                    (node.lineno, f"`{function}` must take one argument, the {argument}: def {function}({argument})")
                ]
            bound = True
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            bound |= any(isinstance(target, ast.Name) and target.id == function for target in targets)
        if isinstance(node, ast.Import | ast.ImportFrom):
            bound |= any((alias.asname or alias.name) in (function, "*") for alias in node.names)
    return [] if bound else [(None, f"has no function `{function}`; write def {function}({argument}): ...")]


def _top_level(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements that run when the file is loaded, those below an ``if``, ``try`` or ``with`` included."""
    for node in body:
        yield node
        if isinstance(node, ast.If | ast.Try | ast.With):
            yield from _top_level([child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt)])


def _outcomes_read(tree: ast.Module, outcomes: frozenset[str]) -> list[tuple[int | None, str]]:
    """``rows["arr_delay"]`` in ``features(rows)``; not where ``rows`` is bound anew, as then it may be there."""
    reads_of_outcomes: list[tuple[int | None, str]] = []
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
                reads_of_outcomes += [
                    (node.lineno, f"`{column}` is an outcome: it is not known at prediction time")
                    for column in _constants(node)
                    if column in outcomes - written
                ]
    return reads_of_outcomes


def _constants(node: ast.Subscript) -> list[Any]:
    """The columns that a subscript names: ``rows["a"]``, or ``rows[["a", "b"]]``."""
    listed = node.slice.elts if isinstance(node.slice, ast.List | ast.Tuple) else [node.slice]
    return [element.value for element in listed if isinstance(element, ast.Constant)]
