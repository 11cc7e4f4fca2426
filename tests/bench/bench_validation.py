"""Validation of one large table: Updraft's path on DuckDB beside Great Expectations on pandas. Prints one JSON line.

    python tests/bench/bench_validation.py --rows 10000000

Both start at the same Parquet file, check the same 15 expectations, and run in a process of their own, whose peak
memory is measured. Updraft's path also finds the rows in breach with their reasons, which the other does not.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "include"))
os.environ["GX_ANALYTICS_ENABLED"] = "false"

_NUMBERS = [f"number{one}" for one in range(12)]
_TEXTS = [f"text{one}" for one in range(6)]
ROWS: list[dict[str, object]] = [
    *({"expect": "column_values_to_not_be_null", "column": column} for column in ("id", "at", "number0", "text0")),
    *(
        {"expect": "column_values_to_be_between", "column": column, "min_value": -6, "max_value": 6}
        for column in _NUMBERS[:4]
    ),
    *(
        {"expect": "column_values_to_be_in_set", "column": column, "value_set": list("abcdefgh")}
        for column in _TEXTS[:3]
    ),
    {"expect": "column_values_to_be_unique", "column": "id"},
]
TABLE: list[dict[str, object]] = [
    {"expect": "column_mean_to_be_between", "column": "number4", "min_value": -1, "max_value": 1},
    {"expect": "column_max_to_be_between", "column": "number5", "max_value": 10},
    {"expect": "table_row_count_to_be_between", "min_value": 1},
]


def write(path: Path, rows: int) -> None:
    """20 columns: a number of the row, a time, 12 numbers, 6 texts; a few values out of range."""
    import duckdb

    numbers = ", ".join(
        f"sqrt(-2 * ln((hash(i, {one}) % 1000003 + 1) / 1000004.0)) * cos(6.2831853 * (hash(i, {one}, 7) % 1000003) "
        f"/ 1000003.0) AS {column}"
        for one, column in enumerate(_NUMBERS)
    )
    texts = ", ".join(f"chr(97 + (hash(i, {one}, 3) % 8)::INTEGER) AS {column}" for one, column in enumerate(_TEXTS))
    with duckdb.connect() as con:
        con.execute(
            f"COPY (SELECT i AS id, TIMESTAMPTZ '2024-01-01 00:00:00+00' + to_milliseconds(i) AS at, "
            f"{numbers}, {texts} "
            f"FROM range({rows}) AS t(i)) TO '{path}' (FORMAT parquet)"
        )


def _cold() -> tuple[float, int]:
    """Now, and the process's peak memory so far (bytes): what the imports took is not counted."""
    return time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def updraft(path: Path) -> dict[str, object]:
    """The validation step's own code, from the raw file to checks and the rows in breach."""
    from updraft.data import gx
    from updraft.data.contract import Contract, Expectation, SourceContract
    from updraft.data.duck import connection
    from updraft.data.extraction import slices
    from updraft.data.key_ring import KeyRing
    from updraft.data.privacy import Pseudonymiser
    from updraft.data.validation import Validator
    from updraft.data.views import Views
    from updraft.spec.model import Project, ProjectSpec

    gx.load()
    source = {"type": "file", "url": str(path), "event_time": "at"}
    data = {
        "schedule": "0 0 1 1 *",
        "start": "2024-01-01",
        "sources": {"table": source},
        "key": ["id"],
        "label": {"expr": "number0 > 0"},
    }
    spec = ProjectSpec.model_validate({"name": "bench", "owner": "bench", "data": data})

    def expectations(items: list[dict[str, object]], kind: str) -> tuple[Expectation, ...]:
        made = [dict(item) for item in items]
        return tuple(Expectation(str(item.pop("expect")), item, kind) for item in made)  # type: ignore[arg-type]

    contract = SourceContract(rows=expectations(ROWS, "row"), table=expectations(TABLE, "table"))
    start, _ = _cold()
    with connection([path]) as con:
        views = Views(
            con,
            Project(spec=spec, folder=path.parent),
            slices(Project(spec=spec, folder=path.parent), "2025-01-01T0000"),
        )
        views.open({"table": path})
        pseudonyms = Pseudonymiser(bytes(32), "bench")
        checks = Validator(views, Contract({"table": contract}), KeyRing((("", pseudonyms),), pseudonyms)).run(
            ["table"], {}
        )
    found = checks.sources["table"].checks
    return {
        "seconds": time.perf_counter() - start,
        "failed": sum(not check.success for check in found),
        "checks": len(found),
    }


def pandas(path: Path) -> dict[str, object]:
    """Great Expectations as its documentation says: a data frame, a suite, a batch."""
    import great_expectations
    import pandas as pd

    context = great_expectations.get_context(mode="ephemeral")
    context.variables.progress_bars = None
    suite = great_expectations.ExpectationSuite("bench")
    for item in [*ROWS, *TABLE]:
        arguments = {key: value for key, value in item.items() if key != "expect"}
        name = "".join(part.capitalize() for part in f"expect_{item['expect']}".split("_"))
        suite.add_expectation(getattr(great_expectations.expectations, name)(**arguments))
    start, _ = _cold()
    frame = pd.read_parquet(path)
    asset = context.data_sources.add_pandas("pandas").add_dataframe_asset("table")
    batch = asset.add_batch_definition_whole_dataframe("all").get_batch({"dataframe": frame})
    results = batch.validate(suite, result_format="BASIC").results
    return {
        "seconds": time.perf_counter() - start,
        "failed": sum(not result.success for result in results),
        "checks": len(results),
    }


def measured(which: str, path: Path) -> dict[str, float]:
    """Run one of the two in a process of its own."""
    command = [sys.executable, __file__, "--only", which, "--path", str(path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--only", choices=["updraft", "pandas"], help=argparse.SUPPRESS)
    parser.add_argument("--path", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only:
        found = (updraft if arguments.only == "updraft" else pandas)(arguments.path)
        print(json.dumps({**found, "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))
        sys.stdout.flush()
        os._exit(0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.parquet"
        write(path, arguments.rows)
        ours, theirs = measured("updraft", path), measured("pandas", path)
    same = ours["failed"] == theirs["failed"] and ours["checks"] == theirs["checks"]
    print(
        json.dumps(
            {
                "bench": "validation",
                "rows": arguments.rows,
                "columns": 20,
                "expectations": int(ours["checks"]),
                "same_result": same,
                "updraft_s": round(ours["seconds"], 2),
                "pandas_s": round(theirs["seconds"], 2),
                "times_faster": round(theirs["seconds"] / ours["seconds"], 1),
                "updraft_mb": round(ours["peak_mb"]),
                "pandas_mb": round(theirs["peak_mb"]),
                "memory_share": round(ours["peak_mb"] / theirs["peak_mb"], 3),
            }
        )
    )


if __name__ == "__main__":
    main()
