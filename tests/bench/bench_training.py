"""Training: what checkpoints cost, and the torch trainer against a plain DataLoader loop of the same network.

Prints one JSON line. Torch's part is left out where it is not installed.

    python tests/bench/bench_training.py --rows 200000
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "include")]

LIMIT_SHARE = 0.03
THREADS = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000)
    rows = parser.parse_args().rows
    found = {
        "xgboost": checkpoint_share(rows, "xgboost", {"rounds": 200, "early_stopping": 200, "checkpoint_every": 25})
    }
    torch: dict[str, Any] = {}
    if importlib.util.find_spec("torch") is not None:
        # as often as the trainer allows itself
        found["torch"] = checkpoint_share(rows, "torch", {"rounds": 6, "checkpoint_seconds": 0.0})
        torch = against_dataloader(rows)
    print(
        json.dumps(
            {
                "bench": "training",
                "rows": rows,
                **{f"checkpoint_share_{name}": round(share, 4) for name, share in found.items()},
                "limit": LIMIT_SHARE,
                **torch,
                "ok": max(found.values()) <= LIMIT_SHARE,
            }
        )
    )


def _data(rows: int) -> Any:
    from tests.support.training_case import KEYS, features_and_labels

    from updraft.training.data import TrainingData

    features, labels = features_and_labels(rows // len(KEYS))
    return TrainingData.join(features, labels, KEYS), KEYS


def checkpoint_share(rows: int, trainer: Any, params: dict[str, Any]) -> float:
    """Seconds spent in writing checkpoints by seconds of the whole training."""
    from updraft.jobs.checkpoint import FolderCheckpoint
    from updraft.training.fit import train_in_memory
    from updraft.training.recipe import Recipe

    class Timed(FolderCheckpoint):
        def save(self, phase: str, state: bytes, progress: Any) -> None:
            began = time.perf_counter()
            super().save(phase, state, progress)
            spent.append(time.perf_counter() - began)

    data, keys = _data(rows)
    spent: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        recipe = Recipe(params=params, threads=THREADS, trainer=trainer)
        train_in_memory(recipe, data, keys[-1:], Timed(f"file://{folder}", {}))
        return sum(spent) / (time.perf_counter() - began)


def against_dataloader(rows: int) -> dict[str, Any]:
    """Rows per second of one round of the release phase, after one to warm up."""
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    from updraft.jobs.watch import TrainingWatch
    from updraft.training.encoding import Encoder
    from updraft.training.learning import Rows
    from updraft.training.pytorch import TORCH, _Network
    from updraft.training.recipe import Recipe

    data, _ = _data(rows)
    encoder = Encoder.fit(data.features)
    encoded = Rows(encoder.encode(data.features), data.label)
    recipe = Recipe(trainer="torch", threads=THREADS, params={"dropout": 0.0})

    def ours(rounds: int) -> float:
        began = time.perf_counter()
        TORCH.learn(
            recipe, encoder, "release", encoded, rounds=rounds, validation=None, checkpoint=None, watch=TrainingWatch()
        )
        return time.perf_counter() - began

    torch.set_num_threads(THREADS)
    network = _Network(torch, recipe, encoder, encoded)
    loader = DataLoader(TensorDataset(*network.tensors(encoded)), batch_size=1024, shuffle=True)
    optimizer = torch.optim.AdamW(network.parameters.values(), lr=0.001)

    def theirs() -> float:
        began = time.perf_counter()
        for numbers, codes, label in loader:
            optimizer.zero_grad()
            torch.nn.functional.binary_cross_entropy_with_logits(network(numbers, codes), label).backward()
            optimizer.step()
        return time.perf_counter() - began

    ours(1), theirs()
    speed = len(data.label) / (ours(4) - ours(1)) * 3
    plain = len(data.label) / min(theirs() for _ in range(2))
    return {
        "torch_rows_per_s": round(speed),
        "dataloader_rows_per_s": round(plain),
        "ratio": round(speed / plain, 1),
    }


if __name__ == "__main__":
    main()
