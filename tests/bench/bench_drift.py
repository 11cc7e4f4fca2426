"""Drift of a partition against the reference: Updraft's profiles beside Evidently's preset. Prints one JSON line.

    python tests/bench/bench_drift.py --rows 1000000

Ours starts at the partition's Parquet file (profile, then score every column against a cached reference); Evidently
starts at two frames that are already in memory, which favours it.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "include"))

import numpy as np
import pandas as pd


def rows(number: int, seed: int) -> pd.DataFrame:
    """20 columns: 12 continuous of several shapes, 4 of whole numbers, 4 of text."""
    rng = np.random.default_rng(seed)
    columns = {f"normal{one}": rng.normal(3 * one, 10.0 ** (one - 2), number) for one in range(6)}
    columns |= {f"skewed{one}": rng.lognormal(one, 1, number) for one in range(6)}
    columns |= {f"whole{one}": rng.integers(0, most, number) for one, most in enumerate((24, 60, 366, 8000))}
    for one, most in enumerate((3, 16, 105, 200)):
        columns[f"text{one}"] = np.array([f"name {name}" for name in range(most)])[rng.integers(0, most, number)]
    return pd.DataFrame(columns)


def ours(folder: Path, current: pd.DataFrame, reference: list[pd.DataFrame]) -> tuple[float, int]:
    """Seconds (the middle of three) from a Parquet file to a score per column, and how many columns."""
    from updraft.monitoring.drift import assess, calibrate
    from updraft.monitoring.profiles import profile
    from updraft.monitoring.reference import fit_reference
    from updraft.spec.model import Drift

    current.to_parquet(folder / "current.parquet", index=False)
    profiles = [profile(one) for one in reference]
    fitted, threshold = fit_reference(profiles), calibrate(profiles, Drift(), 52)
    taken = []
    for _ in range(3):
        start = time.perf_counter()
        report = assess(fitted, threshold, [profile(str(folder / "current.parquet"))])
        taken.append(time.perf_counter() - start)
    return sorted(taken)[1], len(report.scores)


def evidently(current: pd.DataFrame, reference: pd.DataFrame) -> tuple[float, int]:
    """Seconds of Evidently's drift preset with its own choice of methods, and how many columns."""
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    texts = [name for name in current.columns if name.startswith("text")]
    numbers = [name for name in current.columns if name not in texts]
    definition = DataDefinition(numerical_columns=numbers, categorical_columns=texts)
    sides = [Dataset.from_pandas(side, definition) for side in (current, reference)]
    start = time.perf_counter()
    snapshot = Report([DataDriftPreset()]).run(*sides)
    taken = time.perf_counter() - start
    return taken, len(snapshot.dict()["metrics"]) - 1


def main() -> None:
    """Run both in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of the partition, and of the reference")
    parser.add_argument("--partitions", type=int, default=10, help="partitions that the reference is made of")
    chosen = parser.parse_args()
    warnings.simplefilter("ignore")
    current, reference = rows(chosen.rows, 1), rows(chosen.rows, 2)
    parts = [reference.iloc[one :: chosen.partitions] for one in range(chosen.partitions)]
    with tempfile.TemporaryDirectory() as folder:
        mine, columns = ours(Path(folder), current, parts)
    theirs, their_columns = evidently(current, reference)
    result = {
        "bench": "drift",
        "rows": chosen.rows,
        "columns": columns,
        "updraft_s": round(mine, 3),
        "evidently_s": round(theirs, 1),
        "evidently_columns": their_columns,
        "ratio": round(theirs / mine, 1),
        "goal": 100,
        "reached": theirs / mine >= 100,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
