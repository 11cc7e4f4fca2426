"""What the contract found in one partition, as JSON-able values. Nothing private stands in it in clear."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

State = Literal["passed", "refused", "empty"]


@dataclass(frozen=True)
class Check:
    """One expectation and what was found."""

    expectation: str
    kind: Literal["row", "table"]
    success: bool
    observed: Any = None
    """What was measured, or why it could not be."""
    unexpected: int = 0
    """Rows in breach."""
    examples: tuple[str, ...] = ()
    """Up to five distinct values in breach; those of a private column as pseudonyms."""


@dataclass(frozen=True)
class SourceChecks:
    """What was found in one source."""

    rows: int
    quarantined: int
    reasons: Mapping[str, int]
    """Quarantined rows by reason; a row may have several."""
    checks: tuple[Check, ...]
    joined: float | None = None
    """Share of the row source's good rows that find a good row here; null for the row source."""
    outside: int = 0
    """Rows of the partition's own file whose time lies outside of the partition; of a file of all time they are other partitions'."""
    timeless: int = 0
    """Rows of the file without a time, which are in no partition."""
    skipped: int = 0
    """Of those the rows whose wall-clock time their zone skips, when its clocks are set forward."""
    repeated: int = 0
    """Rows of the partition in an hour that their zone has twice, when its clocks are set back."""
    released: int = 0
    """Rows in breach that a person has released: they are published."""
    dropped: int = 0
    """Rows in breach that a person has dropped: they are neither published nor in quarantine."""

    cleaned: Mapping[str, int] = field(default_factory=dict)
    """By step of ``data.clean`` how many cells of the partition it changed; of a parse, how many it read."""

    @property
    def read(self) -> int:
        """Rows of the file, as far as they are this partition's to account for: those judged, outside, and without a time."""
        return self.rows + self.outside + self.timeless

    @property
    def share(self) -> float:
        """Share of rows in breach."""
        return self.quarantined / self.rows if self.rows else 0.0


@dataclass(frozen=True)
class LabelCounts:
    """What became of the rows whose labels were due."""

    published: int
    missing: int
    """Without a label: null, and left out."""
    infinite: int
    """The expression gave no finite number; left out."""
    unlisted: int = 0
    """None of ``data.label.classes``; left out."""
    in_breach: int = 0
    """Rows whose labels were due and that break the contract: left out."""
    without_row: int = 0
    """Of the published ones those whose row is in no published partition: nothing is learnt from them."""
    form: str = ""
    """What the key of such a label looks like (:func:`updraft.data.lost_labels.form_of`)."""
    form_of_rows: str = ""
    """What the key of a row looks like that is published in the same partition."""

    @property
    def unlisted_share(self) -> float:
        """Share of the labels that are none of the classes."""
        return self.unlisted / (self.published + self.unlisted) if self.unlisted else 0.0

    @property
    def lost_share(self) -> float:
        """Share of the published labels that find no row."""
        return self.without_row / self.published if self.published else 0.0


@dataclass(frozen=True)
class Checks:
    """The contract's findings in one partition."""

    project: str
    key: str
    state: State
    refusals: tuple[str, ...]
    """Why the partition is refused; empty otherwise."""
    sources: Mapping[str, SourceChecks]
    raw: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of the raw file of each source that was checked."""
    labels: LabelCounts | None = None
    """Of the labels that matured at this tick; None until the partition is published."""
    unread: Mapping[str, str] = field(default_factory=dict)
    """Earlier partitions whose labels are missing as their file does not read, and why."""
    pseudonym_key: str = ""
    """Id of the key that made the pseudonyms; empty where no column is private, and of an earlier version of Updraft."""

    @property
    def quarantined(self) -> int:
        """Quarantined rows of all sources."""
        return sum(source.quarantined for source in self.sources.values())

    def without_examples(self, values: Collection[str]) -> Checks:
        """The same without the examples and observations in which one of some values stands."""

        def scrubbed(check: Check) -> Check:
            kept = tuple(example for example in check.examples if not set(example.split(", ")) & set(values))
            seen = str(check.observed) in values
            return replace(check, examples=kept, observed=None if seen else check.observed)

        sources = {
            name: replace(source, checks=tuple(map(scrubbed, source.checks))) for name, source in self.sources.items()
        }
        return replace(self, sources=sources)

    def to_dict(self) -> dict[str, Any]:
        """A JSON value."""
        return asdict(self)

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Checks:
        """The inverse of :meth:`to_dict`."""
        sources = {
            name: SourceChecks(
                **{
                    **source,
                    "checks": tuple(
                        Check(**{**check, "examples": tuple(check["examples"])}) for check in source["checks"]
                    ),
                }
            )
            for name, source in value["sources"].items()
        }
        labels = LabelCounts(**value["labels"]) if value.get("labels") else None
        return cls(**{**value, "refusals": tuple(value["refusals"]), "sources": sources, "labels": labels})
