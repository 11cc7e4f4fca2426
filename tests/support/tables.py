"""A project with one small source, a file for each day, whose texts a test writes by hand."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from updraft import files
from updraft.data.ingest import extract_partition, publish_partition, read_partition, validate_partition
from updraft.settings import Settings
from updraft.spec.model import Project, ProjectSpec
from updraft.store.records import IngestedPartition


def day(number: int) -> str:
    """The key of the partition of a day of January 2024, counted from 1."""
    return f"2024-01-{number + 1:02}T0000"


@dataclass
class Table:
    """The project ``table``: rows ``id``, ``at`` and whatever else a test's files hold; its label is ``y``."""

    folder: Path
    suffix: str = "csv"
    source: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    contract: dict[str, Any] = field(default_factory=dict)
    release: dict[str, Any] = field(default_factory=dict)
    name: str = "table"

    @property
    def settings(self) -> Settings:
        """Of a home beside the project."""
        return Settings.from_env({"UPDRAFT_HOME": str(self.folder / "home")})

    @property
    def project(self) -> Project:
        """As the attributes say now."""
        folder = self.folder / self.name
        folder.mkdir(exist_ok=True)
        (folder / "expectations.yaml").write_text(yaml.safe_dump(self.contract))
        url = str(self.folder / f"{{key}}.{self.suffix}")
        data = {
            "schedule": "0 0 * * *",
            "start": "2024-01-01",
            "sources": {"rows": {"type": "file", "url": url, "event_time": "at", **self.source}},
            "key": ["id"],
            "label": {"expr": "y", "matures_after": "1d"},
            **self.data,
        }
        spec = ProjectSpec.model_validate({"name": self.name, "owner": "me", "data": data, "release": self.release})
        return Project(spec=spec, folder=folder)

    def write(self, number: int, content: str | bytes | pd.DataFrame) -> None:
        """Write the file of a day: its text or bytes, or a frame as Parquet."""
        path = self.folder / f"{day(number)}.{self.suffix}"
        if isinstance(content, pd.DataFrame):
            content.to_parquet(path)
        else:
            path.write_bytes(content.encode() if isinstance(content, str) else content)

    def csv(self, number: int, column: str, cells: list[str], label: list[str] | None = None) -> None:
        """Write the file of a day with ``id`` (n0, n1, ...), ``at``, one more column, and ``y`` (0, 1, 0, ... unless it is given)."""
        labels = label or [str(place % 2) for place in range(len(cells))]
        lines = [
            f"n{place},2024-01-{number:02}T{place % 24:02}:00:00Z,{cell},{labels[place]}"
            for place, cell in enumerate(cells)
        ]
        self.write(number, "\n".join([f"id,at,{column},y", *lines, ""]))

    def ingest(self, number: int) -> IngestedPartition:
        """The three steps for the partition of a day."""
        project, settings, key = self.project, self.settings, day(number)
        extract_partition(project, settings, key)
        validate_partition(project, settings, key)
        return publish_partition(project, settings, key)

    def rows(self, number: int) -> pd.DataFrame:
        """What is published of a day."""
        url = self.ingest(number).url
        assert url is not None
        return read_partition(url)

    def labels(self, number: int) -> list[float]:
        """The labels that mature at the tick of a day, in the order of their rows' times."""
        url = self.ingest(number).labels_url
        return [] if url is None else [float(value) for value in read_partition(url)["label"]]

    def quarantined(self, number: int) -> pd.DataFrame:
        """The rows of a day in breach, with their reasons."""
        lake = files.local_path(self.settings.lake)
        return pd.read_parquet(lake / self.name / "quarantine" / day(number) / "rows.parquet")
