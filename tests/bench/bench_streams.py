"""The default policy on streams that nobody tuned it to, beside "every partition", "every 4 partitions" and the rivals of the literature.

    python tests/bench/bench_streams.py --only sudden none
    python tests/bench/bench_streams.py --folder FOLDER        # and each NAME.csv.gz there: id, at, features, label

Of each stream: the loss as a multiple of that of "every partition", and the share of its trainings. Last, a backtest of 134 weekly
partitions of 336 rows under all the policies that `updraft backtest` compares.
Prints one JSON line.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(HERE / "include"), str(HERE)]

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
from tests.support import streams  # noqa: E402

from updraft.backtest.policies import EVERY_PARTITION, PROJECT  # noqa: E402
from updraft.backtest.rivals import RIVALS  # noqa: E402
from updraft.backtest.run import backtest  # noqa: E402
from updraft.settings import Settings  # noqa: E402
from updraft.spec.model import Project  # noqa: E402

COMPARED = (EVERY_PARTITION, "every 4 partitions", *RIVALS, PROJECT)


def settings(folder: Path) -> Settings:
    """Of a deployment that is a folder."""
    return Settings(home=folder, projects=folder, lake=f"file://{folder / 'lake'}", store="", mlflow="", airflow="")


def compared(folder: Path, project: Project) -> str:
    """Loss and trainings of each policy against those of "every partition"."""
    played = {policy.policy: policy for policy in backtest(project, settings(folder), only=COMPARED).played}
    every = played.pop(EVERY_PARTITION)
    told = [
        f"{name} {policy.mean / every.mean:.3f} at {len(policy.trainings) / len(every.trainings):.2f}"
        for name, policy in played.items()
    ]
    return f"{every.mean:.4f}, {len(every.trainings)} trainings; " + ", ".join(told)


def prices(weeks: int = 134) -> pd.DataFrame:
    """A price every half hour, whose rule changes every 30 weeks: will the next one lie above the mean of the last day?"""
    random = np.random.default_rng(9)
    step = np.arange(weeks * 336)
    demand = 0.5 + 0.2 * np.sin(2 * np.pi * (step % 48) / 48) + 0.1 * np.sin(2 * np.pi * step / 17520)
    noise, turned = np.zeros(len(step)), (step // (336 * 30)) % 2 == 1
    for now in range(1, len(step)):
        noise[now] = (0.92 if turned[now] else 0.8) * noise[now - 1] + random.normal(0.0, 0.06)
    price = np.where(turned, 1.2 - 0.8 * demand, demand) + noise
    mean = pd.Series(price).rolling(48, min_periods=1).mean().to_numpy()
    at = pd.Timestamp("2021-01-04", tz="UTC") + pd.to_timedelta(step * 30, unit="min")
    return pd.DataFrame(
        {
            "id": step,
            "at": at.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "half_hour": step % 48,
            "demand": demand.round(4),
            "price_before": np.roll(price, 1).round(4),
            "transfer": (demand * 0.3 + random.normal(0.0, 0.05, len(step))).round(4),
            "label": (price > mean).astype(int),
        }
    )


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", default=[], help="names of streams")
    parser.add_argument("--folder", type=Path, help="folder of more streams")
    parser.add_argument("--weeks", type=int, default=134, help="of the timed backtest")
    chosen = parser.parse_args()
    told = {}
    more = sorted(chosen.folder.glob("*.csv.gz")) if chosen.folder else []
    for seed, (name, stream) in enumerate(streams.STREAMS.items(), start=1):
        if not chosen.only or name in chosen.only:
            with tempfile.TemporaryDirectory() as folder:
                rows = streams.rows_of(stream, seed)
                project = streams.project(
                    Path(folder), name, rows, task=stream.task, matures_after=stream.matures_after
                )
                told[name] = compared(Path(folder), project)
    for path in more:
        name = path.name.removesuffix(".csv.gz")
        if not chosen.only or name in chosen.only:
            with tempfile.TemporaryDirectory() as folder:
                rows = pd.read_csv(path)
                task = "multiclass" if rows["label"].nunique() > 2 else "binary"
                told[name] = compared(Path(folder), streams.project(Path(folder), name, rows, task=task))
    if not chosen.only or "prices" in chosen.only:
        with tempfile.TemporaryDirectory() as folder:
            project = streams.project(Path(folder), "prices", prices(chosen.weeks), schedule="0 0 * * 1")
            started = time.monotonic()
            policies = backtest(project, settings(Path(folder))).played
            told[f"seconds of {len(policies)} policies over {chosen.weeks} weeks of 336 rows"] = round(
                time.monotonic() - started
            )
            told["prices"] = compared(Path(folder), project)
    print(json.dumps(told))


if __name__ == "__main__":
    main()
