"""Why a contract refused a partition, in words: the rule, what was observed, what is allowed."""

from __future__ import annotations

import pytest

from updraft.data.checks import Check, Checks, SourceChecks
from updraft.data.contract import Contract, Expectation, SourceContract
from updraft.data.rule_words import broken_rules


def told(check, *, rule=None, rows=1000, quarantined=0, reasons=(), joined=None, refusals=("as the checks say",)):
    source = SourceChecks(rows, quarantined, dict(reasons), (check,) if check else ())
    checks = Checks("p", "2013-05-06T0500", "refused", refusals, {"flights": source}, {})
    contract = SourceContract(table=(rule,) if rule else (), joined_at_least=joined)
    return broken_rules(Contract({"flights": contract}), checks, refuse_above=0.05)


def rule(name, **args):
    return Expectation(name, args, "table")


@pytest.mark.parametrize(
    ("expectation", "observed", "words"),
    [
        (
            rule("column_median_to_be_between", column="distance", min_value=300, max_value=1200),
            1404.0,
            "flights: median distance 1,404 is above 1,200",
        ),
        (
            rule("column_mean_to_be_between", column="delay", min_value=-20.5),
            -31.25,
            "flights: mean delay -31.25 is below -20.5",
        ),
        (rule("table_row_count_to_be_between", min_value=1000), 12, "flights: number of rows 12 is below 1,000"),
        (rule("table_row_count_to_equal", value=5), 7, "flights: number of rows 7 is above 5"),
        (
            rule("table_row_count_to_be_between", min_value=5, max_value=9, strict_max=True),
            9,
            "flights: number of rows 9 is not below 9",
        ),
        (
            rule("column_distinct_values_to_be_in_set", column="origin", value_set=["JFK"]),
            ["JFK", "XXX"],
            "flights: column_distinct_values_to_be_in_set(origin, value_set={JFK}): ['JFK', 'XXX']",
        ),
        (
            rule("column_max_to_be_between", column="at", max_value="2013"),
            "2014",
            "flights: column_max_to_be_between(at, max_value=2013): 2014",
        ),
    ],
)
def test_a_rule_is_told_with_what_was_observed_and_what_is_allowed(expectation, observed, words):
    assert told(Check(expectation.text, "table", False, observed), rule=expectation) == [words]


def test_a_share_of_rows_is_told_only_where_it_is_what_refused():
    table = rule("table_row_count_to_be_between", max_value=10)
    within = told(Check(table.text, "table", False, 12), rule=table, quarantined=10, reasons={"delay is null": 10})
    assert within == ["flights: number of rows 12 is above 10"]
    [shares] = told(None, quarantined=90, reasons={"delay is null": 80, "x is y": 10})
    assert shares == (
        "flights: 90 of 1,000 rows (9.0%) break the contract, 5.0% are allowed, most of them: delay is null (80)"
    )


def test_a_join_and_what_is_no_rule_of_the_contract_are_told_as_well():
    join = Check("joined_at_least(0.9)", "table", False, 0.5)
    assert told(join, joined=0.9) == ["flights: 0.5 of the rows find a row here, at least 0.9 must"]
    private = Check("column_mean_to_be_between(salary)", "table", False, None)
    assert told(private) == ["flights: column_mean_to_be_between(salary)"], "values of private columns stay out"
    assert told(None) == ["as the checks say"], "such as rows that all lie elsewhere"
