"""A person says of a sign that it is no fault: for the partitions so far, or for good, and takes it back."""

from __future__ import annotations

import pytest
from tests.support import flights
from tests.support.broken_feeds import NULLS, ROWS, UNIT, ingest, keep_out, keys_of

from updraft.errors import InputError, StoreError
from updraft.loop.decision_words import in_words
from updraft.loop.kept_out import LastingSign, count_signs, lasting_signs, readmit_command
from updraft.loop.readmission import readmit, readmit_signs, take_back
from updraft.store.signs import ACCEPT
from updraft.store.store import Store

P = "flight_delays"
KEYS = keys_of(flights.flights().spec, 12)
ANN = {"by": "ann", "reason": "kilometres from now on"}


@pytest.fixture
def store(store_url):
    opened = Store.open(store_url)
    yield opened
    opened.close()


def test_a_column_readmits_every_partition_that_its_signs_alone_keep_out_however_many(store):
    for key in KEYS[:6]:
        keep_out(store, P, key, [NULLS])
    keep_out(store, P, KEYS[6], [NULLS, UNIT])
    keep_out(store, P, KEYS[7], [UNIT])
    done = readmit_signs(store, P, columns=["temp"], **ANN)
    assert done.partitions == tuple(KEYS[:6])
    assert [left.key for left in done.left] == [KEYS[6]]
    assert store.kept_out(P, until=KEYS[-1]) == {KEYS[6], KEYS[7]}
    assert store.accepted_signs(P) == {}
    decisions = store.decisions(P, kinds=("readmit",))
    assert [decision.body["partition"] for decision in decisions] == KEYS[:6]
    assert {(decision.body["by"], decision.key) for decision in decisions} == {("ann", KEYS[7])}
    assert all(decision.written_at for decision in decisions)
    assert store.state_problems(P) == []
    store.verify_chain(P)


def test_signs_that_were_accepted_for_good_one_after_the_other_readmit_what_shows_both(store):
    keep_out(store, P, KEYS[0], [NULLS, UNIT])
    assert readmit_signs(store, P, columns=["temp"], always=True, **ANN).partitions == ()
    assert store.kept_out(P, until=KEYS[-1]) == {KEYS[0]}
    assert readmit_signs(store, P, columns=["distance"], always=True, **ANN).partitions == (KEYS[0],)
    assert store.kept_out(P, until=KEYS[-1]) == frozenset()
    assert set(store.accepted_signs(P)) == {NULLS, UNIT}


def test_columns_that_are_named_together_readmit_what_shows_both(store):
    keep_out(store, P, KEYS[0], [NULLS, UNIT])
    assert readmit_signs(store, P, columns=["temp", "distance"], **ANN).partitions == (KEYS[0],)


def test_a_kind_of_sign_narrows_a_column_and_alone_means_whole_partitions(store):
    keep_out(store, P, KEYS[0], [NULLS])
    keep_out(store, P, KEYS[1], [("constant", "temp")])
    keep_out(store, P, KEYS[2], [ROWS])
    assert readmit_signs(store, P, columns=["temp"], kind="constant", **ANN).partitions == (KEYS[1],)
    assert readmit_signs(store, P, kind="rows", **ANN).partitions == (KEYS[2],)
    assert store.kept_out(P, until=KEYS[-1]) == {KEYS[0]}


def test_what_no_partition_shows_is_refused_with_the_signs_that_there_are(store):
    keep_out(store, P, KEYS[0], [NULLS])
    keep_out(store, P, KEYS[1], [NULLS, ROWS])
    with pytest.raises(InputError, match=r"column 'tmp'.*nulls of temp \(2\), rows \(all rows\) \(1\)"):
        readmit_signs(store, P, columns=["tmp"], **ANN)
    with pytest.raises(InputError, match="the sign 'unit' of column 'temp'"):
        readmit_signs(store, P, columns=["temp"], kind="unit", **ANN)
    with pytest.raises(InputError, match="column 'tmp'"):  # one right column does not hide a wrong one
        readmit_signs(store, P, columns=["temp", "tmp"], always=True, **ANN)
    assert store.last_seq(P) == 0


def test_accepted_and_taken_back_and_accepted_again_each_is_a_decision_with_who_and_when(store):
    keep_out(store, P, KEYS[0], [NULLS])
    readmit_signs(store, P, columns=["temp"], always=True, **ANN)
    keep_out(store, P, KEYS[1], [NULLS])
    assert readmit_signs(store, P, columns=["temp"], always=True, **ANN).partitions == (
        KEYS[1],
    )  # said already: no new decision
    assert take_back(store, P, columns=["temp"], by="bob", reason="it was a fault") == (NULLS,)
    assert store.accepted_signs(P) == {}
    assert take_back(store, P, columns=["temp"], by="bob", reason="again") == (NULLS,)  # said already
    assert len(store.decisions(P, kinds=(ACCEPT,))) == 2
    with pytest.raises(InputError, match="no sign of column 'hum' was accepted for good; accepted are: none"):
        take_back(store, P, columns=["temp", "hum"], by="bob", reason="again")
    keep_out(store, P, KEYS[2], [NULLS])
    readmit_signs(store, P, columns=["temp"], always=True, **ANN)
    assert set(store.accepted_signs(P)) == {NULLS}
    decisions = store.decisions(P, kinds=(ACCEPT,))
    assert [(decision.body["accepted"], decision.body["by"]) for decision in decisions] == [
        (True, "ann"),
        (False, "bob"),
        (True, "ann"),
    ]
    assert [in_words(decision) for decision in decisions[:2]] == [
        "nulls of temp: no fault any more (by ann): kilometres from now on",
        "nulls of temp: a fault again (by bob): it was a fault",
    ]
    assert store.kept_out(P, until=KEYS[-1]) == frozenset()  # what was readmitted stays readmitted
    store.verify_chain(P)
    store.rewrite_state(P)
    assert store.kept_out(P, until=KEYS[-1]) == frozenset()


def test_one_partition_is_readmitted_as_before_and_what_is_not_kept_out_is_named(store):
    ingest(store, P, KEYS[0])
    keep_out(store, P, KEYS[1], [NULLS, UNIT])
    with pytest.raises(StoreError, match=f"{KEYS[0]} is not kept out; kept out are {KEYS[1]}"):
        readmit(store, P, KEYS[0], **ANN)
    for _ in range(2):
        readmit(store, P, KEYS[1], **ANN)
    [decision] = store.decisions(P)
    assert decision.body["signs"] == [list(NULLS), list(UNIT)]


def test_a_run_of_a_sign_is_counted_without_a_gap_and_by_kind_and_column(store):
    for number, signs in enumerate([[NULLS], [NULLS, UNIT], [UNIT], [NULLS, UNIT]]):
        keep_out(store, P, KEYS[number], signs)
    ingest(store, P, KEYS[4])
    keep_out(store, P, KEYS[5], [NULLS])
    runs = {
        key: [(run.sign, run.since, run.partitions) for run in lasting_signs(store, P, key, signs)]
        for key, signs in ((KEYS[3], [NULLS, UNIT]), (KEYS[5], [NULLS]), (KEYS[6], [NULLS, ("constant", "temp")]))
    }
    assert runs == {
        KEYS[3]: [(NULLS, KEYS[3], 1), (UNIT, KEYS[1], 3)],
        KEYS[5]: [(NULLS, KEYS[5], 1)],
        KEYS[6]: [(NULLS, KEYS[5], 2), (("constant", "temp"), KEYS[6], 1)],
    }
    counts = count_signs(store.keeping_out(P, until=KEYS[-1]))
    assert [(count.sign, count.partitions, count.since) for count in counts] == [
        (NULLS, 4, KEYS[0]),
        (UNIT, 3, KEYS[1]),
    ]


@pytest.mark.parametrize(
    ("partitions", "asked"), [(1, None), (2, None), (3, 1), (5, 1), (6, 2), (11, 2), (12, 3), (300, 7)]
)
def test_a_person_is_asked_after_three_in_a_row_and_ever_less_often(partitions, asked):
    assert LastingSign("nulls", "temp", KEYS[0], partitions).asked(3) == asked


def test_the_command_can_be_pasted_whatever_the_column_is_called():
    assert readmit_command(P, ("nulls", "t emp;rm")) == (
        "updraft readmit flight_delays --column 't emp;rm' --sign nulls --always --reason WHY"
    )
    assert readmit_command(P, ROWS, always=False) == "updraft readmit flight_delays --sign rows --reason WHY"


def test_what_stands_for_good_is_said_twice_without_an_error_or_another_decision(store):
    keep_out(store, P, KEYS[0], [NULLS])
    first = readmit_signs(store, P, columns=["temp"], always=True, **ANN)
    before = len(store.decisions(P))
    again = readmit_signs(store, P, columns=["temp"], always=True, **ANN)
    assert (first.signs, again.signs, again.partitions) == ((NULLS,), (NULLS,), ())
    assert len(store.decisions(P)) == before
