"""A document -> a spec and every problem with its types, values and keys.

Pydantic stops at the first level that fails: checks of a whole part run only when its keys are sound, and the checks
between parts only when everything is. So each problem is noted, what is wrong is taken out, and the rest is
validated again, until it holds; the checks between parts then see all that was sound.
"""

from __future__ import annotations

import re
import types
from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from updraft.spec.document import Document, Path_
from updraft.spec.problems import Problem, did_you_mean

Spec = TypeVar("Spec", bound=BaseModel)
_SOURCE = {"type": "file", "url": "file:///none", "event_time": "unnamed"}
_DATA = {
    "schedule": "0 0 * * *",
    "start": "2000-01-01",
    "sources": {"unnamed": _SOURCE},
    "key": ("unnamed",),
    "label": {"expr": "true"},
}
_STAND_IN: dict[Path_, Any] = {
    ("name",): "unnamed",
    ("owner",): "nobody",
    ("data",): _DATA,
    **{("data", key): value for key, value in _DATA.items()},
    ("data", "label", "expr"): "true",
    ("training", "trainers", "*", "name"): "xgboost",
}
"""What takes the place of a required key while the rest is looked at; no spec with a stand-in ever leaves."""


@dataclass(frozen=True)
class Validated(Generic[Spec]):
    """The spec, or as much of it as is sound, and what is wrong with the rest."""

    spec: Spec | None
    """None when nothing could be made of it."""
    problems: tuple[Problem, ...]
    broken: frozenset[Path_]
    """The keys that the spec does not tell the truth about."""


def validate(document: Document, kind_of: type[Spec]) -> Validated[Spec]:
    """Validate a document against a model, such as :class:`updraft.spec.model.ProjectSpec`."""
    if not isinstance(document.data, dict):
        problem = document.problem((), f"must be keys and values such as `name: my_model`, not {kind(document.data)}")
        return Validated(None, (problem,), frozenset({()}))
    data = _tuples(document.data)
    problems: list[Problem] = []
    broken: set[Path_] = set()
    while True:
        try:
            spec = kind_of.model_validate(data, strict=True)
            return Validated(spec, tuple(problems), frozenset(broken))
        except ValidationError as error:
            by_path: dict[Path_, list[ErrorDetails]] = {}
            for detail in error.errors(include_url=False):
                if detail["type"] != "too_short" or not detail["input"]:  # items that are wrong are not counted
                    by_path.setdefault(_path(detail, data), []).append(detail)
        repaired = data
        for path, details in by_path.items():
            if not any(wrong_path[: len(path)] == path for wrong_path in broken):  # else our own doing
                problems.append(_problem(kind_of, document, path, details))
        for path, details in by_path.items():
            repaired = _repaired(repaired, path, details[0]["type"] == "missing", broken)
        if repaired is None or repaired == data:
            return Validated(None, tuple(problems), frozenset({*broken, ()}))
        data = repaired


def _tuples(value: Any) -> Any:
    """Lists as tuples: types are checked strictly (26 is no "26" and true is no 1), and the spec holds tuples.

    Keys are words: YAML reads ``1: x`` as a number.
    """
    if isinstance(value, dict):
        return {str(key): _tuples(item) for key, item in value.items()}
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


def _path(detail: ErrorDetails, data: Any) -> Path_:
    """The key that an error is about: pydantic adds the member of a union that it tried."""
    path: list[str | int] = []
    for position, part in enumerate(detail["loc"]):
        if _has(data, part):
            data = data[part]
        elif detail["type"] != "missing" or position < len(detail["loc"]) - 1 or not isinstance(data, dict):
            break
        path.append(part)
    return tuple(path)


def _has(data: Any, part: str | int) -> bool:
    if isinstance(data, tuple):
        return isinstance(part, int) and part < len(data)
    return isinstance(data, dict) and part in data


def at(data: Any, path: Path_) -> Any:
    """What stands at a path, or None."""
    for part in path:
        if not _has(data, part):
            return None
        data = data[part]
    return data


def _repaired(data: Any, path: Path_, missing: bool, broken: set[Path_]) -> Any:
    """The data without what stands at the path, or with a stand-in there; what cannot do without it goes too.

    An item of a list goes with its list, so that the positions of the others keep their meaning.
    """
    if missing:
        broken.add(path)
        stand_in = _STAND_IN.get(path) or _STAND_IN.get((*path[:2], "*", *path[3:]))
        if stand_in is not None:
            return _with(data, path, stand_in)
        path = path[:-1]
    while path and isinstance(at(data, path[:-1]), tuple):
        path = path[:-1]
    if not path:
        return None
    broken.add(path)
    inner = at(data, path[:-1])
    if not isinstance(inner, dict):  # gone already, with something above it
        return data
    without = {key: value for key, value in inner.items() if key != path[-1]}
    return _with(data, path[:-1], without)


def _with(data: Any, path: Path_, value: Any) -> Any:
    if not path:
        return value
    head, rest = path[0], path[1:]
    if isinstance(data, tuple):
        return tuple(_with(item, rest, value) if index == head else item for index, item in enumerate(data))
    if not isinstance(data, dict) or (rest and head not in data):
        return data
    return {**data, head: _with(data.get(head), rest, value)}


def _problem(root: type[BaseModel], document: Document, path: Path_, details: list[ErrorDetails]) -> Problem:
    value = at(_tuples(document.data), path)
    detail = _nearest(details, value)
    if detail["type"] == "missing":
        missing = tuple(detail["loc"])
        what = _description(root, path)
        return document.problem(path, "is missing" + (f": {what}" if what and missing else ""))
    if detail["type"] in ("extra_forbidden", "invalid_key"):
        known = tuple(fields_below(root, path[:-1]))
        return document.problem(path, "unknown key" + did_you_mean(path[-1], known), value, known)
    if value is None:
        return document.problem(path, "is empty; write a value or remove the key", None, _words(detail))
    if len(details) > 1 and all(tried["type"].endswith("_type") for tried in details):
        kinds = " or ".join(dict.fromkeys(_TYPES.get(tried["type"], tried["msg"]) for tried in details))
        return document.problem(path, f"must be {kinds}", value)
    words = _words(detail)
    return document.problem(path, _message(detail, words), value, words)


def _nearest(details: list[ErrorDetails], value: object) -> ErrorDetails:
    """Of the members of a union that were tried, the one that its author meant."""
    of_parts = [tried for tried in details if tried["type"] not in ("model_type", "literal_error") or len(details) == 1]
    if isinstance(value, dict):
        inner = [tried for tried in details if tried["input"] is not value]
        return (inner or of_parts or details)[0]
    literal = [tried for tried in details if tried["type"] == "literal_error"]
    return (literal or of_parts or details)[0]


_TYPES = {
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text",
    "tuple_type": "a list such as [a, b]",
    "dict_type": "keys and values",
    "model_type": "keys and values",
    "finite_number": "a finite number",
}
_BOUNDS = {
    "greater_than_equal": ("at least", "ge"),
    "greater_than": ("above", "gt"),
    "less_than_equal": ("at most", "le"),
    "less_than": ("below", "lt"),
}


def _message(detail: ErrorDetails, words: tuple[str, ...]) -> str:
    error, context = detail["type"], detail.get("ctx", {})
    if error in _BOUNDS:
        word, bound = _BOUNDS[error]
        return f"must be {word} {context[bound]:g}"
    if error in _TYPES:
        quotable = error == "string_type" and not isinstance(detail["input"], dict | tuple)
        return f"must be {_TYPES[error]}" + (" (put quotes around it)" if quotable else "")
    if error == "value_error":
        return str(context["error"])
    if error == "string_pattern_mismatch":
        if "everyone" in context["pattern"]:
            return "must be the id of a Slack member (U012AB3CD) or group (S012AB3CD), here, or channel; a name calls nobody"
        if "#@" in context["pattern"]:
            return "must be a channel such as #ml-alerts, or a person such as @ada"
        return "must begin with a lower-case letter and go on with lower-case letters, digits or _ (63 at most)"
    return {
        "literal_error": "is not a value that is allowed" + did_you_mean(detail["input"], words),
        "too_short": "must not be empty",
        "string_too_short": "must not be empty",
    }.get(error, detail["msg"][:1].lower() + detail["msg"][1:])


def _words(detail: ErrorDetails) -> tuple[str, ...]:
    return tuple(re.findall(r"'([^']*)'", detail["ctx"]["expected"])) if detail["type"] == "literal_error" else ()


def kind(value: object) -> str:
    """What a value is, in words."""
    names = {dict: "keys and values", tuple: "a list", list: "a list", str: "text", bool: "true or false"}
    return "nothing" if value is None else names.get(type(value), f"a {type(value).__name__}")


def fields_below(root: type[BaseModel], path: Path_) -> list[str]:
    """The keys that may stand below a path."""
    part = _annotation(root, path)
    return list(part.model_fields) if isinstance(part, type) and issubclass(part, BaseModel) else []


def _description(root: type[BaseModel], path: Path_) -> str:
    part = _annotation(root, path[:-1])
    if isinstance(part, type) and issubclass(part, BaseModel) and path[-1] in part.model_fields:
        return part.model_fields[str(path[-1])].description or ""
    return ""


def _annotation(root: type[BaseModel], path: Path_) -> Any:
    """The type of what stands at a path; None when the spec has no such place."""
    annotation: Any = root
    for part in path:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            field = annotation.model_fields.get(str(part))
            annotation = field.annotation if field else None
        else:  # a dict's values or a tuple's items: the part is a name or a position
            annotation = (*get_args(annotation), None, None)[1 if get_origin(annotation) is dict else 0]
        annotation = _model_in(annotation)
    return annotation


def _model_in(annotation: Any) -> Any:
    """``X | None`` and ``Annotated[X, …]`` -> ``X``."""
    if get_origin(annotation) is Annotated:
        return _model_in(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        parts = [part for part in map(_model_in, get_args(annotation)) if part is not type(None)]
        models = [part for part in parts if isinstance(part, type) and issubclass(part, BaseModel)]
        return (models or parts)[0]
    return annotation
