"""Values that no database can hold do not fail the write that tells of them."""

import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from updraft.alerts import messages, outbox
from updraft.store.records import IngestedPartition, TrainingRow
from updraft.store.store import Store

P = "flights"


@pytest.fixture(scope="module")
def store(postgres_server):
    url = postgres_server.new_store()
    found = Store.open(url)
    yield found
    found.close()
    postgres_server.drop_database(url)


def test_a_failure_whose_text_holds_nul_and_half_a_character_is_told(store):
    alert = messages.failure(
        P, dag="flights.ingest", task="extract_partition", run="r\x00un", error="cell \x00 and \ud83d"
    )
    outbox.record(store.engine, alert)
    outbox.record(store.engine, alert)
    [stored] = outbox.recent(store.engine, P)
    assert "cell \N{REPLACEMENT CHARACTER} and \N{REPLACEMENT CHARACTER}" in stored.alert.detail


def test_an_observed_value_that_is_not_finite_is_kept_as_text(store):
    checks = {"observed": math.inf, "rows": [math.nan, -math.inf, 1.5], "text\x00": "a\x00b"}
    store.record_partition(P, IngestedPartition("k1", "refused", None, None, 0, 0, None, checks, None))
    kept = store.partition(P, "k1").checks
    assert kept == {"observed": "inf", "rows": ["nan", "-inf", 1.5], "text�": "a�b"}


def test_a_decision_with_such_values_verifies(store):
    decision = store.decide("other", key="k", kind="note", subject="s\x00", body={"gain": math.nan, "why": "\udc80"})
    assert store.decisions("other") == [decision]
    assert store.verify_chain("other") == 1


anything = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats() | st.text(st.characters(), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(), max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(value=anything, words=st.text(st.characters(), max_size=60))
def test_whatever_comes_is_written_and_the_chain_stays_whole(store, value, words):
    store.record_training(TrainingRow("run", "fuzz", "k", None, None, "running", None, {"result": value}))
    store.record_run("fuzz", "run", "evaluation", {"value": value, "words": words}, replace=True)
    before = len(store.decisions("fuzz"))
    store.decide("fuzz", key="k", kind="note", subject=f"{before}", body={"value": value, "words": words})
    assert store.verify_chain("fuzz") == before + 1
