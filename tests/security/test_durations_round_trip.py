"""What a spec says is what is read back from what it wrote, down to the second; and no hash of a recipe has moved for it."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from updraft.files import canonical_hash
from updraft.spec.document import read_document
from updraft.spec.model import ProjectSpec
from updraft.spec.part import Cpu, Duration, Memory
from updraft.spec.search import Search
from updraft.spec.validation import validate

WRITTEN = [
    ("45s", "45s"),
    ("90s", "90s"),
    ("60s", "1m"),
    ("0s", "0m"),
    ("30m", "30m"),
    ("6h", "360m"),
    ("1d", "1440m"),
    ("2w", "20160m"),
    ("3601s", "3601s"),
]
WHOLE = {"min_value": 0, "max_value": 36500 * 86400}


@pytest.mark.parametrize(("read", "written"), WRITTEN)
def test_a_duration_keeps_its_seconds_and_whole_minutes_are_written_as_ever(read, written):
    adapter = TypeAdapter(Duration)
    value = adapter.validate_python(read)

    assert adapter.dump_python(value, mode="json") == written
    assert adapter.validate_python(written) == value


def test_a_search_that_may_last_less_than_a_minute_is_not_over_at_once():
    search = Search.model_validate({"timeout": "45s", "space": {"max_depth": [3, 4]}})

    assert Search.model_validate_json(search.model_dump_json()).timeout == timedelta(seconds=45)


@pytest.mark.parametrize("text", ["36501d", "9" * 13 + "s", "9" * 5000 + "w", "-1s", "1.5s", "", "s", "1y"])
def test_what_is_no_duration_or_runs_out_of_the_calendar_is_refused(text):
    with pytest.raises(ValidationError):
        TypeAdapter(Duration).validate_python(text)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Memory, "9" * 400 + "Gi"),
        (Memory, "1025Ti"),
        (Cpu, "9" * 400 + "m"),
        (Cpu, "9" * 400),
        (Cpu, 10**400),
        (Cpu, float("inf")),
        (Cpu, float("nan")),
        (Duration, timedelta(seconds=0.5)),
        (Duration, timedelta.max),
        (Duration, timedelta(days=-1)),
    ],
)
def test_an_amount_beyond_any_machine_is_refused_with_words(kind, value):
    with pytest.raises(ValidationError):
        TypeAdapter(kind).validate_python(value)


RECIPES = {  # as they were when every duration was written in minutes
    "1d": "7b2be81fa5cec7fa00158834d146c157736b62121147dbdc72e364311ded1aca",
    "36h": "4fa95b8362ef05e4240bb27e6d83096c063cc9cbb81b896ae29d6a6a3c2a567f",
    "30m": "fe32c39412d46a489b4e748017d5a039c4d33dfab5104ce6b8f977959cf33324",
}


@pytest.mark.parametrize("matures_after", RECIPES)
def test_the_hash_of_a_recipe_stays(matures_after):
    label = {"expr": "arr_delay > 15", "missing": "exclude", "matures_after": matures_after}
    spec = ProjectSpec.model_validate({**SMALL, "data": {**SMALL["data"], "label": label}})

    assert canonical_hash(spec.data.label.model_dump(mode="json")) == RECIPES[matures_after]


SMALL = {
    "name": "small",
    "owner": "ops",
    "data": {
        "schedule": "0 5 * * 1",
        "start": "2013-01-01",
        "sources": {"rows": {"type": "file", "url": "file:///rows.csv", "event_time": "at"}},
        "key": ["id"],
        "label": {"expr": "late > 15"},
    },
}

durations = st.integers(**WHOLE).map(lambda seconds: timedelta(seconds=seconds))
fractions = st.floats(0, 1)
losses = st.floats(0, 1e6)
finite = st.floats(allow_nan=False, allow_infinity=False)
memories = st.sampled_from(["Mi", "Gi", "M", "G"]).flatmap(
    lambda unit: st.one_of(st.integers(512, 2048).map(str), st.sampled_from(["1600.5", "900.25"])).map(
        lambda text: text + unit
    )
)
cpus = st.one_of(
    st.integers(1, 10_000),
    st.integers(1, 10_000).map(lambda cores: cores / 4),
    st.integers(1, 9_999_999).map(lambda milli: f"{milli}m"),
    st.integers(1, 9_999).map(lambda milli: f"{milli / 1000:.3f}"),
)
words = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Cn")), min_size=1, max_size=30)
numbers = st.one_of(st.integers(-(10**6), 10**6), st.floats(-1e6, 1e6))


@st.composite
def spans(draw):
    low, high = sorted(draw(st.lists(numbers, min_size=2, max_size=2, unique=True)))
    span = {"at_least": low, "at_most": high}
    if low > 0 and draw(st.booleans()):
        span["log"] = True
    elif draw(st.booleans()):
        span["step"] = (high - low) / draw(st.integers(1, 50))
    return span


@st.composite
def specs(draw):
    """A spec as a person may write it, with every kind of scalar that there is."""
    first = draw(st.dates(date(1900, 1, 1), date(2199, 12, 30)))
    hits, of = sorted(draw(st.lists(st.integers(1, 20), min_size=2, max_size=2)))
    least, most = sorted(draw(st.lists(st.integers(1, 20), min_size=2, max_size=2)))
    count, per = draw(st.floats(0.001, 1000)), draw(st.sampled_from(["month", "quarter", "year"]))
    limit = {"metric": "auc", "side": draw(st.sampled_from(["below", "above"])), "value": draw(finite)}
    spoken = draw(st.booleans())
    return {
        "name": "small",
        "owner": draw(words),
        "description": draw(words),
        "data": {
            **SMALL["data"],
            "start": first.isoformat(),
            "end": draw(st.none() | st.dates(first, date(2199, 12, 31)).map(date.isoformat)),
            "label": {"expr": draw(words), "matures_after": draw(durations)},
            "refuse_above": draw(fractions),
        },
        "training": {
            "trainers": [
                {"name": "xgboost", "params": {"eta": draw(finite), "max_depth": 3, "objective": draw(words)}}
            ],
            "compute": {
                "cpu": draw(cpus),
                "memory": draw(memories),
                "timeout": draw(durations),
                "wait_at_most": draw(durations),
                "node_selector": {"zone": draw(words)},
            },
            "search": {"timeout": draw(st.none() | durations), "space": {"a": draw(spans()), "b": draw(choices)}},
        },
        "gates": {
            "log_loss": {"no_worse_than_champion_by": draw(losses)},
            "slices": {"by": [draw(words)], "no_worse_than_champion_by": draw(losses)},
        },
        "release": {
            "margin": draw(losses),
            "confidence": draw(st.floats(0.5, 1, exclude_min=True, exclude_max=True)),
            "change": {"shadow": {"at_least": least, "at_most": most}, "approval_timeout": draw(durations)},
        },
        "monitoring": {
            "drift": {
                "false_alarms": f"{int(count) + 1} per {per}" if spoken else {"count": count, "per": per},
                "persist": f"{hits} of {of}" if spoken else {"hits": hits, "of": of},
            },
            "remedies": {"retrain": {"on": ["drift", limit, {"brier": "above 0.25"}]}},
        },
        "alerts": {"slack": {"channel": "#a.b-c", "mention": "@U012AB3CD"}},
    }


choices = st.lists(st.one_of(numbers, st.booleans(), words), min_size=1, max_size=4)


@given(specs())
@settings(max_examples=150, deadline=None, derandomize=True, database=None)
def test_every_value_of_a_spec_comes_back_as_it_was(tmp_path_factory, written):
    spec = ProjectSpec.model_validate(written)
    file = tmp_path_factory.getbasetemp() / "project.yaml"
    for text in (yaml.safe_dump(spec.model_dump(mode="json"), allow_unicode=True), spec.model_dump_json()):
        file.write_text(text, "utf-8")
        again = validate(read_document(file), ProjectSpec)

        assert again.problems == ()
        assert again.spec == spec
        assert again.spec.model_dump(mode="json") == spec.model_dump(mode="json")
