"""What is to be learnt: the column of the label, the expression over it, the task, and when it is known."""

# ruff: noqa: S608  -- SQL is composed of names and values that data/duck.py has quoted
from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from updraft.data.duck import literal, name
from updraft.draft.question import Question, Settle
from updraft.draft.table import Column, Table
from updraft.draft.words import LABELS, NO, OUTCOME_WORDS, YES, has_word, words_of
from updraft.errors import DataError, InputError
from updraft.spec import data as spec
from updraft.spec.label import class_values, label_number, read_label
from updraft.spec.part import shown_duration
from updraft.spec.problems import did_you_mean
from updraft.tasks.binary import BINARY
from updraft.tasks.multiclass import MULTICLASS
from updraft.tasks.registry import task_names
from updraft.tasks.regression import REGRESSION

_FEW = 20
"""Different whole numbers up to which they may be classes."""
_HOPELESS = 9
"""Rank of a column that has the name of a label and no two values."""
_BINARY, _MULTICLASS, _REGRESSION = BINARY.name, MULTICLASS.name, REGRESSION.name
_FEWEST_CLASSES, _MOST_CLASSES = 3, 100


@dataclass(frozen=True)
class Label:
    """The label of a project."""

    expr: str
    columns: tuple[str, ...]
    """That it reads."""
    task: str
    why: str
    labelled: int
    """Rows that have one."""
    mean: float
    """Of a binary label the share of rows that are 1."""
    matures_after: timedelta
    maturity: str
    """On what ``matures_after`` rests."""
    classes: tuple[str, ...] = ()
    """What it may be, where the task has a list of classes."""

    @property
    def number(self) -> str:
        """SQL for the label as a number; null where it is none."""
        return _number(self.expr, self.classes)


def candidates(table: Table) -> list[str]:
    """Columns that may be the label, by name and values, the likeliest first."""
    ranked = [(rank, column.name) for column in table.columns.values() if (rank := _rank(column)) is not None]
    return [column for _, column in sorted(ranked, key=lambda pair: pair[0])]


def _rank(column: Column) -> int | None:
    words = words_of(column.name)
    if column.kind in ("time", "other"):
        return None
    if column.distinct < 2:  # nothing can be learnt from it, and it is told why
        return _HOPELESS if column.name.lower() in LABELS or "".join(words) in OUTCOME_WORDS else None
    if column.name.lower() in LABELS:  # y may be a coordinate
        return 1 if len(column.name) == 1 else 0
    if column.distinct != 2:
        return None
    if has_word(column.name, OUTCOME_WORDS):
        return 1 if len(words) == 1 else 2
    return 3 if words and (words[0] in ("is", "has") or words[-1] == "flag") else None


def choose(
    table: Table, settle: Settle, *, stated: str | None, task: str | None, matures_after: timedelta | None
) -> Label:
    """The label, as somebody said or as names and values tell it.

    :param stated: a column, or an SQL expression.
    :raises InputError: when none can be told, or nothing can be learnt from it.
    """
    why = "as you said"
    if stated is None:
        question = _which(table)
        stated, why = settle(question), question.why
    if stated in table.columns:
        expr, task = _of_column(table, table.columns[stated], settle, task)
    else:
        expr = stated
        _check_expression(table, expr)
    columns = [column for column in table.columns if column.lower() in read_label(expr).names]
    return _checked(table, expr, columns, task, why, matures_after)


def _which(table: Table) -> Question:
    asks = "Which column is the label, that which is to be learnt?"
    likely = candidates(table)
    if not likely:
        two = [column.name for column in table.columns.values() if column.distinct == 2 and column.kind != "time"]
        why = 'No column has a name such as label, target, churned or is_late; an SQL expression does too, such as "delay > 15"'
        return Question("--label", asks, None, False, why, tuple(two[:12]))
    ranks = [rank for column in likely if (rank := _rank(table.columns[column])) is not None]
    is_safe = ranks.count(ranks[0]) == 1 and (ranks[0] <= 1 or (ranks[0] in (2, _HOPELESS) and len(likely) == 1))
    why = (
        "by its name"
        if is_safe
        else "Its name is that of a label, and so are others"
        if len(likely) > 1
        else "By its name alone"
    )
    return Question("--label", asks, likely[0], is_safe, why, tuple(likely))


def sql_name(column: str) -> str:
    """A column as a person writes it in SQL: bare where that reads, in double quotes otherwise."""
    bare = read_label(column)
    return (
        column
        if bare.wrong is None and bare.names == {column.lower()} and column.isascii() and column.isidentifier()
        else name(column)
    )


def _of_column(table: Table, column: Column, settle: Settle, task: str | None) -> tuple[str, str]:
    """Expression and task of a column."""
    own = sql_name(column.name)
    if '"' in column.name:
        raise InputError(f"--label {column.name!r} has a double quote in its name; rename the column")
    if column.kind is None:
        raise InputError(_nothing_known(table, f"{column.name!r} is empty in each of {table.rows:,} rows"))
    if column.distinct == 1:
        raise InputError(
            f"--label {column.name!r} has one value in all of {table.rows - column.missing:,} rows that have one, so there is nothing to learn; "
            "bring rows of both outcomes (a longer history), or name another column"
        )
    if column.kind == "time":
        raise InputError(
            f'--label {column.name!r} is a time; write what is to be learnt of it as a comparison, such as --label "{own} IS NOT NULL", '
            f"and after how long it is known with --matures-after"
        )
    if column.kind == "boolean":
        return own, task or _BINARY
    if column.distinct == 2 and task in (None, _BINARY):
        return _of_two(table, column, own, settle), _BINARY
    return own, _of_many(column, own, task)


def _of_two(table: Table, column: Column, own: str, settle: Settle) -> str:
    rows = table.con.execute(
        f"SELECT {own} AS v, count(*) AS c FROM typed WHERE {own} IS NOT NULL GROUP BY v ORDER BY c DESC, v"
    ).fetchall()
    (usual, _), (rare, _) = rows
    if {usual, rare} == {0, 1}:
        return own
    if column.kind in ("number", "integer"):
        return f"{own} = {literal(max(usual, rare))}"
    likely = {value for value in (usual, rare) if value.strip().lower() in YES} or {
        value for value, other in ((usual, rare), (rare, usual)) if other.strip().lower() in NO
    }
    if len(likely) == 1:
        return f"{own} = {literal(likely.pop())}"
    question = Question(
        "--label",
        f"Which value of {column.name!r} is the one whose probability is to be told?",
        f"{own} = {literal(rare)}",
        False,
        "Neither of its two texts says yes or no, and this one is the rarer",
        tuple(f"{own} = {literal(value)}" for value in (usual, rare)),
    )
    expr = settle(question)
    _check_expression(table, expr)
    return expr


def _of_many(column: Column, own: str, task: str | None) -> str:
    if task is not None and task not in (_BINARY, _REGRESSION):
        return task
    of_classes = f", or --task {_MULTICLASS} where each is to be told" if column.distinct <= _MOST_CLASSES else ""
    if column.kind == "text" or task == _BINARY:
        raise InputError(
            f"--label {column.name!r} has {column.distinct:,} different values, and what is to be learnt of it is not said; write a comparison, "
            f'such as --label "{own} = {"2" if column.kind != "text" else chr(39) + "late" + chr(39)}"{of_classes}'
            + ("" if column.kind == "text" else ", or --task regression where its numbers are to be told")
        )
    if task is None and column.distinct <= _FEW and column.is_whole:
        raise InputError(
            f"--label {column.name!r} has {column.distinct} different whole numbers: say --task regression where they are amounts, "
            f'--task {_MULTICLASS} where they are classes, or write a comparison, such as --label "{own} = 2"'
        )
    return _REGRESSION


def _classes_of(table: Table, expr: str) -> tuple[str, ...]:
    """The values of an expression, in order: of numbers where each is one.

    :raises InputError: when they are too few or too many.
    """
    texts = f"CAST((\n{expr}\n) AS VARCHAR)"
    try:
        (values,) = table.asked(f"list_sort(list(DISTINCT {texts}))")
    except DataError as error:
        raise InputError(f"--label {expr!r}: {error}") from error
    classes = tuple(str(value) for value in values or ())
    if not _FEWEST_CLASSES <= len(classes) <= _MOST_CLASSES:
        raise InputError(
            f"--label {expr!r} has {len(classes):,} different values, and --task {_MULTICLASS} learns {_FEWEST_CLASSES} to {_MOST_CLASSES} classes"
        )
    values_held = class_values(classes)
    return tuple(sorted(classes, key=float)) if isinstance(values_held[0], float) else classes


def _number(expr: str, classes: Sequence[str]) -> str:
    return label_number(spec.Label(expr=expr, classes=tuple(classes)), lenient=True)


def _check_expression(table: Table, expr: str) -> None:
    read_by = read_label(expr)
    if read_by.wrong:
        raise InputError(f"--label {expr!r} is neither a column nor an expression over columns: it {read_by.wrong}")
    unknown = read_by.unknown(table.columns)
    if unknown or not read_by.names:
        hint = did_you_mean(unknown[0], table.columns) if unknown else ""
        what = f"reads {', '.join(unknown)}, which is no column{hint}" if unknown else "reads no column"
        raise InputError(f"--label {expr!r} {what}; there are {', '.join(table.columns)}")


def _checked(
    table: Table, expr: str, columns: Sequence[str], task: str | None, why: str, matures_after: timedelta | None
) -> Label:
    if task is not None and task not in task_names():
        raise InputError(f"--task {task!r} is no task; there are {', '.join(task_names())}")
    classes = _classes_of(table, expr) if task == _MULTICLASS else ()
    number = _number(expr, classes)
    time = name(table.event_time)
    try:
        labelled, texts, different, low, high, mean, newest, newest_labelled, oldest = table.asked(
            f"count({number}), count(*) FILTER (({number}) IS NULL AND (\n{expr}\n) IS NOT NULL), count(DISTINCT {number}), min({number}), "
            f"max({number}), avg({number}), max({time}), max({time}) FILTER (({number}) IS NOT NULL), min({time})"
        )
    except DataError as error:
        raise InputError(f"--label {expr!r}: {error}") from error
    if texts:
        raise InputError(
            f"--label {expr!r} gives text that is no number; write a comparison, such as --label \"{expr} = 'Y'\""
        )
    if not labelled:
        raise InputError(_nothing_known(table, f"--label {expr!r} gives no label in any of {table.rows:,} rows"))
    if different == 1:
        raise InputError(
            f"--label {expr!r} gives one label in all of {labelled:,} rows that have one, so there is nothing to learn; bring rows of both "
            "outcomes (a longer history), or say something else"
        )
    if task is None:
        task = _BINARY if {low, high} == {0.0, 1.0} and different == 2 else _REGRESSION
    if task == _BINARY and ({low, high} != {0.0, 1.0} or different != 2):
        raise InputError(
            f"--label {expr!r} gives {different:,} different numbers, and a binary label is 0 or 1; write a comparison, such as "
            f'--label "{expr} > {mean:g}", or say --task regression'
        )
    after, maturity = matures_after, "as you said"
    if after is None:
        after, maturity = _maturity(newest - newest_labelled)
    if after >= newest - oldest:
        raise InputError(
            f"labels are known {shown_duration(after)} after their row ({maturity}), and the history is {_span(newest - oldest)} long: no label of "
            "it would be known before its end; bring a longer history, or say --matures-after"
        )
    return Label(expr, tuple(columns), task, why, labelled, float(mean), after, maturity, classes)


def _nothing_known(table: Table, what: str) -> str:
    return (
        f"{what}: it seems to be known only in the future. Bring rows of the past with what became of them, or join the outcome to them; "
        f"the rows end on {table.asked(f'max({name(table.event_time)})')[0]:%Y-%m-%d}"
    )


def _maturity(gap: timedelta) -> tuple[timedelta, str]:
    """After how long labels are known: as long as the newest rows have none."""
    if gap >= timedelta(days=1):
        return timedelta(days=math.ceil(gap / timedelta(days=1))), "a guess: the newest rows have no label yet"
    return timedelta(days=1), "a guess"


def _span(span: timedelta) -> str:
    return (
        f"{span / timedelta(days=1):,.0f} days"
        if span >= timedelta(days=2)
        else f"{span / timedelta(hours=1):,.0f} hours"
    )
