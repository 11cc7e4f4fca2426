"""The JSON Schemas of ``project.yaml``, ``project.<environment>.yaml`` and ``deployment.yaml``, for editors.

``python -m updraft.spec.schema`` writes them anew. They say what a single key may hold. What keys ask of each other,
:func:`updraft.spec.load.load_project` says.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from updraft import files
from updraft.spec.compute import Deployment
from updraft.spec.environments import ANY, MAY_DIFFER
from updraft.spec.model import ProjectSpec
from updraft.spec.part import DURATION, shown_duration
from updraft.spec.trainers import TRAINERS, Param

FILE = Path(__file__).with_name("project.schema.json")
ENVIRONMENT_FILE = Path(__file__).with_name("environment.schema.json")
DEPLOYMENT_FILE = Path(__file__).with_name("deployment.schema.json")
_ISO: TypeAdapter[timedelta] = TypeAdapter(timedelta)


def json_schema() -> dict[str, Any]:
    """The schema (draft 2020-12) of what a person may write, short forms such as ``1 per quarter`` included."""
    schema = ProjectSpec.model_json_schema(mode="validation")
    _tidy(schema)
    schema["$defs"]["Data"]["properties"]["sources"]["additionalProperties"] = False
    schema["$defs"]["Trainer"]["properties"]["name"]["enum"] = list(TRAINERS)
    schema["$defs"]["Trainer"]["allOf"] = [
        {"if": {"properties": {"name": {"const": name}}}, "then": {"properties": {"params": _params(rules.params)}}}
        for name, rules in TRAINERS.items()
    ]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Updraft project",
        **schema,
    }


def environment_schema() -> dict[str, Any]:
    """The schema (draft 2020-12) of ``project.<environment>.yaml``: the keys that may differ, none of which has to be there."""
    whole = json_schema()
    parts = whole["$defs"]
    for part in parts.values():
        part.pop("required", None)
    keys: dict[str, Any] = {}
    for path in MAY_DIFFER:
        own, there = whole, keys
        for name in path:
            own = _resolved(own, parts)
            if name == ANY:
                own, there = (
                    own["additionalProperties"] or next(iter(own["patternProperties"].values())),
                    there.setdefault(ANY, {}),
                )
            else:
                own, there = own["properties"][name], there.setdefault(name, {})
        there["$own"] = own
    schema = {"$schema": whole["$schema"], "title": "Updraft project in one environment", **_keys(keys)}
    used = _used(schema, parts)
    return {**schema, "$defs": {name: part for name, part in parts.items() if name in used}}


def deployment_schema() -> dict[str, Any]:
    """The schema (draft 2020-12) of ``deployment.yaml``."""
    schema = Deployment.model_json_schema(mode="validation")
    _tidy(schema)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Updraft deployment", **schema}


def write(path: Path = FILE, schema: dict[str, Any] | None = None) -> None:
    """Write a schema (that of projects unless another is given), equal bytes for an equal model."""
    files.write_bytes(str(path), text(schema).encode())


def text(schema: dict[str, Any] | None = None) -> str:
    """A schema as it stands in its file."""
    return json.dumps(schema or json_schema(), indent=2, ensure_ascii=False) + "\n"


def _resolved(schema: dict[str, Any], parts: Mapping[str, Any]) -> dict[str, Any]:
    """The part that a reference means, such as that of ``Retrain | None``."""
    for choice in (schema, *schema.get("anyOf", ())):
        if "$ref" in choice:
            part: dict[str, Any] = parts[choice["$ref"].rpartition("/")[2]]
            return part
    return schema


def _keys(keys: dict[str, Any]) -> dict[str, Any]:
    """A schema of nested keys, from the schema of each innermost one."""
    if "$own" in keys:
        own: dict[str, Any] = keys["$own"]
        return own
    named = {name: _keys(inner) for name, inner in keys.items() if name != ANY}
    return {"type": "object", "properties": named, "additionalProperties": _keys(keys[ANY]) if ANY in keys else False}


def _used(schema: Any, parts: Mapping[str, Any]) -> set[str]:
    """Names of the parts that a schema refers to, directly or through others."""
    found: set[str] = set()
    waiting = [schema]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            name = str(value.get("$ref", "")).rpartition("/")[2]
            if name and name not in found:
                found.add(name)
                waiting.append(parts[name])
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
    return found


def _params(params: Mapping[str, Param]) -> dict[str, Any]:
    properties = {name: _param(param) for name, param in params.items()}
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _param(param: Param) -> dict[str, Any]:
    default = {} if param.default is None else {"default": param.default}
    if param.words:
        return {"enum": list(param.words), **default}
    if param.flag:
        return {"type": "boolean", **default}
    bounds = {"minimum": param.low, "exclusiveMinimum": param.above, "maximum": param.high}
    return {
        "type": "integer" if param.whole else "number",
        **{word: bound for word, bound in bounds.items() if bound is not None},
        **default,
    }


def _tidy(schema: Any) -> None:
    """Take out what tells an editor nothing (a title that repeats the key, a part's defaults, which stand at its keys),
    and write default durations as a person does."""
    if isinstance(schema, dict):
        if isinstance(schema.get("title"), str):
            del schema["title"]
        default = schema.get("default")
        if isinstance(default, dict):
            del schema["default"]
        elif isinstance(default, str) and schema.get("pattern") == DURATION:
            schema["default"] = shown_duration(_ISO.validate_python(default))
        for value in schema.values():
            _tidy(value)
    elif isinstance(schema, list):
        for value in schema:
            _tidy(value)


if __name__ == "__main__":
    write()
    write(ENVIRONMENT_FILE, environment_schema())
    write(DEPLOYMENT_FILE, deployment_schema())
