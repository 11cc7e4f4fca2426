"""Prometheus' text format, version 0.0.4: families of samples as a scraper reads them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_METRIC_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL_NAME = re.compile(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]*")


@dataclass(frozen=True)
class Family:
    """What samples of one name measure. All are gauges: what the store says is as it stands, and may go down."""

    name: str
    help: str
    """One sentence for who reads a graph."""
    labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        names = [self.name] if _METRIC_NAME.fullmatch(self.name) is None else []
        names += [label for label in self.labels if _LABEL_NAME.fullmatch(label) is None]
        if names:
            raise ValueError(f"Prometheus takes no such name: {', '.join(names)}")


@dataclass(frozen=True)
class Sample:
    """One value of a family."""

    family: Family
    labels: tuple[str, ...]
    """Values of the family's labels, in its order."""
    value: float


def exposition(families: Sequence[Family], samples: Iterable[Sample]) -> str:
    """The text that a scraper reads. A family without samples is left out: absent means not known.

    :raises ValueError: for two samples of the same labels, or one whose labels are not its family's: Prometheus would refuse the whole scrape.
    """
    values_by_family: dict[str, dict[tuple[str, ...], float]] = {family.name: {} for family in families}
    for sample in samples:
        values = values_by_family[sample.family.name]
        if sample.labels in values or len(sample.labels) != len(sample.family.labels):
            raise ValueError(
                f"{sample.family.name}: labels {sample.labels} come twice, or are not {sample.family.labels}"
            )
        values[sample.labels] = sample.value
    lines = []
    for family in families:
        if values := values_by_family[family.name]:
            lines += [f"# HELP {family.name} {_help(family.help)}", f"# TYPE {family.name} gauge"]
            lines += [
                f"{family.name}{_labels(dict(zip(family.labels, labels, strict=True)))} {_number(value)}"
                for labels, value in values.items()
            ]
    return "".join(f"{line}\n" for line in lines)


def _labels(labels: Mapping[str, str]) -> str:
    pairs = [f'{name}="{_value(value)}"' for name, value in labels.items()]
    return "{" + ",".join(pairs) + "}" if pairs else ""


def _value(text: str) -> str:
    # A lone surrogate is no UTF-8: a text of anybody's must not cost the whole scrape.
    sound = text.encode("utf-8", "replace").decode("utf-8")
    return sound.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _help(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n")


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() and abs(value) < 2**53 else repr(float(value))
