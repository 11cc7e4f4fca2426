"""The reference project's data in PostgreSQL instead of files, and its weather joined by the latest hour before the flight."""

from __future__ import annotations

import io
import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import psycopg2
import pytest
import yaml
from tests.support.flights import PROJECTS

from updraft import files
from updraft.data.duck import columns_of, connection, parquet
from updraft.data.ingest import extract_partition, publish_partition, read_partition, validate_partition
from updraft.data.readers.opened import as_written
from updraft.spec.load import load_project

KEY = "2013-01-07T0500"
TYPES = {"VARCHAR": "text", "DOUBLE": "double precision", "TIMESTAMP WITH TIME ZONE": "timestamptz"}
"""Of DuckDB, where PostgreSQL calls them otherwise."""


def flights(folder, **sources):
    """The project, with what its sources say changed."""
    own = folder / "flight_delays"
    shutil.copytree(PROJECTS / "flight_delays", own, ignore=shutil.ignore_patterns("__pycache__"))
    spec = load_project(own).spec.model_dump(mode="json", exclude_defaults=True)
    for name, keys in sources.items():
        kept = {key: value for key, value in spec["data"]["sources"][name].items() if key in ("event_time", "join")}
        spec["data"]["sources"][name] = (kept if keys.get("type") == "sql" else spec["data"]["sources"][name]) | keys
    (own / "project.yaml").write_text(yaml.safe_dump(spec, sort_keys=False))
    return load_project(own)


def published(project, settings):
    extract_partition(project, settings, KEY)
    validate_partition(project, settings, KEY)
    return publish_partition(project, settings, KEY)


def into(database, project, settings, source):
    """A table with the file's rows of the first days, each column of the type that ingestion told of the file."""
    raw = Path(files.local_path(extract_partition(project, settings, KEY).sources[source].url))
    with connection([raw]) as con:
        types = columns_of(con, parquet(str(raw)))
    spec = project.spec.data.sources[source]
    with as_written(spec, source) as (con, columns):
        frame = con.sql("SELECT * EXCLUDE (file_row_number) FROM written").df()
    if spec.event_time:
        frame = frame[frame[spec.event_time] < "2013-01-08"]
    con = psycopg2.connect(database.replace("+psycopg2", ""))
    try:
        with con, con.cursor() as cursor:
            written = ", ".join(f'"{column}" {TYPES.get(types[column], types[column])}' for column in columns)
            cursor.execute(f"CREATE TABLE {source} ({written})")
            text = io.StringIO(frame.to_csv(index=False, header=False, na_rep="NA"))
            cursor.copy_expert(f"COPY {source} FROM STDIN (FORMAT csv, NULL 'NA')", text)
    finally:
        con.close()


@pytest.mark.integration
def test_flights_in_a_database_give_the_bytes_that_files_give(settings, tmp_path, postgres_url, monkeypatch) -> None:
    project = load_project(PROJECTS / "flight_delays")
    of_files = published(project, settings)
    for source in project.spec.data.sources:
        into(postgres_url, project, settings, source)
    monkeypatch.setenv("AIRFLOW_CONN_AIRPORT", postgres_url.replace("+psycopg2", ""))
    tables = {name: {"type": "sql", "connection": "airport", "table": name} for name in project.spec.data.sources}
    elsewhere = replace(settings, lake=f"file://{tmp_path / 'elsewhere'}")
    of_tables = published(flights(tmp_path / "copies", **tables), elsewhere)
    assert (of_tables.rows, of_tables.sha256) == (of_files.rows, of_files.sha256)
    assert of_tables.labels_sha256 == of_files.labels_sha256
    assert of_tables.rows > 5000


def test_weather_of_the_latest_hour_before_the_flight_is_what_pandas_finds(settings, tmp_path) -> None:
    project = flights(tmp_path / "copies", weather={"join": ["origin"], "asof": {"tolerance": "3h"}})
    rows = read_partition(published(project, settings).url)
    with as_written(project.spec.data.sources["weather"], "weather") as (con, _):
        hours = con.sql("SELECT origin, time_hour::TIMESTAMPTZ AS at, temp FROM written").df()
    hours["temp"] = pd.to_numeric(hours["temp"], errors="coerce")
    hours["at"] = pd.to_datetime(hours["at"], utc=True).astype("datetime64[us, UTC]")
    own = rows[["origin", "_event_time", "weather_temp", "weather_time_hour"]].sort_values("_event_time")
    own["_event_time"] = own["_event_time"].astype("datetime64[us, UTC]")
    expected = pd.merge_asof(
        own, hours.sort_values("at"), left_on="_event_time", right_on="at", by="origin", tolerance=pd.Timedelta("3h")
    )
    pd.testing.assert_series_equal(expected["temp"], expected["weather_temp"].astype(float), check_names=False)
    assert expected["weather_temp"].notna().mean() > 0.99
    assert (expected["weather_time_hour"] <= expected["_event_time"]).all()
