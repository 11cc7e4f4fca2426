"""The contract on the raw sources of one partition: Great Expectations judges, one statement finds the rows.

Each source is judged before it is joined, in the views of :mod:`updraft.data.views`; ``gx_s`` is ``win_s`` with what
Great Expectations cannot say in DuckDB's dialect (regex, types) as columns.
"""

# ruff: noqa: S608  -- SQL is composed of names and values that data/duck.py has quoted
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from updraft.data import gx
from updraft.data.catalogue import ROWS, TYPES
from updraft.data.checks import Check, Checks, SourceChecks, State
from updraft.data.contract import Contract, Expectation, SourceContract
from updraft.data.duck import first, kind_of, literal, name, names
from updraft.data.privacy import Pseudonymiser
from updraft.data.views import INTERNAL, Views, private_columns
from updraft.spec.model import Project

if TYPE_CHECKING:
    import duckdb

EXAMPLES = 5
_REGEX = ("column_values_to_match_regex", "column_values_to_not_match_regex")


_UNIQUE = ("column_values_to_be_unique", "compound_columns_to_be_unique")
_TELLS_NOTHING = (
    "column_unique_value_count_to_be_between",
    "column_proportion_of_unique_values_to_be_between",
    "column_proportion_of_non_null_values_to_be_between",
)
"""Expectations whose observed value tells nothing of a private column's values."""
_STATES_VALUES = {"value_set", "regex", "min_value", "max_value", "value"}
"""Arguments that hold, or tell much of, values of the column."""


@dataclass(frozen=True)
class _Judged:
    """What Great Expectations found for an expectation of the contract, or for one that the contract implies."""

    text: str
    expectation: Expectation | None
    outcome: gx.Outcome

    @property
    def broken_by_rows(self) -> bool:
        """Whether rows are to be quarantined for it."""
        return (
            self.expectation is not None
            and self.expectation.kind == "row"
            and self.outcome.error is None
            and self.outcome.unexpected > 0
        )


@dataclass(frozen=True)
class _Step:
    text: str
    expectation: Expectation | None
    name: str
    args: Mapping[str, Any]


class _Plan:
    """What Great Expectations is asked, and the columns that stand in for what it cannot do well on DuckDB.

    It knows no regex and no types in DuckDB's dialect; and it counts repeated values with a window over the whole
    table, which took three quarters of the time of 15 expectations on ten million rows. Groups give the same number.
    """

    def __init__(self, *, unique_by_groups: bool) -> None:
        self._unique_by_groups = unique_by_groups
        self.steps: list[_Step] = []
        self.derived: list[str] = []
        """SQL of columns beside the source's own."""
        self.groups: dict[str, tuple[str, ...]] = {}
        """Column that holds the number of rows whose values occur several times → the columns of the values."""

    def add(self, text: str, expectation: Expectation | None, called: str, args: Mapping[str, Any]) -> None:
        """Ask for an expectation of the contract, or (without one) for what the contract implies."""
        if called in _REGEX:
            column = f"_regex_{len(self.derived)}"
            self.derived.append(f"regexp_matches({name(args['column'])}, {literal(args['regex'])}) AS {name(column)}")
            kept = {key: value for key, value in args.items() if key == "mostly"}
            args = {"column": column, "value_set": [called == _REGEX[0]], **kept}
            called = "column_values_to_be_in_set"
        elif called in _UNIQUE and "mostly" not in args and self._unique_by_groups:
            column = f"_twice_{len(self.groups)}"
            self.groups[column] = expectation.columns if expectation is not None else ()
            called, args = "column_max_to_be_between", {"column": column, "max_value": 0}
        self.steps.append(_Step(text, expectation, called, args))

    def add_type(self, column: str, kind: str) -> None:
        """Ask for the type of a column's values; a column of nulls has any type."""
        made = f"_type_{len(self.derived)}"
        plain = f"regexp_replace(typeof({name(column)}), '\\(.*\\)', '')"
        self.derived.append(f"CASE WHEN {name(column)} IS NOT NULL THEN {plain} END AS {name(made)}")
        args = {"column": made, "value_set": list(TYPES[kind])}
        self.steps.append(_Step(f"column_to_be_of_type({column}, {kind})", None, "column_values_to_be_in_set", args))

    def judged(self, outcomes: Sequence[gx.Outcome]) -> list[_Judged]:
        """The outcomes of the steps, in the contract's terms."""
        found = []
        for step, outcome in zip(self.steps, outcomes, strict=True):
            if step.args.get("column") in self.groups and outcome.error is None:
                outcome = replace(outcome, observed=None, unexpected=int(outcome.observed or 0))  # noqa: PLW2901
            found.append(_Judged(step.text, step.expectation, outcome))
        return found


@dataclass(frozen=True)
class Validator:
    """Checks one partition on one connection."""

    views: Views
    contract: Contract
    pseudonyms: Pseudonymiser

    @property
    def _con(self) -> duckdb.DuckDBPyConnection:
        return self.views.con

    @property
    def _project(self) -> Project:
        return self.views.project

    def run(self, sources: Sequence[str], digests: Mapping[str, str]) -> Checks:
        """Check every source and the joins; afterwards each source has its ``bad_*`` and ``good_*``.

        :param digests: SHA-256 of the raw file of each source.
        """
        project, key = self._project.name, self.views.key
        if not self.views.count(f"win_{self.views.row_source}"):
            for source in sources:
                self._mark(source, [], self._present(source))
            rows = {source: SourceChecks(self.views.count(f"win_{source}"), 0, {}, ()) for source in sources}
            return Checks(project, key, "empty", (), rows, dict(digests))
        with gx.engine(self._con) as engine:
            found = self._joins(engine, {source: self._source(engine, source) for source in sources})
        refusals = tuple(text for source, each in found.items() for text in self._refusals(source, each))
        state: State = "refused" if refusals else "passed"
        return Checks(project, key, state, refusals, found, dict(digests))

    def _present(self, source: str) -> list[Expectation]:
        """Expectations whose columns are there."""
        contract, columns = self.contract.of(source), self.views.columns(source)
        return [each for each in (*contract.rows, *contract.table) if set(each.columns) <= set(columns)]

    def _source(self, engine: gx.Engine, source: str) -> SourceChecks:
        contract = self.contract.of(source)
        broken = [
            Check(f"column_to_exist({column})", "table", False, "there is no such column")
            for column in sorted(contract.needed - set(self.views.columns(source)))
        ]
        present = self._present(source)
        judged = self._judge(engine, source, contract, present)
        failed = [each.expectation for each in judged if each.expectation is not None and each.broken_by_rows]
        errors = self._mark(source, failed, present)
        checks = [self._check(source, each, errors) for each in judged]
        rows = self.views.count(f"win_{source}")
        quarantined = rows - self.views.count(f"good_{source}")
        return SourceChecks(rows, quarantined, self._reasons(source, failed), (*broken, *checks))

    def _mark(
        self, source: str, failed: Sequence[Expectation], present: Sequence[Expectation]
    ) -> list[tuple[Expectation, str]]:
        """Find the rows in breach: of this partition by what has failed, of earlier ones by everything.

        Returns the expectations that cannot be evaluated on some row, with the reason; they mark nothing.
        """
        import duckdb

        earlier = [each for each in present if each.kind == "row"] if self._has_earlier(source) else []
        try:
            self.views.mark(source, self._breaches(source, failed, earlier))
        except duckdb.Error:
            errors = self._unusable(source, failed, earlier)
        else:
            return []
        unusable = {id(each) for each, _ in errors}
        kept = [[each for each in part if id(each) not in unusable] for part in (failed, earlier)]
        self.views.mark(source, self._breaches(source, *kept))
        return errors

    def _unusable(
        self, source: str, failed: Sequence[Expectation], earlier: Sequence[Expectation]
    ) -> list[tuple[Expectation, str]]:
        import duckdb

        errors = []
        for each in {id(each): each for each in (*failed, *earlier)}.values():
            try:
                parts = [[each] if any(each is one for one in part) else [] for part in (failed, earlier)]
                first(self._con, f"SELECT count(*) FROM ({self._breaches(source, *parts)})")
            except duckdb.Error as problem:
                errors.append((each, f"it cannot be evaluated: {kind_of(problem)}"))
        return errors

    def _has_earlier(self, source: str) -> bool:
        return source == self.views.row_source and len(self.views.slices) > 1

    def _breaches(self, source: str, now: Sequence[Expectation], earlier: Sequence[Expectation]) -> str:
        """SQL: ``_n`` and ``_reasons`` of raw rows in breach, each partition judged by itself."""
        parts = [self._breaches_in(source, name(f"win_{source}"), now)]
        if self._has_earlier(source):
            before = f"(SELECT * FROM {name(f'src_{source}')} WHERE _slice <> {literal(self.views.key)})"
            parts.append(self._breaches_in(source, before, earlier))
        return " UNION ALL ".join(parts)

    def _breaches_in(self, source: str, relation: str, expectations: Sequence[Expectation]) -> str:
        """The rows are chosen first and told why after: the list of reasons is made for few of them."""
        cases: dict[str, str] = {}
        for each in expectations:
            breach = ROWS[each.name].breach
            if breach is not None:
                cases[f"({breach(each.args, relation)})"] = literal(self._reason(source, each))
        if not cases:
            return f"SELECT _n, []::VARCHAR[] AS _reasons FROM {relation} AS s WHERE FALSE"
        listed = ", ".join(f"CASE WHEN {breach} THEN {reason} END" for breach, reason in cases.items())
        return (
            f"SELECT _n, list_filter([{listed}], lambda why: why IS NOT NULL) AS _reasons "
            f"FROM {relation} AS s WHERE {' OR '.join(cases)}"
        )

    def _text(self, source: str, expectation: Expectation) -> str:
        """The expectation for people, without the values that a contract states for a private column."""
        if private_columns(self._project, source, expectation.columns):
            return f"{expectation.name}({', '.join(expectation.columns)})"
        return expectation.text

    def _reason(self, source: str, expectation: Expectation) -> str:
        if private_columns(self._project, source, expectation.columns) and _STATES_VALUES & set(expectation.args):
            return f"{', '.join(expectation.columns)} breaks {expectation.name}"
        return expectation.reason

    def _judge(
        self, engine: gx.Engine, source: str, contract: SourceContract, present: Sequence[Expectation]
    ) -> list[_Judged]:
        plan = _Plan(unique_by_groups=self.views.count(f"win_{source}") > 0)
        for each in present:
            plan.add(self._text(source, each), each, each.name, each.args)
        columns = self.views.columns(source)
        for column, kind in contract.columns.items():
            if column in columns:
                plan.add_type(column, kind)
        if contract.fresh_within is not None:
            column = str(self._project.spec.data.sources[source].event_time)
            args = {"column": column, "min_value": self.views.slices[-1].tick - contract.fresh_within}
            plan.add(f"fresh_within({column}, {contract.fresh_within})", None, "column_max_to_be_between", args)
        win, gx_view, twice = name(f"win_{source}"), name(f"gx_{source}"), name(f"twice_{source}")
        relation = win
        if plan.groups:
            counts = ", ".join(
                f"(SELECT COALESCE(sum(n), 0)::BIGINT FROM (SELECT count(*) AS n FROM {win} "
                f"WHERE {' AND '.join(f'{name(each)} IS NOT NULL' for each in grouped)} "
                f"GROUP BY {names(list(grouped))} HAVING count(*) > 1)) AS {name(column)}"
                for column, grouped in plan.groups.items()
            )
            self._con.execute(f"CREATE TABLE {twice} AS SELECT {counts}")
            relation = f"{win}, {twice}"
        more = "".join(f", {column}" for column in plan.derived)
        hidden = names(list(INTERNAL))
        self._con.execute(f"CREATE VIEW {gx_view} AS SELECT * EXCLUDE ({hidden}){more} FROM {relation}")
        return plan.judged(engine.run(f"gx_{source}", [(each.name, dict(each.args)) for each in plan.steps]))

    def _check(self, source: str, judged: _Judged, errors: Sequence[tuple[Expectation, str]]) -> Check:
        expectation, outcome = judged.expectation, judged.outcome
        columns = expectation.columns if expectation is not None else ()
        error = next((text for each, text in errors if each is expectation), None)
        if outcome.error is not None:
            error = f"it cannot be evaluated: {outcome.error}"
        if error is not None:  # whether rows are in breach cannot be told, so the partition is refused
            return Check(judged.text, "table", False, error)
        observed = outcome.observed
        if expectation is not None and private_columns(self._project, source, columns):
            observed = observed if expectation.name in _TELLS_NOTHING else None
        kind = expectation.kind if expectation is not None else "table"
        examples = self._examples(source, expectation) if expectation is not None and judged.broken_by_rows else ()
        return Check(judged.text, kind, outcome.success, observed, outcome.unexpected, examples)

    def _examples(self, source: str, expectation: Expectation) -> tuple[str, ...]:
        columns = expectation.columns
        private = set(private_columns(self._project, source, columns))
        rows = self._con.execute(
            f"SELECT DISTINCT {', '.join(f'CAST({name(column)} AS VARCHAR)' for column in columns)} "
            f"FROM {name(f'win_{source}')} JOIN {name(f'bad_{source}')} USING (_n) "
            f"WHERE list_contains(_reasons, {literal(self._reason(source, expectation))}) ORDER BY ALL LIMIT {EXAMPLES}"
        ).fetchall()
        return tuple(
            ", ".join(
                str(self.pseudonyms.one(column, value) if column in private else value)
                for column, value in zip(columns, row, strict=True)
            )
            for row in rows
        )

    def _reasons(self, source: str, usable: Sequence[Expectation]) -> dict[str, int]:
        rows = self._con.execute(
            f"SELECT why, count(*) FROM (SELECT unnest(_reasons) AS why FROM {name(f'bad_{source}')} "
            f"JOIN {name(f'win_{source}')} USING (_n)) GROUP BY why"
        ).fetchall()
        found = {str(why): int(count) for why, count in rows}
        order = [self._reason(source, each) for each in usable if each.kind == "row"]
        return {why: found[why] for why in dict.fromkeys(order) if why in found}

    def _joins(self, engine: gx.Engine, found: Mapping[str, SourceChecks]) -> dict[str, SourceChecks]:
        """Add to each joined source the share of good rows that find it, judged where the contract asks."""
        row_source = self.views.row_source
        joined = {source: each.join for source, each in self._project.spec.data.sources.items() if source != row_source}
        if not joined:
            return dict(found)
        parts, hits = [f"FROM {name(f'good_{row_source}')} AS r"], []
        for source, on in joined.items():
            keys = ", ".join(f"{name(column)}" for column in on)
            alias = name(f"j_{source}")
            parts.append(
                f"LEFT JOIN (SELECT DISTINCT {keys}, TRUE AS hit FROM {name(f'good_{source}')}) AS {alias} ON "
                + " AND ".join(f"r.{name(column)} = {alias}.{name(column)}" for column in on)
            )
            hits.append(f"CASE WHEN {alias}.hit THEN 1.0::DOUBLE ELSE 0.0 END AS {name(source)}")
        self._con.execute(f"CREATE VIEW gx_joined AS SELECT {', '.join(hits)} {' '.join(parts)}")
        averages = ", ".join(f"avg({name(source)})" for source in joined)
        row = first(self._con, f"SELECT {averages} FROM gx_joined")
        shares = dict(zip(joined, row, strict=True))
        asked = {source: self.contract.of(source).joined_at_least for source in joined}
        judged = [(source, least) for source, least in asked.items() if least is not None]
        outcomes = engine.run(
            "gx_joined",
            [("column_mean_to_be_between", {"column": source, "min_value": least}) for source, least in judged],
        )
        result = dict(found)
        for source, share in shares.items():
            result[source] = replace(result[source], joined=float(share or 0.0))
        for (source, least), outcome in zip(judged, outcomes, strict=True):
            check = Check(f"joined_at_least({least})", "table", outcome.success, outcome.observed, 0)
            result[source] = replace(result[source], checks=(*result[source].checks, check))
        return result

    def _refusals(self, source: str, found: SourceChecks) -> list[str]:
        limit = self._project.spec.data.refuse_above
        texts = []
        for check in found.checks:
            if not check.success and check.kind == "table":
                seen = "" if check.observed is None else f": {check.observed}"
                texts.append(f"{source}: {check.expectation}{seen}")
        if found.share > limit:
            why = "; ".join(f"{reason} ({count})" for reason, count in found.reasons.items())
            texts.append(
                f"{source}: {found.quarantined} of {found.rows} rows ({found.share:.1%}) break the contract, "
                f"more than data.refuse_above ({limit:.1%}): {why}"
            )
        return texts
