"""``airflow_settings.yaml``, in the format that the Astro CLI reads, loaded into a plain Airflow.

The file names connections, pools and variables with the keys ``conn_id``, ``pool_name``, ``variable_name`` and so on.
Items whose values are all empty are skipped, as the Astro CLI does with its template. Loading is idempotent: what the
file names is created or overwritten, everything else in Airflow is left alone. Secrets do not belong into the file: a
connection can also come from the environment, as ``AIRFLOW_CONN_<ID>``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from updraft.airflow_api import AirflowApi
from updraft.errors import SettingsError
from updraft.spec.document import read_document
from updraft.spec.problems import did_you_mean
from updraft.spec.validation import kind

_TEXT, _NUMBER, _ANY = (str,), (int,), (str, int, float, bool, list, dict)
_CONNECTION: Mapping[str, tuple[type, ...]] = {
    "conn_id": _TEXT,
    "conn_type": _TEXT,
    "conn_host": _TEXT,
    "conn_schema": _TEXT,
    "conn_login": _TEXT,
    "conn_password": _TEXT,
    "conn_port": _NUMBER,
    "conn_uri": _TEXT,
    "conn_extra": (str, dict),
}
_POOL: Mapping[str, tuple[type, ...]] = {"pool_name": _TEXT, "pool_slot": _NUMBER, "pool_description": _TEXT}
_VARIABLE: Mapping[str, tuple[type, ...]] = {"variable_name": _TEXT, "variable_value": _ANY}
_KINDS = {"connections": _CONNECTION, "pools": _POOL, "variables": _VARIABLE}
_WORDS = {
    str: "text",
    int: "a whole number",
    dict: "a mapping",
    float: "a number",
    bool: "true or false",
    list: "a list",
}

_SECRET = ("conn_password", "conn_uri", "conn_extra", "variable_value")
_UNFIT = re.compile("[\x00\ud800-\udfff]")

Entity = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class AirflowSettings:
    """The file's content as bodies of Airflow's REST API."""

    connections: tuple[Entity, ...] = ()
    pools: tuple[Entity, ...] = ()
    variables: tuple[Entity, ...] = ()


def load(path: Path) -> AirflowSettings:
    """Read and check the file as a whole.

    :raises SettingsError: with every problem found: file, item, key, value, what is allowed.
    """
    try:
        document = read_document(path)
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror}") from error
    problems = [] if document.empty else [str(problem) for problem in document.problems]
    if document.node is None and problems:
        raise SettingsError("\n".join(problems))
    sections = _sections(document.data or {}, problems)
    entities_by_section: dict[str, tuple[Entity, ...]] = {}
    for section, build in _BUILDERS.items():
        items = [_checked(item, section, index, problems) for index, item in enumerate(sections.get(section) or [])]
        entities = [build(item, f"airflow.{section}[{index}]", problems) for index, item in enumerate(items) if item]
        entities_by_section[section] = tuple(entity for entity in entities if entity is not None)
        _refuse_twins(section, entities_by_section[section], problems)
    if problems:
        listed = "\n".join(f"  {problem}" for problem in problems)
        raise SettingsError(f"{path} has {len(problems)} problem(s):\n{listed}")
    return AirflowSettings(**entities_by_section)


def push(settings: AirflowSettings, api: AirflowApi) -> int:
    """Create or overwrite everything that the settings name, one call per kind. Returns how many there were.

    :raises SettingsError: when Airflow refuses an item.
    """
    count = 0
    for section in _KINDS:
        entities: tuple[Entity, ...] = getattr(settings, section)
        if not entities:
            continue
        action = {"action": "create", "entities": list(entities), "action_on_existence": "overwrite"}
        answer = api.call("PATCH", f"/{section}", {"actions": [action]})
        if errors := (answer.get("create") or {}).get("errors"):
            raise SettingsError(f"Airflow refused {section} of airflow_settings.yaml: {errors}")
        count += len(entities)
    return count


def _sections(content: Any, problems: list[str]) -> dict[str, list[Any]]:
    if not isinstance(content, dict) or set(content) - {"airflow"}:
        keys = sorted(map(str, content)) if isinstance(content, dict) else type(content).__name__
        problems.append(f"top level: expected the one key 'airflow', found {keys}")
        content = content if isinstance(content, dict) else {}
    sections = content.get("airflow") or {}
    if not isinstance(sections, dict):
        problems.append(f"airflow: expected a mapping with {', '.join(_KINDS)}, found {kind(sections)}")
        return {}
    for name in list(sections):
        if name not in _KINDS:
            problems.append(
                f"airflow: unknown key {name!r}{did_you_mean(str(name), _KINDS)}; allowed: {', '.join(_KINDS)}"
            )
        elif sections[name] is not None and not isinstance(sections[name], list):
            problems.append(f"airflow.{name}: expected a list, found {kind(sections[name])}")
            sections = {**sections, name: []}
    return sections


def _checked(item: Any, section: str, index: int, problems: list[str]) -> Entity:
    """The item without its empty values; problems for unknown keys and wrong types. Secrets stand anywhere: few are shown."""
    where, keys = f"airflow.{section}[{index}]", _KINDS[section]
    if not isinstance(item, dict):
        if item is not None:
            problems.append(f"{where}: expected a mapping with {', '.join(keys)}, found {kind(item)}")
        return {}
    good = {}
    for key, value in item.items():
        if key not in keys:
            problems.append(f"{where}: unknown key {key!r}{did_you_mean(str(key), keys)}; allowed: {', '.join(keys)}")
        elif value in (None, "") or value == {}:
            continue
        elif not isinstance(value, keys[key]) or (isinstance(value, bool) and bool not in keys[key]):
            allowed = " or ".join(_WORDS[allowed_type] for allowed_type in keys[key])
            shown = "(hidden)" if key in _SECRET else repr(value)[:80]
            problems.append(f"{where}.{key}: expected {allowed}, found {shown}")
        elif isinstance(value, str) and _UNFIT.search(value):
            problems.append(
                f"{where}.{key}: holds a character that Airflow's database does not take (NUL, or half of one)"
            )
        elif not isinstance(value, str) and _json(value) is None:
            problems.append(
                f"{where}.{key}: holds what JSON does not know, such as a date or .nan; put quotes around it"
            )
        else:
            good[key] = value
    return good


def _connection(item: Entity, where: str, problems: list[str]) -> Entity | None:
    if "conn_id" not in item:
        problems.append(f"{where}: conn_id is missing")
        return None
    parts = {key for key in item if key not in ("conn_id", "conn_uri")}
    if "conn_uri" in item and parts:
        problems.append(f"{where}: give conn_uri or {', '.join(sorted(parts))}, not both")
        return None
    if "conn_uri" in item:
        return _from_uri(item["conn_id"], item["conn_uri"], where, problems)
    if "conn_type" not in item:
        problems.append(f"{where} ({item['conn_id']}): conn_type (or conn_uri) is missing")
        return None
    if "conn_port" in item and not 0 < item["conn_port"] < 65536:
        problems.append(f"{where}.conn_port: expected 1 to 65535, found {item['conn_port']}")
    extra = item.get("conn_extra")
    if isinstance(extra, str) and not _is_json_object(extra):
        problems.append(f"{where}.conn_extra: expected a mapping or the text of a JSON object")
    names = {"conn_host": "host", "conn_schema": "schema", "conn_login": "login", "conn_password": "password"}
    names["conn_port"] = "port"
    entity = {"connection_id": item["conn_id"], "conn_type": item["conn_type"]}
    entity |= {name: item[key] for key, name in names.items() if key in item}
    if extra is not None:
        entity["extra"] = extra if isinstance(extra, str) else _json(extra)
    return entity


def _from_uri(name: str, uri: str, where: str, problems: list[str]) -> Entity | None:
    """Airflow's connection URI, ``type://login:password@host:port/schema?extra=…``, taken apart as Airflow does."""
    try:
        parts = urlsplit(uri)
        port = parts.port
    except ValueError as error:
        problems.append(f"{where}.conn_uri: not a URI ({error})")
        return None
    if not parts.scheme:
        problems.append(f"{where}.conn_uri: expected type://login:password@host:port/schema")
        return None
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    fields = {
        "host": unquote(parts.hostname or ""),
        "login": unquote(parts.username or ""),
        "password": unquote(parts.password or ""),
        "schema": unquote(parts.path.removeprefix("/")),
        "port": port,
        "extra": query.get("__extra__") or (json.dumps(query) if query else ""),
    }
    connection_type = {"postgresql": "postgres"}.get(parts.scheme, parts.scheme.replace("-", "_"))
    return {
        "connection_id": name,
        "conn_type": connection_type,
        **{key: value for key, value in fields.items() if value},
    }


def _json(value: Any) -> str | None:
    """The value as JSON; None when it is none."""
    try:
        return json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return None


def _is_json_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def _pool(item: Entity, where: str, problems: list[str]) -> Entity | None:
    missing = [key for key in ("pool_name", "pool_slot") if key not in item]
    if missing:
        problems.append(f"{where}: {' and '.join(missing)} missing")
        return None
    if item["pool_slot"] < -1:
        problems.append(f"{where}.pool_slot: expected 0 or more, or -1 for no limit, found {item['pool_slot']}")
    # A deferred training still uses what the pool guards.
    entity = {"name": item["pool_name"], "slots": item["pool_slot"], "include_deferred": True}
    return entity | ({"description": item["pool_description"]} if "pool_description" in item else {})


def _variable(item: Entity, where: str, problems: list[str]) -> Entity | None:
    missing = [key for key in ("variable_name", "variable_value") if key not in item]
    if missing:
        problems.append(f"{where}: {' and '.join(missing)} missing")
        return None
    value = item["variable_value"]
    return {"key": item["variable_name"], "value": value if isinstance(value, str) else _json(value)}


def _refuse_twins(section: str, entities: tuple[Entity, ...], problems: list[str]) -> None:
    key = {"connections": "connection_id", "pools": "name", "variables": "key"}[section]
    names = [entity[key] for entity in entities]
    for name in sorted({name for name in names if names.count(name) > 1}):
        problems.append(f"airflow.{section}: {name!r} is there {names.count(name)} times")


_BUILDERS: Mapping[str, Callable[[Entity, str, list[str]], Entity | None]] = {
    "connections": _connection,
    "pools": _pool,
    "variables": _variable,
}
