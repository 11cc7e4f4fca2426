"""The contract on the raw sources of one partition: Great Expectations judges, one statement finds the rows.

Each source is judged before it is joined, in the views of :mod:`updraft.data.views`.
"""

# ruff: noqa: S608  -- SQL is composed of names and values that data/duck.py has quoted
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING

from updraft.data import gx
from updraft.data.catalogue import MISFITS, OF_TYPE, row_kind
from updraft.data.checks import Check, Checks, SourceChecks, State
from updraft.data.contract import Contract, Expectation, SourceContract
from updraft.data.duck import first, kind_of, literal, name
from updraft.data.extraction import NotRead, Outside
from updraft.data.key_ring import KeyRing
from updraft.data.schema import of_storage
from updraft.data.settled import NOTHING_SETTLED, SettledRows, settle
from updraft.data.views import Views, private_columns
from updraft.spec.model import Project

if TYPE_CHECKING:
    import duckdb

EXAMPLES = 5
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
    """What Great Expectations is asked, for an expectation of the contract or (without one) for what the contract implies."""

    text: str
    expectation: Expectation | None
    question: gx.Question


def _of_type(column: str, storage: str, contract: SourceContract) -> Expectation:
    """What a column is promised to be: what the contract states, or the type that its first file told."""
    kind = of_storage(storage)[0]
    told = storage if kind == "other" else kind
    return Expectation(OF_TYPE, {"column": column, "type": contract.columns.get(column, told)}, "row")


def _other_values(question: gx.Question, columns: Mapping[str, str]) -> str | None:
    """Why a set of values cannot be compared with its column, whatever stands in it; None where it can."""
    column, values = question.args.get("column"), question.args.get("value_set", ())
    kind = of_storage(columns.get(str(column), ""))[0]
    if kind == "text" and any(isinstance(value, bool | int | float | datetime) for value in values):
        return f"value_set holds values that are no texts, and {column} is text; write each in quotes, as it stands in the file"
    if kind in ("number", "integer") and any(isinstance(value, str) and not _is_number(value) for value in values):
        return f"value_set holds texts that are no numbers, and {column} is a number"
    return None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


@dataclass(frozen=True)
class Validator:
    """Checks one partition on one connection."""

    views: Views
    contract: Contract
    ring: KeyRing

    not_read: NotRead = field(default_factory=lambda: NotRead({}, {}))
    settled: SettledRows = NOTHING_SETTLED

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
        project, key, unread = self._project.name, self.views.key, dict(self.not_read.unread)
        if not self.views.count(f"win_{self.views.row_source}"):
            for source in sources:
                self._mark(source, [], self._present(source))
                settle(self.views, source, self.ring.marker, self.settled)
            rows = {source: SourceChecks(self.views.count(f"win_{source}"), 0, {}, ()) for source in sources}
            elsewhere = self._all_elsewhere()
            state: State = "refused" if elsewhere else "empty"
            return Checks(project, key, state, elsewhere, self._counted(rows), dict(digests), unread=unread)
        judged = self._joins({source: self._source(source) for source in sources})
        refusals = tuple(
            text for source, source_checks in judged.items() for text in self._refusals(source, source_checks)
        )
        state = "refused" if refusals else "passed"
        return Checks(project, key, state, refusals, self._counted(judged), dict(digests), unread=unread)

    def _counted(self, checks: Mapping[str, SourceChecks]) -> dict[str, SourceChecks]:
        """The checks with the rows that are in no partition, or in another one."""
        nothing = Outside()
        return {
            source: replace(
                source_checks,
                outside=(there := self.not_read.outside.get(source, nothing)).rows,
                timeless=there.timeless,
                skipped=there.skipped,
                repeated=there.repeated,
            )
            for source, source_checks in checks.items()
        }

    def _all_elsewhere(self) -> tuple[str, ...]:
        """What to say of a partition's own file, none of whose rows is the partition's."""
        source, own = self.views.row_source, self.views.slices[-1]
        there = self.not_read.outside.get(source)
        if there is None or not self._project.spec.data.sources[source].by_partition:
            return ()
        column = self._project.spec.data.sources[source].event_time
        texts = []
        if there.rows:
            texts.append(
                f"{source}: its {there.rows} rows lie outside of the partition ({own.start.isoformat()} to {own.tick.isoformat()}): "
                f"{column} goes from {there.first} to {there.last}; is it the file of another key?"
            )
        if there.timeless:
            skipped = (
                f", {there.skipped} of them as their time zone skips the time that they have" if there.skipped else ""
            )
            texts.append(f"{source}: {there.timeless} rows have no {column}{skipped}")
        return tuple(texts)

    def _present(self, source: str) -> list[Expectation]:
        """Expectations whose columns are there; of the types of columns those that some row breaks."""
        contract, columns = self.contract.of(source), self.views.columns(source)
        rows = self._con.execute(f"SELECT DISTINCT unnest(map_keys({MISFITS})) FROM {name(f'src_{source}')}").fetchall()
        broken = {str(row[0]) for row in rows}
        types = [_of_type(column, kind, contract) for column, kind in columns.items() if column in broken]
        promised = [stated for stated in (*contract.rows, *contract.table) if set(stated.columns) <= set(columns)]
        return [*promised, *types]

    def _source(self, source: str) -> SourceChecks:
        contract = self.contract.of(source)
        broken = [
            Check(f"column_to_exist({column})", "table", False, "there is no such column")
            for column in sorted(contract.needed - set(self.views.columns(source)))
        ]
        present = self._present(source)
        judged = self._judge(source, contract, present)
        failed = [
            judgement.expectation
            for judgement in judged
            if judgement.expectation is not None and judgement.broken_by_rows
        ]
        errors = self._mark(source, failed, present)
        checks = [self._check(source, judgement, errors) for judgement in judged]
        rows = self.views.count(f"win_{source}")
        in_breach = rows - self.views.count(f"good_{source}")
        settle(self.views, source, self.ring.marker, self.settled)
        left = rows - self.views.count(f"good_{source}")
        (dropped,) = first(
            self._con,
            f"SELECT count(*) FROM {name(f'win_{source}')} JOIN {name(f'bad_{source}')} USING (_n) WHERE _dropped",
        )
        return SourceChecks(
            rows,
            left - int(dropped),
            self._reasons(source, failed),
            (*broken, *checks),
            released=in_breach - left,
            dropped=int(dropped),
        )

    def _mark(
        self, source: str, failed: Sequence[Expectation], present: Sequence[Expectation]
    ) -> list[tuple[Expectation, str]]:
        """Find the rows in breach: of this partition by what has failed, of earlier ones by everything.

        Returns the expectations that cannot be evaluated on some row, with the reason; they mark nothing.
        """
        import duckdb

        earlier = (
            [expectation for expectation in present if expectation.kind == "row"] if self._has_earlier(source) else []
        )
        try:
            self.views.mark(source, self._breaches(source, failed, earlier))
        except duckdb.Error:
            errors = self._unusable(source, failed, earlier)
        else:
            return []
        unusable = {id(expectation) for expectation, _ in errors}
        kept = [[expectation for expectation in part if id(expectation) not in unusable] for part in (failed, earlier)]
        self.views.mark(source, self._breaches(source, *kept))
        return errors

    def _unusable(
        self, source: str, failed: Sequence[Expectation], earlier: Sequence[Expectation]
    ) -> list[tuple[Expectation, str]]:
        import duckdb

        errors = []
        for expectation in {id(expectation): expectation for expectation in (*failed, *earlier)}.values():
            try:
                parts = [
                    [expectation] if any(expectation is other for other in part) else [] for part in (failed, earlier)
                ]
                first(self._con, f"SELECT count(*) FROM ({self._breaches(source, *parts)})")
            except duckdb.Error as problem:
                errors.append((expectation, f"it cannot be evaluated: {kind_of(problem)}"))
        return errors

    def _has_earlier(self, source: str) -> bool:
        """Whether rows from before the partition are there too: of labels that mature, or of a join that reaches back."""
        reaches_back = bool(self._project.spec.data.sources[source].history)
        return reaches_back or (source == self.views.row_source and len(self.views.slices) > 1)

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
        for expectation in expectations:
            breach = row_kind(expectation.name).breach
            if breach is not None:
                cases[f"({breach(expectation.args, relation)})"] = literal(self._reason(source, expectation))
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

    def _judge(self, source: str, contract: SourceContract, present: Sequence[Expectation]) -> list[_Judged]:
        steps = [
            _Step(self._text(source, expectation), expectation, gx.Question(expectation.name, expectation.args))
            for expectation in present
            if expectation.name != OF_TYPE
        ]
        columns = self.views.columns(source)
        if contract.fresh_within is not None:
            column = str(self._project.spec.data.sources[source].event_time)
            args = {"column": column, "min_value": self.views.slices[-1].tick - contract.fresh_within}
            fresh = gx.Question("column_max_to_be_between", args)
            steps.append(_Step(f"fresh_within({column}, {contract.fresh_within})", None, fresh))
        of_other_types = {
            id(step): gx.Outcome(False, None, 0, words)
            for step in steps
            if (words := _other_values(step.question, columns))
        }
        comparable = [step for step in steps if id(step) not in of_other_types]
        outcomes = gx.judge(self._con, f"win_{source}", list(columns), [step.question for step in comparable])
        by_step = of_other_types | {id(step): outcome for step, outcome in zip(comparable, outcomes, strict=True)}
        judged = [_Judged(step.text, step.expectation, by_step[id(step)]) for step in steps]
        return [*judged, *self._types(source, contract, columns)]

    def _types(self, source: str, contract: SourceContract, columns: Mapping[str, str]) -> list[_Judged]:
        """The types that the contract states, and those of other columns that some row of the partition breaks."""
        rows = self._con.execute(
            f"SELECT misfit, count(*) FROM (SELECT unnest(map_keys({MISFITS})) AS misfit FROM {name(f'win_{source}')}) GROUP BY misfit"
        ).fetchall()
        breaches = {str(column): int(count) for column, count in rows}
        judged = []
        for column, storage in columns.items():
            if column in contract.columns or column in breaches:
                expectation = _of_type(column, storage, contract)
                count = breaches.get(column, 0)
                outcome = gx.Outcome(success=not count, observed=None, unexpected=count, error=None)
                judged.append(_Judged(f"{OF_TYPE}({column}, {expectation.args['type']})", expectation, outcome))
        return judged

    def _check(self, source: str, judged: _Judged, errors: Sequence[tuple[Expectation, str]]) -> Check:
        expectation, outcome = judged.expectation, judged.outcome
        columns = expectation.columns if expectation is not None else ()
        error = next((text for unusable, text in errors if unusable is expectation), None)
        if outcome.error is not None:
            error = f"it cannot be evaluated: {outcome.error}"
        if error is not None and (hint := self._text_hint(source, columns)):
            error += hint
        if error is not None:  # whether rows are in breach cannot be told, so the partition is refused
            return Check(judged.text, "table", False, error)
        observed = outcome.observed
        if expectation is not None and private_columns(self._project, source, columns):
            observed = observed if expectation.name in _TELLS_NOTHING else None
        kind = expectation.kind if expectation is not None else "table"
        examples = self._examples(source, expectation) if expectation is not None and judged.broken_by_rows else ()
        return Check(judged.text, kind, outcome.success, observed, outcome.unexpected, examples)

    def _text_hint(self, source: str, columns: Sequence[str]) -> str:
        """What to state where a column is read as text although no contract says so: an expectation may want a number."""
        kinds, stated_types = self.views.columns(source), self.contract.of(source).columns
        texts = [column for column in columns if kinds.get(column) == "VARCHAR" and column not in stated_types]
        if not texts:
            return ""
        return f" ({texts[0]} is read as text; state `{texts[0]}: number` under `{source}.columns` in the contract if it is one)"

    def _examples(self, source: str, expectation: Expectation) -> tuple[str, ...]:
        columns, pseudonyms = expectation.columns, self.ring.of(self.views.key)
        private = set(private_columns(self._project, source, columns))
        shown = [f"CAST({name(column)} AS VARCHAR)" for column in columns]
        if expectation.name == OF_TYPE:  # what the column's type cannot hold
            shown = [f"{MISFITS}[{literal(columns[0])}]"]
        rows = self._con.execute(
            f"SELECT DISTINCT {', '.join(shown)} "
            f"FROM {name(f'win_{source}')} JOIN {name(f'bad_{source}')} USING (_n) "
            f"WHERE list_contains(_reasons, {literal(self._reason(source, expectation))}) ORDER BY ALL LIMIT {EXAMPLES}"
        ).fetchall()
        return tuple(
            ", ".join(
                str(pseudonyms.pseudonym(column, value) if column in private else value)
                for column, value in zip(columns, row, strict=True)
            )
            for row in rows
        )

    def _reasons(self, source: str, usable: Sequence[Expectation]) -> dict[str, int]:
        rows = self._con.execute(
            f"SELECT why, count(*) FROM (SELECT unnest(_reasons) AS why FROM {name(f'bad_{source}')} "
            f"JOIN {name(f'win_{source}')} USING (_n) WHERE NOT _dropped) GROUP BY why"
        ).fetchall()
        rows_by_reason = {str(why): int(count) for why, count in rows}
        order = [self._reason(source, expectation) for expectation in usable if expectation.kind == "row"]
        return {why: rows_by_reason[why] for why in dict.fromkeys(order) if why in rows_by_reason}

    def _joins(self, checks_by_source: Mapping[str, SourceChecks]) -> dict[str, SourceChecks]:
        """Add to each joined source the share of good rows that find it, judged where the contract asks."""
        row_source = self.views.row_source
        joined = [source for source in self._project.spec.data.sources if source != row_source]
        if not joined:
            return dict(checks_by_source)
        parts, hits = [f"FROM {name(f'good_{row_source}')} AS r"], []
        for source in joined:
            hit = name(f"hit_{source}")
            self._con.execute(f"CREATE TEMP TABLE {hit} AS SELECT _n FROM ({self.views.matches(source)}) WHERE _hit")
            parts.append(f"LEFT JOIN {hit} ON r._n = {hit}._n")
            hits.append(f"CASE WHEN {hit}._n IS NOT NULL THEN 1.0::DOUBLE ELSE 0.0 END AS {name(source)}")
        self._con.execute(f"CREATE VIEW joined_shares AS SELECT {', '.join(hits)} {' '.join(parts)}")
        averages = ", ".join(f"avg({name(source)})" for source in joined)
        row = first(self._con, f"SELECT {averages} FROM joined_shares")
        shares = dict(zip(joined, row, strict=True))
        asked = {source: self.contract.of(source).joined_at_least for source in joined}
        judged = [(source, least) for source, least in asked.items() if least is not None]
        questions = [
            gx.Question("column_mean_to_be_between", {"column": source, "min_value": least}) for source, least in judged
        ]
        outcomes = gx.judge(self._con, "joined_shares", list(joined), questions)
        result = dict(checks_by_source)
        for source, share in shares.items():
            result[source] = replace(result[source], joined=float(share or 0.0))
        for (source, least), outcome in zip(judged, outcomes, strict=True):
            check = Check(f"joined_at_least({least})", "table", outcome.success, outcome.observed, 0)
            result[source] = replace(result[source], checks=(*result[source].checks, check))
        return result

    def _refusals(self, source: str, source_checks: SourceChecks) -> list[str]:
        limit = self._project.spec.data.refuse_above
        texts = []
        for check in source_checks.checks:
            if not check.success and check.kind == "table":
                seen = "" if check.observed is None else f": {check.observed}"
                texts.append(f"{source}: {check.expectation}{seen}")
        if source_checks.share > limit:
            why = "; ".join(
                f"{reason} ({count})" for reason, count in source_checks.reasons.items()
            ) + self._other_types(source, source_checks)
            texts.append(
                f"{source}: {source_checks.quarantined} of {source_checks.rows} rows ({source_checks.share:.1%}) break the contract, "
                f"more than data.refuse_above ({limit:.1%}): {why}"
            )
        return texts

    def _other_types(self, source: str, checks: SourceChecks) -> str:
        """How to say that a column is of another type than its first file told."""
        contract, columns = self.contract.of(source), self.views.columns(source)
        told = [
            column
            for column, storage in columns.items()
            if column not in contract.columns and _of_type(column, storage, contract).reason in checks.reasons
        ]
        if not told:
            return ""
        return (
            f"; if a type that an earlier file told is not right, state it under `{source}.columns` in the contract, "
            f"such as `{told[0]}: text`"
        )
