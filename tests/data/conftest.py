"""A small shop: orders with a time, the shop's weather by day, and customers as a lookup table."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from updraft.settings import Settings
from updraft.spec.model import Project, ProjectSpec

START = pd.Timestamp("2024-01-01", tz="UTC")


def orders(days: int = 6, per_day: int = 40) -> pd.DataFrame:
    """``days`` times ``per_day`` orders from 1 January 2024; the n-th of a day at its n-th half hour."""
    count = days * per_day
    number = pd.Series(range(count))
    at = START + pd.to_timedelta(number // per_day, unit="D") + pd.to_timedelta(number % per_day * 30, unit="min")
    return pd.DataFrame(
        {
            "id": number,
            "at": at.dt.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "day": at.dt.strftime("%Y-%m-%d"),
            "customer": [f"anna-{n % 7}@example.org" for n in number],
            "amount": [10.0 + n % 30 for n in number],
            "kind": [("web", "shop", "phone")[n % 3] for n in number],
            "returned_after": [n % 10 if n % 4 else None for n in number],
            "year": 2024,
        }
    )


def weather(days: int = 6) -> pd.DataFrame:
    at = START + pd.to_timedelta(pd.Series(range(days)), unit="D")
    return pd.DataFrame({"at": at.dt.strftime("%Y-%m-%dT%H:%M:%SZ"), "day": at.dt.strftime("%Y-%m-%d"), "wind": 10.0})


def customers() -> pd.DataFrame:
    return pd.DataFrame(
        {"customer": [f"anna-{n}@example.org" for n in range(7)], "year": [1980 + n for n in range(7)], "age": 40}
    )


CONTRACT: dict[str, Any] = {
    "orders": {
        "columns": {"id": "integer"},
        "rows": [
            {"expect": "column_values_to_be_in_set", "column": "kind", "value_set": ["web", "shop", "phone"]},
            {"expect": "column_values_to_be_between", "column": "amount", "min_value": 0, "max_value": 100},
        ],
        "table": [{"expect": "table_row_count_to_be_between", "min_value": 10}],
        "fresh_within": "1d",
    },
    "weather": {
        "rows": [{"expect": "column_values_to_be_between", "column": "wind", "max_value": 150}],
        "joined_at_least": 0.9,
    },
}


@dataclass
class Shop:
    """A project in a folder of its own; ``write`` its tables, then take its ``project``."""

    folder: Path
    settings: Settings
    data: dict[str, Any] = field(default_factory=dict)
    contract: dict[str, Any] = field(default_factory=lambda: copy.deepcopy(CONTRACT))
    release: dict[str, Any] = field(default_factory=dict)

    def write(self, **tables: pd.DataFrame) -> None:
        """Write tables as CSV files."""
        for name, table in tables.items():
            table.to_csv(self.folder / f"{name}.csv", index=False)

    @property
    def project(self) -> Project:
        """The project as its folder and these dictionaries say now."""
        (self.folder / "expectations.yaml").write_text(yaml.safe_dump(self.contract, sort_keys=False))
        urls = {name: str(self.folder / f"{name}.csv") for name in ("orders", "weather", "customers")}
        data = {
            "schedule": "0 0 * * *",
            "start": "2024-01-01",
            "sources": {
                "orders": {"type": "file", "url": urls["orders"], "event_time": "at"},
                "weather": {"type": "file", "url": urls["weather"], "event_time": "at", "join": ["day"]},
                "customers": {"type": "file", "url": urls["customers"], "join": ["customer"]},
            },
            "key": ["id"],
            "label": {"expr": "returned_after < 5", "matures_after": "12h"},
            "private": ["customer"],
            **self.data,
        }
        spec = ProjectSpec.model_validate({"name": "shop", "owner": "me", "data": data, "release": self.release})
        return Project(spec=spec, folder=self.folder)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.from_env({"UPDRAFT_HOME": str(tmp_path / "a home")})


@pytest.fixture
def shop(tmp_path: Path, settings: Settings) -> Shop:
    folder = tmp_path / "projects" / "shop"
    folder.mkdir(parents=True)
    made = Shop(folder, settings)
    made.write(orders=orders(), weather=weather(), customers=customers())
    return made


@pytest.fixture
def make_orders() -> Callable[..., pd.DataFrame]:
    return orders


@pytest.fixture
def make_customers() -> Callable[..., pd.DataFrame]:
    return customers
