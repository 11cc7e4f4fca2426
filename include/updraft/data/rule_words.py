"""Why a contract refused a partition, in words: the rule, what was observed, and what is allowed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from updraft.data.checks import Check, Checks, SourceChecks
from updraft.data.contract import Contract, Expectation, SourceContract

_MEASURES = {
    "column_min_to_be_between": "smallest {column}",
    "column_max_to_be_between": "largest {column}",
    "column_mean_to_be_between": "mean {column}",
    "column_median_to_be_between": "median {column}",
    "column_sum_to_be_between": "sum of {column}",
    "column_stdev_to_be_between": "standard deviation of {column}",
    "column_unique_value_count_to_be_between": "number of distinct values of {column}",
    "column_proportion_of_unique_values_to_be_between": "share of distinct values of {column}",
    "column_proportion_of_non_null_values_to_be_between": "share of {column} that is there",
    "table_row_count_to_be_between": "number of rows",
    "table_column_count_to_be_between": "number of columns",
    "table_row_count_to_equal": "number of rows",
}
"""What each expectation on one measure observes."""


def broken_rules(contract: Contract, checks: Checks, *, refuse_above: float) -> list[str]:
    """Every rule that refused a partition, one line each; rules on the partition as a whole come before shares of rows.

    :param refuse_above: the share of rows that may break the contract.
    """
    whole, shares = [], []
    for source, source_checks in checks.sources.items():
        whole += [f"{source}: {words}" for words in _whole(contract.of(source), source_checks)]
        if source_checks.share > refuse_above:
            shares.append(f"{source}: {_by_rows(source_checks, refuse_above)}")
    return [*whole, *shares] or list(checks.refusals)


def refused_by_rows(checks: Checks, *, refuse_above: float) -> bool:
    """Whether too many rows of some source broke the contract."""
    return any(source_checks.share > refuse_above for source_checks in checks.sources.values())


def _whole(contract: SourceContract, source_checks: SourceChecks) -> Iterator[str]:
    rules = {expectation.text: expectation for expectation in contract.table}
    for check in source_checks.checks:
        if check.kind != "table" or check.success:
            continue
        rule = rules.get(check.expectation)
        yield (_measured(rule, check) if rule is not None else None) or _as_written(contract, check)


def _as_written(contract: SourceContract, check: Check) -> str:
    if contract.joined_at_least is not None and check.expectation == f"joined_at_least({contract.joined_at_least})":
        return (
            f"{_number(check.observed)} of the rows find a row here, at least {_number(contract.joined_at_least)} must"
        )
    return check.expectation + ("" if check.observed is None else f": {check.observed}")


def _measured(rule: Expectation, check: Check) -> str | None:
    """A measure beside the bound that it breaks; None of a rule that is none, or could not be measured."""
    called = _MEASURES.get(rule.name)
    observed = check.observed
    if called is None or isinstance(observed, bool) or not isinstance(observed, int | float):
        return None
    subject = f"{called.format_map(rule.args)} {_number(observed)}"
    low, high = _bounds(rule.args)
    if isinstance(high, int | float) and (observed > high or (rule.args.get("strict_max") and observed == high)):
        return f"{subject} is {'above' if observed > high else 'not below'} {_number(high)}"
    if isinstance(low, int | float) and (observed < low or (rule.args.get("strict_min") and observed == low)):
        return f"{subject} is {'below' if observed < low else 'not above'} {_number(low)}"
    return None


def _bounds(args: Mapping[str, Any]) -> tuple[Any, Any]:
    value = args.get("value")
    return (value, value) if value is not None else (args.get("min_value"), args.get("max_value"))


def _by_rows(source_checks: SourceChecks, refuse_above: float) -> str:
    most = max(source_checks.reasons, key=lambda reason: source_checks.reasons[reason], default="")
    first = f", most of them: {most} ({source_checks.reasons[most]:,})" if most else ""
    broken = (
        f"{source_checks.quarantined:,} of {source_checks.rows:,} rows ({source_checks.share:.1%}) break the contract"
    )
    return f"{broken}, {refuse_above:.1%} are allowed{first}"


def _number(value: Any) -> str:
    """A figure as people write it: whole ones with separators, others with as many digits as tell them apart."""
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        return f"{int(value):,}"
    if isinstance(value, float):
        return f"{value:,.1f}" if abs(value) >= 1000 else f"{value:.4g}"
    return str(value)
