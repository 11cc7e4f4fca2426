"""Mutation testing: is a small mistake in a room noticed by the room's tests?

``python -m tests.support.mutants release monitoring store --count 300 --seed 1`` draws mutants of the sources of each room: one comparison,
operator, number, condition, return or statement is another one. Of each it runs the room's tests until one fails. Those that no test notices
survive and are listed: a hole in the tests, or a change that makes no difference.

Every mutant is a process forked from this one, in which the heavy libraries are imported already and nothing of Updraft is. Processes that a
test starts have the source as it is. Words of messages, annotations and migrations are left as they are.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import copy
import importlib.abc
import importlib.machinery
import importlib.util
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import CodeType, ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("release", "monitoring", "store")
SLOW_TESTS = ("tests/release/test_placebo.py", "tests/monitoring/test_false_faults.py")
"""Statistics of many replays: they would notice little that the others do not, and take most of the time."""
HEAVY = (
    "hypothesis",
    "matplotlib.figure",
    "numpy",
    "pandas",
    "pyarrow.parquet",
    "pydantic",
    "scipy.stats",
    "sqlalchemy",
    "yaml",
)
COMPARED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
CALCULATED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Div,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
}


@dataclass(frozen=True)
class Mutant:
    """One change of one file."""

    file: Path
    line: int
    before: str
    after: str
    place: int
    """Number of the changed node, in the order of :func:`ast.walk`."""
    node: ast.AST
    """What stands in its place."""

    def __str__(self) -> str:
        return f"{self.file.relative_to(ROOT)}:{self.line}: {self.before}  ->  {self.after}"

    @property
    def module(self) -> str:
        return ".".join(self.file.relative_to(ROOT / "include").with_suffix("").parts)

    def code(self) -> CodeType:
        """The changed file."""
        tree = ast.parse(self.file.read_text())
        original = list(ast.walk(tree))[self.place]
        _Replaced(original, self.node).visit(tree)  # in place
        return compile(ast.fix_missing_locations(tree), str(self.file), "exec")


class _Replaced(ast.NodeTransformer):
    def __init__(self, original: ast.AST, node: ast.AST) -> None:
        self.original, self.node = original, node

    def visit(self, node: ast.AST) -> ast.AST:
        if node is self.original:
            return ast.copy_location(self.node, node)
        return self.generic_visit(node)


def variants(node: ast.AST) -> Iterator[ast.AST]:
    """What may stand in the place of a node."""
    match node:
        case ast.Compare(ops=[operator]):
            yield ast.Compare(node.left, [COMPARED[type(operator)]()], node.comparators)
        case ast.BoolOp():
            yield ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)
        case ast.BinOp() if type(node.op) in CALCULATED:
            yield ast.BinOp(node.left, CALCULATED[type(node.op)](), node.right)
        case ast.UnaryOp(op=ast.Not() | ast.USub()):
            yield node.operand
        case ast.Constant(value=bool()):
            yield ast.Constant(not node.value)
        case ast.Constant(value=int() | float() as number):
            yield ast.Constant(number + 1)
        case ast.Return(value=ast.expr()) if not (isinstance(node.value, ast.Constant) and node.value.value is None):
            yield ast.Return(ast.Constant(None))
        case ast.If() | ast.IfExp() | ast.While():
            changed = copy.copy(node)
            changed.test = ast.UnaryOp(ast.Not(), node.test)
            yield changed
        case ast.Expr(value=ast.Call()) | ast.AugAssign() | ast.Raise():
            yield ast.Pass()
        case ast.Continue():
            yield ast.Break()
        case ast.Break():
            yield ast.Continue()


def mutants_of(file: Path) -> Iterator[Mutant]:
    """Every change of a file."""
    tree = ast.parse(file.read_text())
    left_alone = set(_left_alone(tree))
    for place, node in enumerate(ast.walk(tree)):
        if node not in left_alone:
            for changed in variants(node):
                yield Mutant(file, node.lineno, _line(node), _line(changed), place, changed)  # type: ignore[attr-defined]


def _left_alone(tree: ast.AST) -> Iterator[ast.AST]:
    """Annotations, and what only a type checker reads."""
    for node in ast.walk(tree):
        aside: list[ast.AST | None] = [getattr(node, "annotation", None), getattr(node, "returns", None)]
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            aside.append(node)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.BinOp | ast.Subscript) and node.col_offset == 0:
            aside.append(node.value if isinstance(node.value, ast.Subscript) else None)  # an alias of a type
        for part in aside:
            if part is not None:
                yield from ast.walk(part)


def _line(node: ast.AST) -> str:
    [first, *_] = ast.unparse(ast.fix_missing_locations(copy.deepcopy(node))).splitlines()
    return first if len(first) < 100 else first[:97] + "..."


class _Changed(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports the changed module in place of the file's."""

    def __init__(self, mutant: Mutant) -> None:
        self.mutant = mutant

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self.mutant.module:
            return None
        return importlib.util.spec_from_file_location(fullname, self.mutant.file, loader=self)

    def exec_module(self, module: ModuleType) -> None:
        exec(self.mutant.code(), module.__dict__)


def room_tests(room: str, mutant: Mutant | None) -> list[str]:
    """The room's, that of the changed module first."""
    files = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "tests" / room).glob("test_*.py"))
    own = f"tests/{room}/test_{mutant.file.stem}.py" if mutant else ""
    return sorted((file for file in files if file not in SLOW_TESTS), key=lambda file: file != own)


def begun(room: str, mutant: Mutant | None) -> int:
    """Run the room's tests in a process of its own; its id."""
    child = os.fork()
    if child:
        return child
    os.setsid()
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)
    code = 3
    with contextlib.suppress(BaseException):
        if mutant is not None:
            sys.meta_path.insert(0, _Changed(mutant))
        code = int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", *room_tests(room, mutant)]))
    os._exit(code)


def outcomes(
    room: str, mutants: Iterable[Mutant | None], jobs: int, seconds: float
) -> Iterator[tuple[Mutant | None, str]]:
    """Of each mutant ``survived``, ``killed``, or ``too slow`` after so many seconds. None is the source as it is."""
    waiting = iter(mutants)
    running: dict[int, tuple[Mutant | None, float]] = {}
    while True:
        for mutant in islice(waiting, jobs - len(running)):
            running[begun(room, mutant)] = (mutant, time.monotonic() + seconds)
        if not running:
            return
        for child, (mutant, end) in list(running.items()):
            ended, status = os.waitpid(child, os.WNOHANG)
            if not ended and time.monotonic() > end:
                os.killpg(child, signal.SIGKILL)
                ended, _ = os.waitpid(child, 0)
                yield mutant, "too slow"
            elif ended:
                yield mutant, "killed" if os.waitstatus_to_exitcode(status) else "survived"
            if ended:
                del running[child]
        time.sleep(0.05)


def examine(room: str, count: int, seed: int, jobs: int, only: str) -> float:
    """Draw mutants of a room, try them and tell; the share that was killed."""
    files = [path for path in sorted((ROOT / "include" / "updraft" / room).glob("*.py")) if only in path.name]
    every = [mutant for file in files for mutant in mutants_of(file)]
    drawn = random.Random(seed).sample(every, min(count, len(every)))
    start = time.monotonic()
    if [came for _, came in outcomes(room, [None], 1, 3600)] != ["survived"]:
        raise SystemExit(f"the tests of {room} fail without any mutant: pytest {' '.join(room_tests(room, None))}")
    limit = 60 + 5 * jobs * (time.monotonic() - start)
    print(f"{room}: {len(drawn)} of {len(every)} mutants, drawn with seed {seed}", flush=True)
    killed = 0
    for done, (mutant, came) in enumerate(outcomes(room, drawn, jobs, limit), start=1):
        killed += came != "survived"
        if came != "killed":
            print(f"  {came}  {mutant}  ({killed} of {done} killed so far)", flush=True)
    print(f"{room}: {killed} of {len(drawn)} killed, {killed / len(drawn):.1%}", flush=True)
    return killed / len(drawn)


def main() -> None:
    parser = argparse.ArgumentParser(description="Mutants of the rooms, and which of them no test notices.")
    parser.add_argument("rooms", nargs="*", default=ROOMS, help=f"of {', '.join(ROOMS)}")
    parser.add_argument("--count", type=int, default=300, help="mutants of each room")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", default="", help="a part of a file's name")
    parser.add_argument("--at-least", type=float, default=0.85, help="share that must be killed in each room")
    given = parser.parse_args()
    for name in HEAVY:
        importlib.import_module(name)
    with tempfile.TemporaryDirectory(
        prefix="updraft-mutants-"
    ) as folder:  # a process that is killed leaves its folders
        os.environ["TMPDIR"] = folder
        shares = [examine(room, given.count, given.seed, given.jobs, given.only) for room in given.rooms]
    sys.exit(min(shares) < given.at_least)


if __name__ == "__main__":
    main()
