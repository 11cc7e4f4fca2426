"""A YAML file as plain data, together with the line of every key and the mistakes that YAML itself lets pass.

Read as YAML 1.2 reads plain words: ``on`` is a word and not true, ``1e-3`` is a number, ``12:30`` is a word.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from updraft.spec.problems import Problem, shown_path

try:
    from yaml import CSafeLoader as _Base  # ten times as fast: projects are read at every parse of every DAG file
except ImportError:  # PyYAML built without libyaml
    from yaml import SafeLoader as _Base  # type: ignore[assignment]

Path_ = tuple[str | int, ...]
_MAX_BYTES = 1_000_000
_MAX_VALUES = 20_000
_MAX_DEPTH = 40
_SAFE_CHARACTERS = 5_000
"""A file this short cannot nest deep enough to overrun the stack of libyaml's binding, which would end the process."""


class _Loader(_Base):
    """PyYAML's safe loader with the plain words of YAML 1.2's core schema."""

    yaml_implicit_resolvers = {  # noqa: RUF012  # PyYAML's way
        first: [
            (tag, pattern)
            for tag, pattern in resolvers
            if tag not in ("tag:yaml.org,2002:bool", "tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
        ]
        for first, resolvers in _Base.yaml_implicit_resolvers.items()
    }


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), [*"tTfF"]
)
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"^[-+]?(?:0|[1-9][0-9_]*)$"), [*"-+0123456789"])
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
    ),
    [*"-+0123456789."],
)


def _float(loader: Any, node: yaml.ScalarNode) -> float:
    text = loader.construct_scalar(node).lower()
    return float(text.replace(".inf", "inf").replace(".nan", "nan"))


def _day(loader: Any, node: yaml.ScalarNode) -> Any:
    """2013-02-30 looks like a date and is none: it stays text, and the key that holds it says what is wrong."""
    try:
        return loader.construct_yaml_timestamp(node)
    except ValueError:
        return loader.construct_scalar(node)


_Loader.add_constructor("tag:yaml.org,2002:float", _float)
_Loader.add_constructor("tag:yaml.org,2002:timestamp", _day)


@dataclass(frozen=True)
class Document:
    """A file as data. ``data`` is None where it could not be read; ``problems`` then says why."""

    file: str
    data: Any
    node: yaml.Node | None
    problems: tuple[Problem, ...]
    empty: bool = False
    """Whether the file holds nothing but blanks and comments: a problem where something must stand in it."""
    above: Path_ = ()
    """The key under which ``data`` stands in the file, where it is a part of it: see :meth:`below`."""
    over: Document | None = None
    """A file whose keys count before those of this one, where ``data`` is made of both: see :meth:`overridden`."""

    def line(self, path: Path_) -> int | None:
        """Line of a key, or of the nearest one above it that is there, in the file that :meth:`problem` names."""
        return self._place(path)[1]

    def problem(self, path: Path_, message: str, value: object = None, allowed: tuple[str, ...] = ()) -> Problem:
        """A problem with a key of this file, or of the one that overrides it where the key stands there."""
        file, line = self._place(path)
        return Problem(file, dotted((*self.above, *path)), value, message, allowed, line)

    def _place(self, path: Path_) -> tuple[str, int | None]:
        """The file that says what stands at a key, and its line there."""
        whole = (*self.above, *path)
        depth, line = _nearest(self.node, whole)
        if self.over is not None:
            depth_over, line_over = _nearest(self.over.node, whole)
            if depth_over > depth or (depth_over and depth_over == len(whole)):
                return self.over.file, line_over
        return self.file, line

    def overridden(self, over: Document) -> Document:
        """This file with another one laid over it: mappings are merged key by key, anything else takes the place of what was there."""
        return replace(self, data=merged(self.data, over.data), over=over)

    def below(self, key: str) -> Document:
        """What stands under a key, as a document of its own: its problems still name the whole key and its line."""
        return replace(self, data=self.data[key], above=(*self.above, key))


def read_document(path: Path) -> Document:
    """Read a YAML file; never raises for what is in it.

    :raises FileNotFoundError: when there is no such file.
    """
    file, content = shown_path(path), path.read_bytes()

    def unreadable(message: str, line: int | None = None) -> Document:
        return Document(file, None, None, (Problem(file, "", None, message, (), line),))

    if len(content) > _MAX_BYTES:
        return unreadable(f"{len(content)} bytes are too many for a project file (at most {_MAX_BYTES})")
    try:
        return _parsed(file, content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        return unreadable(f"not UTF-8: {error.reason} at byte {error.start}", content[: error.start].count(b"\n") + 1)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f" (column {mark.column + 1})" if mark else ""
        context = f", {error.context}" if error.context else ""
        return unreadable(f"not YAML: {error.problem}{where}{context}", mark.line + 1 if mark else None)
    except yaml.YAMLError as error:  # a character that YAML does not allow
        return unreadable(f"not YAML: {' '.join(str(error).split())}")
    except (ValueError, RecursionError) as error:  # a number of ten thousand digits; brackets in brackets without end
        return unreadable(f"not YAML: {error}; put quotes around text that looks like a number")


def _parsed(file: str, text: str) -> Document:
    if len(text) > _SAFE_CHARACTERS:
        _check_depth(text)
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return Document(file, None, None, (Problem(file, "", None, "the file is empty"),), empty=True)
        _check_size(node, {})
        problems = tuple(_slips(file, node))
        return Document(file, loader.construct_document(node), node, problems)
    finally:
        loader.dispose()


def dotted(path: Path_) -> str:
    """``("training", "trainers", 0)`` -> ``training.trainers[0]``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def merged(base: Any, over: Any) -> Any:
    """Two values as one: of mappings the keys of both, of anything else the second."""
    if not isinstance(base, dict) or not isinstance(over, dict):
        return over
    return {**base, **{key: merged(base[key], value) if key in base else value for key, value in over.items()}}


def _nearest(node: yaml.Node | None, path: Path_) -> tuple[int, int | None]:
    """How many parts of a path are there, and the line of the last of them."""
    line: int | None = None
    for depth, part in enumerate(path):
        child = _child(node, part)
        if child is None:
            return depth, line
        line, node = child
    return len(path), line


def _child(node: yaml.Node | None, part: str | int) -> tuple[int, yaml.Node] | None:
    if isinstance(node, yaml.MappingNode):
        for key, value in reversed(node.value):  # of a key that stands twice the last one counts
            if isinstance(key, yaml.ScalarNode) and key.value == str(part):
                return key.start_mark.line + 1, value
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part].start_mark.line + 1, node.value[part]
    return None


def _slips(file: str, root: yaml.Node) -> Iterator[Problem]:
    """Keys that stand twice: YAML lets that pass, and the first one has no effect."""
    seen: set[int] = set()
    stack: list[tuple[Path_, yaml.Node]] = [((), root)]
    while stack:
        path, node = stack.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            stack.extend(((*path, index), item) for index, item in enumerate(node.value))
        if not isinstance(node, yaml.MappingNode):
            continue
        lines: dict[str, int] = {}
        for key, value in node.value:
            name = str(key.value) if isinstance(key, yaml.ScalarNode) else "?"
            line = key.start_mark.line + 1
            if name in lines and name != "<<":
                message = f"stands twice, in line {lines[name]} and here; keep one"
                yield Problem(file, dotted((*path, name)), None, message, (), line)
            lines[name] = line
            stack.append(((*path, name), value))


def _check_depth(text: str) -> None:
    """Looks at events, which nest nothing.

    :raises yaml.MarkedYAMLError: when the text nests deeper than anybody's intention.
    """
    depth = 0
    event: Any  # the types know PyYAML's two kinds of mark apart, and nothing else does
    for event in yaml.parse(text, Loader=_Loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _MAX_DEPTH:
            raise yaml.MarkedYAMLError(problem=f"nested more than {_MAX_DEPTH} deep", problem_mark=event.start_mark)


def _check_size(node: yaml.Node, sizes: dict[int, int], depth: int = 0) -> int:
    """How many values a node stands for once its aliases are written out.

    :raises yaml.MarkedYAMLError: when an alias contains itself, or they are too many to be anybody's intention.
    """
    if isinstance(node, yaml.ScalarNode):
        return 1
    if depth > _MAX_DEPTH:
        raise yaml.MarkedYAMLError(problem=f"nested more than {_MAX_DEPTH} deep", problem_mark=node.start_mark)
    if id(node) not in sizes:
        sizes[id(node)] = 0  # no node is that small: met again before it is known, it contains itself
        pairs = node.value if isinstance(node, yaml.MappingNode) else [(item,) for item in node.value]
        sizes[id(node)] = 1 + sum(_check_size(child, sizes, depth + 1) for pair in pairs for child in pair)
    size = sizes[id(node)]
    if not 0 < size <= _MAX_VALUES:
        problem = f"aliases make it more than {_MAX_VALUES} values" if size else "an alias that contains itself"
        raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)
    return size
