"""The whole table of a release's states: what is next for it, whatever was seen of it and whatever the policy says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from updraft.errors import StoreError
from updraft.loop.alerting.release_alerts import TOLD
from updraft.release.states import Answer, Asked, Look, Newer, Policy, Reinstated, TakenBack, Unscorable, advance
from updraft.release.verdict import ClusterGain
from updraft.spec.model import ChangeLane, RefreshLane, Release, ShadowSpan, SliceGate
from updraft.store.records import ReleaseRow
from updraft.store.transitions import Act, Transition

BEFORE, OPENED, TICK = "k1", "k2", "k9"


def row(version="2", lane="refresh", state="shadow", outcome=None, against="1", reason=None) -> ReleaseRow:
    closed_at = "k5" if state == "closed" else None
    return ReleaseRow(f"p-v{version}", "p", lane, version, against, state, outcome, reason, OPENED, closed_at)


STATES = {
    "change in shadow": row(lane="change"),
    "refresh in shadow": row(),
    "change proved": row(lane="change", state="approval", reason="shown better"),
    "refresh asked about": row(state="approval", reason="proved on the holdout"),
    "on probation": row(state="probation", reason="proved on the holdout"),
    "closed, serves": row(state="closed", outcome="kept", reason="not shown worse"),
    "closed, rejected": row(state="closed", outcome="rejected", reason="rejected by ann"),
    "closed, superseded": row(state="closed", outcome="superseded", reason="superseded by p-v3"),
}
PROMOTED = {"on probation", "closed, serves"}


def gains(mean: float, days: int = 60) -> tuple[ClusterGain, ...]:
    noise = np.random.default_rng(3).normal(0, 0.01, days)
    return tuple(ClusterGain(f"d{day:03}", TICK, 100, float(mean + noise[day]), {}) for day in range(days))


NOTHING = Look(TICK, "1")
OTHER = row("3", "change"), row("3", "refresh")
LOOKS = {
    "nothing": NOTHING,
    "better, early": replace(NOTHING, partitions=1, gains=gains(0.02)),
    "better": replace(NOTHING, partitions=2, gains=gains(0.02)),
    "worse": replace(NOTHING, partitions=2, gains=gains(-0.02)),
    "equal, for long": replace(NOTHING, partitions=12, gains=gains(0.0)),
    "approved": replace(NOTHING, approval=Answer(True, "ann")),
    "refused": replace(NOTHING, approval=Answer(False, "ann")),
    "ann says yes": replace(NOTHING, event=Answer(True, "ann")),
    "ann says no": replace(NOTHING, event=Answer(False, "ann")),
    "nobody answers": replace(NOTHING, event=Answer(False, None)),
    "no after yes": replace(NOTHING, approval=Answer(True, "ann"), event=Answer(False, "bob")),
    "yes after no": replace(NOTHING, approval=Answer(False, "ann"), event=Answer(True, "bob")),
    "to be asked": replace(NOTHING, event=Asked()),
    "to be asked, worse": replace(NOTHING, partitions=2, gains=gains(-0.02), event=Asked()),
    "shadow unscorable": replace(NOTHING, event=Unscorable("challenger", "not what was signed")),
    "previous unscorable": replace(NOTHING, event=Unscorable("previous", "not what was signed")),
    "taken back": replace(NOTHING, event=TakenBack("ann", "odd", "1")),
    "worse than none": replace(NOTHING, partitions=12, gains=gains(-0.002), worse_than_none="ranks the wrong way"),
    "both worse than none": replace(NOTHING, partitions=12, gains=gains(0.02), worse_than_none="ranks the wrong way"),
    "newer change": replace(NOTHING, event=Newer(replace(OTHER[0], opened_at="k4"))),
    "newer refresh": replace(NOTHING, event=Newer(replace(OTHER[1], opened_at="k4"))),
    "opened again": replace(NOTHING, event=Newer(row(lane="change"))),
    "older change": replace(NOTHING, event=Newer(replace(OTHER[0], opened_at=BEFORE))),
}

ASKED = Policy(Release(sensitive=True))
FREE = Policy(Release(change=ChangeLane(approval="none")))
LONG = Policy(Release(change=ChangeLane(approval="none"), refresh=RefreshLane(shadow=2, probation=2)))
POLICIES = {"asked": ASKED, "free": FREE, "long": LONG}

COLUMNS = list(STATES)
TABLE = {
    "asked": """
        nothing             | wait      ask       ask       ask       wait      done      gone gone
        better, early       | wait      ask       ask       ask       wait      done      gone gone
        better              | prove     ask       ask       ask       wait      done      gone gone
        worse               | reject    ask       ask       ask       roll_back done      gone gone
        equal, for long     | reject    ask       ask       ask       keep      done      gone gone
        approved            | wait      ask       promote   promote   wait      done      gone gone
        refused             | reject    reject    reject    reject    wait      done      gone gone
        ann says yes        | wait      ask       approve   approve   wait      done      gone gone
        ann says no         | reject    reject    reject    reject    wait      done      gone gone
        nobody answers      | reject    reject    reject    reject    wait      done      gone gone
        no after yes        | wait      ask       promote   promote   wait      done      gone gone
        yes after no        | reject    reject    reject    reject    wait      done      gone gone
        to be asked         | ask       ask       ask       ask       wait      done      gone gone
        to be asked, worse  | ask       ask       ask       ask       roll_back done      gone gone
        shadow unscorable   | reject    reject    reject    reject    wait      done      gone gone
        previous unscorable | wait      ask       ask       ask       keep      done      gone gone
        taken back          | wait      ask       ask       ask       roll_back roll_back gone gone
        worse than none     | reject    ask       ask       ask       roll_back done      gone gone
        both worse than none| prove     ask       ask       ask       keep      done      gone gone
        newer change        | supersede ask       supersede ask       wait      done      gone gone
        newer refresh       | wait      supersede ask       supersede wait      done      gone gone
        opened again        | wait      ask       ask       ask       wait      done      gone gone
        older change        | wait      ask       ask       ask       wait      done      gone gone
    """,
    "free": """
        nothing             | wait      promote   promote   promote   wait      done      gone gone
        better, early       | wait      promote   promote   promote   wait      done      gone gone
        better              | prove     promote   promote   promote   wait      done      gone gone
        worse               | reject    promote   promote   promote   roll_back done      gone gone
        equal, for long     | reject    promote   promote   promote   keep      done      gone gone
        approved            | wait      promote   promote   promote   wait      done      gone gone
        refused             | reject    reject    reject    reject    wait      done      gone gone
        ann says yes        | wait      promote   approve   approve   wait      done      gone gone
        ann says no         | reject    reject    reject    reject    wait      done      gone gone
        nobody answers      | reject    reject    reject    reject    wait      done      gone gone
        no after yes        | wait      promote   promote   promote   wait      done      gone gone
        yes after no        | reject    reject    reject    reject    wait      done      gone gone
        to be asked         | wait      promote   promote   promote   wait      done      gone gone
        to be asked, worse  | reject    promote   promote   promote   roll_back done      gone gone
        shadow unscorable   | reject    reject    reject    reject    wait      done      gone gone
        previous unscorable | wait      promote   promote   promote   keep      done      gone gone
        taken back          | wait      promote   promote   promote   roll_back roll_back gone gone
        worse than none     | reject    promote   promote   promote   roll_back done      gone gone
        both worse than none| prove     promote   promote   promote   keep      done      gone gone
        newer change        | supersede promote   supersede promote   wait      done      gone gone
        newer refresh       | wait      supersede promote   supersede wait      done      gone gone
        opened again        | wait      promote   promote   promote   wait      done      gone gone
        older change        | wait      promote   promote   promote   wait      done      gone gone
    """,
    "long": """
        nothing             | wait      wait      promote   promote   wait      done      gone gone
        better, early       | wait      wait      promote   promote   wait      done      gone gone
        better              | prove     promote   promote   promote   keep      done      gone gone
        worse               | reject    promote   promote   promote   roll_back done      gone gone
        equal, for long     | reject    promote   promote   promote   keep      done      gone gone
        approved            | wait      wait      promote   promote   wait      done      gone gone
        refused             | reject    reject    reject    reject    wait      done      gone gone
        ann says yes        | wait      wait      approve   approve   wait      done      gone gone
        ann says no         | reject    reject    reject    reject    wait      done      gone gone
        nobody answers      | reject    reject    reject    reject    wait      done      gone gone
        no after yes        | wait      wait      promote   promote   wait      done      gone gone
        yes after no        | reject    reject    reject    reject    wait      done      gone gone
        to be asked         | wait      wait      promote   promote   wait      done      gone gone
        to be asked, worse  | reject    promote   promote   promote   roll_back done      gone gone
        shadow unscorable   | reject    reject    reject    reject    wait      done      gone gone
        previous unscorable | wait      wait      promote   promote   keep      done      gone gone
        taken back          | wait      wait      promote   promote   roll_back roll_back gone gone
        worse than none     | reject    promote   promote   promote   roll_back done      gone gone
        both worse than none| prove     promote   promote   promote   keep      done      gone gone
        newer change        | supersede wait      supersede promote   wait      done      gone gone
        newer refresh       | wait      supersede promote   supersede wait      done      gone gone
        opened again        | wait      wait      promote   promote   wait      done      gone gone
        older change        | wait      wait      promote   promote   wait      done      gone gone
    """,
}


def cells():
    for policy, table in TABLE.items():
        lines = [line for line in table.splitlines() if line.strip()]
        for line in lines:
            name, acts = line.split("|")
            for state, act in zip(COLUMNS, acts.split(), strict=True):
                yield policy, name.strip(), state, Act(act)


CELLS = list(cells())


def step(policy: str, look: str, state: str):
    seen = replace(LOOKS[look], promoted=state in PROMOTED)
    if state in PROMOTED:
        seen = replace(seen, champion="2")
    return advance(STATES[state], seen, POLICIES[policy])


def test_the_table_has_a_cell_for_every_state_look_and_policy():
    assert [cell[:3] for cell in CELLS] == [(p, look, state) for p in POLICIES for look in LOOKS for state in STATES]


@pytest.mark.parametrize(("policy", "look", "state", "act"), CELLS)
def test_what_is_next(policy, look, state, act):
    assert step(policy, look, state).act is act


LEFT = {
    Act.PROVE: ("approval", None, "verdict"),
    Act.REJECT: ("closed", "rejected", "rejected"),
    Act.SUPERSEDE: ("closed", "superseded", "superseded"),
    Act.KEEP: ("closed", "kept", "kept"),
    Act.ROLL_BACK: ("closed", "rolled_back", "roll_back"),
    Act.APPROVE: (None, None, "approval"),
    Act.WAIT: (None, None, None),
    Act.DONE: (None, None, None),
    Act.GONE: (None, None, None),
}


@pytest.mark.parametrize(("policy", "look", "state", "act"), CELLS)
def test_a_step_leaves_the_same_state_outcome_and_kind_of_decision_whichever_way_it_came(policy, look, state, act):
    """A rejection above all: of a verdict, of a person, of nobody's answer, of a shadow that cannot be scored."""
    taken = step(policy, look, state)
    left = (taken.to, taken.outcome, taken.kind)
    if act is Act.ASK:  # the first one moves it, later ones find it there
        assert left == ("approval" if "in shadow" in state else None, None, None)
    elif act is Act.PROMOTE:
        lasting = STATES[state].lane == "refresh"
        assert left == ("probation" if lasting else "closed", None if lasting else "promoted", "promote")
    else:
        assert left == LEFT[act]
    assert taken.writes == (taken.to is not None or taken.kind is not None)
    assert (taken.body is None) == (taken.kind is None)
    assert taken.release is STATES[state]
    assert taken.reason not in ("", "None")


@pytest.mark.parametrize(("policy", "look", "state", "act"), CELLS)
def test_whatever_ends_a_release_leaves_a_decision_that_is_told(policy, look, state, act):
    taken = step(policy, look, state)
    assert (taken.to == "closed") == (taken.outcome is not None)
    if taken.to == "closed":
        assert taken.kind in TOLD
        assert taken.body["reason"] == taken.reason
        assert taken.body["version"]


def test_no_step_can_be_made_that_ends_a_release_without_a_decision():
    with pytest.raises(StoreError, match="p-v2: it would end without a decision"):
        Transition(STATES["refresh in shadow"], Act.SUPERSEDE, TICK, "newer", to="closed", outcome="superseded")


def test_a_verdict_carries_its_figures():
    taken = step("asked", "better", "change in shadow")
    assert (taken.key, taken.body["version"], taken.body["verdict"]) == (TICK, "2", "promote")
    assert taken.body["reason"] == taken.reason
    assert taken.body["evidence"]["verdict"] == "promote"
    assert taken.body["evidence"]["clusters"] == 60


def test_a_rejection_says_by_whom_or_on_which_evidence():
    assert step("asked", "worse", "change in shadow").body["evidence"]["verdict"] == "reject"
    said = step("asked", "ann says no", "change proved")
    assert said.body == {"version": "2", "reason": "rejected by ann", "evidence": {}, "by": "ann"}
    late = step("asked", "nobody answers", "change proved")
    assert late.body == {"version": "2", "reason": "rejected: nobody answered in time", "evidence": {}, "by": None}
    broken = step("asked", "shadow unscorable", "change proved")
    assert broken.body == {"version": "2", "reason": "not what was signed", "evidence": {}}


def test_a_slice_that_is_shown_worse_holds_a_change_back():
    parts = tuple(replace(cluster, slices={"origin=EWR": (100, cluster.gain - 0.2)}) for cluster in gains(0.02))
    seen = replace(NOTHING, partitions=2, gains=parts)
    guard = SliceGate(by=("origin",), no_worse_than_champion_by=0.02)
    assert advance(STATES["change in shadow"], seen, Policy(Release(), guard)).act is Act.WAIT
    assert advance(STATES["change in shadow"], seen, Policy(Release())).act is Act.PROVE


def test_a_promotion_names_what_served_before_and_ends_the_probations_of_others():
    seen = replace(NOTHING, on_probation=("p-v1", "p-v2"))
    taken = advance(STATES["refresh in shadow"], seen, FREE)
    reason = "its proof on the holdout passed the gates"
    assert taken.body == {"version": "2", "previous": "1", "lane": "refresh", "reason": reason, "evidence": {}}
    assert (taken.champion, taken.supersedes, taken.key) == ("1", ("p-v1",), TICK)


def test_the_first_model_and_one_without_probation_are_done_with_their_promotion():
    first = advance(STATES["refresh in shadow"], Look(None, None), FREE)
    assert (first.to, first.outcome, first.body["previous"], first.key) == ("closed", "promoted", None, OPENED)
    none = Policy(Release(refresh=RefreshLane(probation=0)))
    assert advance(STATES["refresh in shadow"], NOTHING, none).to == "closed"


@pytest.mark.parametrize(
    ("reason", "approval", "lane", "said"),
    [
        ("shown better", Answer(True, "ann"), "change", "shown better"),
        (None, Answer(True, "ann"), "change", "approved by ann"),
        (None, None, "refresh", "its proof on the holdout passed the gates"),
    ],
)
def test_a_promotion_says_why(reason, approval, lane, said):
    waits = row(lane=lane, state="approval", reason=reason)
    assert advance(waits, replace(NOTHING, approval=approval), FREE).body["reason"] == said


def test_a_promotion_repeated_after_it_was_cleared_is_done_or_on_probation():
    promoted = replace(NOTHING, promoted=True, champion="2")
    closed = row(state="closed", outcome="promoted", reason="it passed")
    assert advance(closed, promoted, FREE).act is Act.DONE
    assert advance(row(state="probation", reason="it passed"), promoted, FREE).act is Act.WAIT


def test_a_person_takes_back_what_serves_on_probation_or_after_it():
    for state in PROMOTED:
        taken = step("asked", "taken back", state)
        assert taken.body == {"version": "1", "previous": "2", "reason": "odd (by ann)", "by": "ann"}
        assert taken.champion == "2"


def test_what_does_not_serve_any_more_is_not_taken_back():
    wish = replace(NOTHING, promoted=True, champion="3", event=TakenBack("ann", "odd", "1"))
    assert advance(row(state="closed", outcome="superseded"), wish, FREE).act is Act.DONE


def test_nothing_is_rolled_back_where_nothing_served_before():
    alone = row(state="probation", against=None)
    worse = replace(LOOKS["worse"], promoted=True, champion="2")
    assert advance(alone, worse, FREE).act is Act.WAIT
    assert advance(alone, replace(worse, partitions=12), FREE).act is Act.KEEP


def test_a_probation_whose_version_serves_no_more_is_not_rolled_back():
    worse = replace(LOOKS["worse"], promoted=True, champion="3")
    assert advance(STATES["on probation"], worse, FREE).act is Act.WAIT


def test_a_probation_that_ends_early_says_so():
    early = step("asked", "previous unscorable", "on probation")
    assert early.body["early"] is True
    assert early.reason == "its probation ends early: not what was signed"
    whole = step("asked", "equal, for long", "on probation")
    assert set(whole.body) == {"version", "reason", "evidence", "unjudged"}
    assert whole.reason.startswith(
        "could not be judged in 12 partitions: neither shown worse than the previous champion nor"
    )


def test_not_shown_worse_is_not_shown_good_a_probation_is_extended_until_it_is_judged():
    seen = replace(NOTHING, promoted=True, champion="2", partitions=4, gains=gains(0.0))
    waits = advance(STATES["on probation"], seen, FREE)
    assert (waits.act, waits.reason.startswith("extended after 4 partitions; neither shown worse")) == (Act.WAIT, True)
    tolerant = Policy(Release(margin=0.02))
    early = advance(STATES["on probation"], replace(seen, partitions=3), tolerant)
    assert early.act is Act.WAIT
    kept = advance(STATES["on probation"], seen, tolerant)
    assert (kept.act, "unjudged" in kept.body) == (Act.KEEP, False)
    assert kept.reason.startswith("shown no worse than the previous champion by more than 0.02: mean gain")


def test_a_probation_without_any_evidence_is_kept_after_its_longest_time_and_says_that_it_was_not_judged():
    longer = Policy(Release(refresh=RefreshLane(probation=4, probation_at_most=6)))
    seen = replace(NOTHING, promoted=True, champion="2", partitions=5)
    assert advance(STATES["on probation"], seen, longer).act is Act.WAIT
    kept = advance(STATES["on probation"], replace(seen, partitions=6), longer)
    assert (kept.act, kept.body["unjudged"]) == (Act.KEEP, True)
    assert kept.reason.endswith("no matured rows to compare yet")


def test_what_is_superseded_is_closed_at_the_tick_of_the_newer_ones_opening():
    taken = step("asked", "newer change", "change proved")
    assert (taken.key, taken.reason) == ("k4", "superseded by p-v3")


def test_a_shadow_whose_recipe_learnt_again_is_continued_and_a_question_about_it_withdrawn():
    younger = replace(row("3", "change"), opened_at="k4", since=OPENED, continues=("2",))
    for state in ("change in shadow", "change proved"):
        taken = advance(STATES[state], replace(NOTHING, event=Newer(younger)), ASKED)
        assert (taken.act, taken.outcome, taken.body["continued_by"]) == (Act.SUPERSEDE, "superseded", "3")
        assert taken.reason == "continued by p-v3, the same recipe on newer data"


def test_a_proof_against_what_served_before_waits_for_evidence_since_the_new_champion():
    held = tuple(replace(gain, against="1") for gain in gains(0.02))
    shown = replace(NOTHING, champion="7", since=TICK, partitions=2, gains=held)
    waits = advance(STATES["change in shadow"], shown, FREE)
    assert (waits.act, "nothing came in since version 7 serves" in waits.reason) == (Act.WAIT, True)
    assert advance(STATES["change in shadow"], replace(shown, since=BEFORE), FREE).act is Act.PROVE


def test_no_step_lies_before_the_opening():
    assert advance(STATES["refresh in shadow"], replace(NOTHING, tick=BEFORE), FREE).key == OPENED
    assert advance(STATES["refresh in shadow"], replace(NOTHING, tick=None), FREE).key == OPENED


def test_a_shadow_ends_when_its_policy_says():
    span = Policy(Release(change=ChangeLane(shadow=ShadowSpan(at_least=3, at_most=3))))
    assert advance(STATES["change in shadow"], LOOKS["better"], span).act is Act.WAIT
    assert advance(STATES["change in shadow"], replace(LOOKS["better"], partitions=3), span).act is Act.PROVE


def test_a_person_takes_back_to_any_version_and_again_after_it_was_reinstated():
    wish = replace(NOTHING, promoted=True, champion="2", event=TakenBack("ann", "odd", "0"))
    taken = advance(STATES["closed, serves"], wish, FREE)
    assert (taken.body["version"], taken.body["previous"], taken.subject) == ("0", "2", "p-v2")
    assert advance(STATES["closed, serves"], replace(wish, returns=2), FREE).subject == "p-v2@2"


def test_a_version_that_was_taken_back_is_reinstated_in_place_of_what_the_person_saw_serving():
    taken = row(state="closed", outcome="rolled_back", reason="odd (by ann)")
    wish = replace(NOTHING, promoted=True, returns=1, on_probation=("p-v1",), event=Reinstated("bob", "mended", "1"))
    back = advance(taken, wish, FREE)
    assert (back.act, back.to, back.outcome, back.kind) == (Act.REINSTATE, "closed", "reinstated", "reinstate")
    assert back.body == {"version": "2", "previous": "1", "reason": "mended (by bob)", "by": "bob"}
    assert (back.champion, back.supersedes, back.subject) == ("1", ("p-v1",), "p-v2@1")
    assert advance(taken, replace(wish, champion="3"), FREE).act is Act.DONE
    assert advance(STATES["closed, serves"], wish, FREE).act is Act.DONE


def test_what_a_person_took_back_does_not_come_back_by_itself():
    seen = replace(NOTHING, taken_back={"2": "version 2 was taken back"}, approval=Answer(True, "ann"))
    for state in ("refresh in shadow", "change proved"):
        refused = advance(STATES[state], seen, FREE)
        assert (refused.act, refused.reason) == (
            Act.REJECT,
            "it does not come back by itself: version 2 was taken back",
        )
    worse = replace(LOOKS["worse"], promoted=True, champion="2", taken_back={"1": "version 1 was taken back"})
    assert advance(STATES["on probation"], worse, FREE).act is Act.WAIT
