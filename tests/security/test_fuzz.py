"""Whatever stands in a file or a form, nothing but Updraft's own errors comes of it, and nothing is written elsewhere."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support import flights

from updraft.data.contract import load_contract
from updraft.data.partitions import partition, partitions
from updraft.errors import SettingsError, SpecError, UpdraftError
from updraft.jobs.plan import Plan
from updraft.lake.places import folder_name, trial_of, trial_run
from updraft.loop.plan import plan_training
from updraft.loop.search import plan_search
from updraft.loop.train import prepare
from updraft.spec.load import BrokenProject, load_project_or_problems
from updraft.spec.model import Project
from updraft.stack.airflow_settings import load
from updraft.store.records import IngestedPartition, PartitionRow

REAL = (flights.PROJECTS / "flight_delays" / "project.yaml").read_text()
CONTRACT = (flights.PROJECTS / "flight_delays" / "expectations.yaml").read_text()
AIRFLOW = """
airflow:
  connections:
    - {conn_id: db, conn_type: postgres, conn_host: db.example, conn_schema: a, conn_login: reader, conn_password: secret,
       conn_port: 5433, conn_extra: {sslmode: require}}
    - {conn_id: other, conn_uri: "postgresql://me:p%40ss@db.example:5432/sales?sslmode=require"}
  pools: [{pool_name: training, pool_slot: 2, pool_description: one at a time}]
  variables: [{variable_name: region, variable_value: eu}, {variable_name: limits, variable_value: {rows: [5, 6]}}]
"""


def examples(number):
    """Always the same examples, whatever was tried before and wherever it runs."""
    slow = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large]
    return settings(max_examples=number, deadline=None, derandomize=True, database=None, suppress_health_check=slow)


def told(error):
    """An error of ours says something."""
    assert str(error).strip()


# -- what is watched ---------------------------------------------------------------------------------------------------

_written: list[str] | None = None
_CHANGES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.symlink", "os.link", "os.truncate", "shutil.rmtree"}


def _note(event, arguments):
    if _written is None:
        return
    if event == "open":
        path, _, flags = arguments
        if isinstance(path, str | bytes | os.PathLike) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            _written.append(os.fsdecode(path))
    elif event in _CHANGES:
        _written.extend(os.fsdecode(part) for part in arguments[:2] if isinstance(part, str | bytes | os.PathLike))


sys.addaudithook(_note)


@contextmanager
def writing_only_below(place: Path) -> Iterator[None]:
    """Fail when anything outside of a folder is written, moved or removed."""
    global _written  # noqa: PLW0603  an audit hook stays for the life of the process
    _written = []
    try:
        yield
    finally:
        changed, _written = _written, None
    root = place.resolve()
    elsewhere = [path for path in changed if not Path(path).resolve().is_relative_to(root)]
    assert [path for path in elsewhere if path != os.devnull and "__pycache__" not in path] == []


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = tmp_path_factory.mktemp("fuzz")
    shutil.copytree(flights.PROJECTS / "flight_delays", place / "projects" / "flight_delays")
    return place


@pytest.fixture(scope="module")
def loop(place):
    """A loop whose store says that there are partitions; their files are not there."""
    loop, _ = flights.fresh_loop(place)
    for week in range(8):
        key = (
            f"2013-{1 + week // 4:02}-{7 * (week % 4 + 1):02}T0500"
            if week < 4
            else f"2013-02-{4 + 7 * (week - 4):02}T0500"
        )
        row = PartitionRow(key, "published", f"file://{place}/{key}.parquet", "0" * 64, 10, 0, None)
        loop.store.record_partition(loop.name, IngestedPartition(**asdict(row), checks={}, profile=None))
    return loop


# -- what is tried -----------------------------------------------------------------------------------------------------

anything = st.text(st.characters(exclude_categories=()), max_size=40)
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.integers(10**300, 10**301), st.floats(), anything, st.dates(), st.binary(max_size=8),
    st.sampled_from(
        ["../../etc/passwd", "..", ".", "/", "~", "{key}", "{{ 1 }}", "%s", "-1s", "9999999999w", "1 per year", "0 of 0",
         "below nan", "0 5 * * 1", "* * * * * * *", "@yearly", "0001-01-01", "9999-12-31", ".nan", "-.inf", "1e999",
         "package://nowhere/x.csv", "file:///etc/shadow", "2013-01-07T0500", "9" * 5000, "N/A", "yes", "\u0660"]
    ),
)  # fmt: skip
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(scalars, inner, max_size=3), max_leaves=8
)


def places(data, path=()):
    """Every place in a tree of plain data."""
    yield path
    inner = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in inner:
        yield from places(value, (*path, key))


def changed(data, path, value):
    if not path:
        return value
    copy = dict(data) if isinstance(data, dict) else list(data)
    copy[path[0]] = changed(data[path[0]], path[1:], value)
    return copy


@st.composite
def mutated(draw, text):
    """A real file with other values in some of its places, other text in it, or cut short."""
    kind = draw(st.sampled_from(["value", "value", "value", "key", "text", "bytes"]))
    if kind == "bytes":
        content = text.encode()
        start = draw(st.integers(0, len(content)))
        return content[:start] + draw(st.binary(max_size=6)) + content[start + draw(st.integers(0, 40)) :]
    if kind == "text":
        start = draw(st.integers(0, len(text)))
        mark = draw(
            st.sampled_from(
                [
                    "&a [*a]",
                    "{",
                    "[",
                    "- ",
                    "\t",
                    "*x",
                    "!!python/object:os.system {}",
                    "!!binary x",
                    "? ",
                    "%",
                    "---\n",
                    "<<: ",
                    "!!set {a}",
                ]
            )
        )
        return (text[:start] + mark + text[start:]).encode()
    data = yaml.safe_load(text)
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from([path for path in places(data) if path]))
        if kind == "key":
            data = changed(data, path[:-1], {draw(scalars): draw(values), "name": draw(scalars)})
            break
        data = changed(data, path, draw(values))
    return yaml.safe_dump(data, allow_unicode=True).encode("utf-8", "surrogatepass")


def documents(text):
    """Any bytes, any data as YAML, and a real file that was changed."""
    written = values.map(lambda data: yaml.safe_dump(data, allow_unicode=True).encode("utf-8", "surrogatepass"))
    return st.one_of(st.binary(max_size=60), written, mutated(text), mutated(text), mutated(text))


BOMBS = {
    "aliases": b"a: &a [x,x,x,x,x,x,x,x,x]\n"
    + b"".join(b"%c: &%c [%s]\n" % (n, n, b",".join([b"*%c" % (n - 1)] * 9)) for n in range(98, 110)),
    "depth": b"[" * 4_000,
    "more depth": b"{a: " * 100_000,
    "itself": b"&a [*a]",
    "merge": b"a: &a {<<: *a}",
    "digits": b"a: " + b"9" * 6_000,
    "nul": b"a: \x00",
    "utf-16": "a: b".encode("utf-16"),
    "size": b"#" * 2_000_000,
    "base 60": b"a: 1:_",
    "no day": b"a: 2013-02-30",
    "binary": b"a: !!binary '*'",
    "python": b"!!python/object/apply:os.system ['true']",
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_file_that_is_made_to_hurt_ends_in_words(place, bomb):
    home = place / "projects" / "flight_delays"
    with writing_only_below(place):
        for name in ("project.yaml", "expectations.yaml", "airflow_settings.yaml"):
            before = (home / name).read_bytes() if (home / name).exists() else b""
            (home / name).write_bytes(BOMBS[bomb])
            try:
                if name == "project.yaml":
                    assert isinstance(load_project_or_problems(home), BrokenProject)
                elif name == "expectations.yaml":
                    with pytest.raises(SpecError):
                        load_contract(flights.flights().model_copy(update={"folder": home}))
                else:
                    with pytest.raises(SettingsError) as caught:
                        load(home / name)
                    assert len(str(caught.value)) < 2_000
            finally:
                (home / name).write_bytes(before)


@given(documents(REAL))
@examples(500)
def test_any_project_file_is_a_project_or_says_what_is_wrong(place, content):
    home = place / "any" / "flight_delays"
    home.mkdir(parents=True, exist_ok=True)
    (home / "features.py").write_text("def features(rows):\n    return rows\n")
    with writing_only_below(place):
        (home / "project.yaml").write_bytes(content)
        found = load_project_or_problems(home)
        if isinstance(found, BrokenProject):
            assert found.problems
            assert all(str(problem) for problem in found.problems)
            return
        text = found.spec.model_dump_json()
        assert type(found.spec).model_validate_json(text) == found.spec
        with suppress(UpdraftError):
            ticks = partitions(found.spec, None)
            for _, tick in zip(range(3), ticks, strict=False):
                assert partition(found.spec, tick.key) == tick


@given(documents(CONTRACT))
@examples(300)
def test_any_contract_is_one_or_says_what_is_wrong(place, content):
    home = place / "contract"
    home.mkdir(exist_ok=True)
    with writing_only_below(place):
        (home / "expectations.yaml").write_bytes(content)
        try:
            contract = load_contract(Project(spec=flights.flights().spec, folder=home))
        except UpdraftError as error:
            told(error)
            return
        for source in contract.sources.values():
            assert source.needed
            assert all(row.text and row.reason for row in source.rows)


@given(documents(AIRFLOW))
@examples(250)
def test_any_settings_file_is_bodies_of_airflows_api_or_says_what_is_wrong(place, content):
    import json

    file = place / "airflow_settings.yaml"
    with writing_only_below(place):
        file.write_bytes(content)
        try:
            found = load(file)
        except UpdraftError as error:
            told(error)
            return
        body = json.dumps(asdict(found), allow_nan=False)
        assert json.loads(body)


keys = st.one_of(
    anything,
    st.sampled_from(
        ["2013-01-07T0500", "2013-02-30T0500", "0001-01-01T0000", "9999-12-31T2359", "../2013-01-07T0500", ""]
    ),
    st.datetimes().map(lambda moment: moment.strftime("%Y-%m-%dT%H%M")),
)


@given(keys, st.sampled_from(["0 5 * * 1", "* * * * *", "0 0 29 2 *", "@yearly", "59 23 31 12 *"]))
@examples(150)
def test_any_text_is_a_partition_key_or_says_why_not(key, schedule):
    spec = flights.flights().spec
    spec = spec.model_copy(update={"data": spec.data.model_copy(update={"schedule": schedule})})
    try:
        slice_ = partition(spec, key)
    except UpdraftError as error:
        told(error)
        return
    assert slice_.start < slice_.tick
    assert slice_.key == key


runs = st.one_of(
    anything.filter(bool),
    st.text("abAB019_.-:+~/\\ %\n\x00é\U0001f600", min_size=1, max_size=260),
    st.sampled_from(
        ["..", ".", "...", "a" * 250, "\U0001f600" * 250, "manual__2013-01-07T05:00:00+00:00", "x.trial-3", ".trial-0"]
    ),
)


@given(runs, st.integers(0, 500))
@examples(150)
def test_any_run_id_names_one_folder_of_its_own_place(place, run, number):
    name = folder_name(run)
    with writing_only_below(place):
        inside = (place / "trainings" / name).resolve()
        assert inside.parent == (place / "trainings").resolve()
        inside.mkdir(parents=True, exist_ok=True)
        inside.rmdir()
    assert folder_name(name) == name
    assert trial_of(trial_run(run, number)) == (run, number)
    trial_of(run)


@given(
    runs,
    keys | st.none(),
    st.sampled_from([None, "xgboost", "torch", "nothing"]) | anything,
    st.dictionaries(
        anything | st.sampled_from(["max_depth", "eta", "rounds", "subsample", "grow_policy", "external_memory"]),
        values,
        max_size=3,
    ),
)
@examples(150)
def test_any_form_of_a_training_is_a_plan_or_says_what_is_wrong(place, loop, run, key, trainer, params):
    with writing_only_below(place):
        try:
            plan = plan_training(loop, key or "2013-02-25T0500", trainer=trainer, params=params)
        except UpdraftError as error:
            told(error)
        else:
            assert isinstance(plan, Plan)
        with suppress(UpdraftError, FileNotFoundError):  # the partitions' files are not there
            prepare(loop, run, key, trainer=trainer, params=params, reason=run)


@given(runs, keys | st.none(), st.integers() | values)
@examples(50)
def test_any_form_of_a_search_is_a_plan_or_says_what_is_wrong(place, loop, run, key, trials):
    with writing_only_below(place), suppress(UpdraftError, FileNotFoundError):
        plan_search(loop, run, key, trials=trials, reason=run)
