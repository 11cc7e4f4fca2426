"""Where a table may stand: a prefix of a bucket is read as one."""

from __future__ import annotations

import pandas as pd
import pytest
import sqlalchemy as sa
from tests.draft.conftest import orders

from updraft import files
from updraft.data.ingest import extract_partition, publish_partition, validate_partition
from updraft.data.partitions import partitions


def test_a_prefix_of_a_bucket_is_all_its_files_of_one_kind(drafting, object_store):
    """A real S3 server: the files below the prefix are found, read as one, and named by a pattern in project.yaml."""
    folder = f"{object_store.lake}/init/shop"
    rows = orders()
    for number, part in enumerate((rows.iloc[:600], rows.iloc[600:])):
        files.write_bytes(f"{folder}/part-{number}.csv", part.to_csv(index=False).encode())
    files.write_bytes(f"{folder}/deeper/other.parquet", b"nothing that is looked at")
    assert drafting.drafted(folder, "--yes")["rows"] == len(rows)
    [source] = drafting.project.spec.data.sources.values()
    assert source.url == f"{folder}/*.csv"
    assert "no such file or folder" in drafting.init(f"{folder}/none/", name="other").stderr
    files.write_bytes(f"{folder}/part-2.parquet", b"")
    assert "several kinds" in drafting.init(f"{folder}/", name="other").stderr


@pytest.mark.integration
def test_a_table_of_a_database_is_drafted_and_read_where_it_stands(drafting, postgres_url, monkeypatch):
    """A real PostgreSQL: the project reads the table by its connection, and no file of it has the address."""
    rows, address = orders(), postgres_url.replace("+psycopg2", "")
    engine = sa.create_engine(postgres_url)
    typed = rows.assign(placed=pd.to_datetime(rows["placed"], utc=True))
    typed.to_sql("orders", engine, index=False)
    engine.dispose()
    assert 'relation "none" does not exist' in drafting.init(f"{address}?table=none", name="other").stderr
    said = drafting.drafted(f"{address}?table=public.orders", "--yes")
    assert said["rows"] == len(rows)
    [(name, source)] = drafting.project.spec.data.sources.items()
    assert (name, source.type, source.table) == ("orders", "sql", "public.orders")
    assert all("127.0.0.1" not in file.read_text() for file in drafting.project.folder.iterdir() if file.is_file())
    monkeypatch.setenv(f"AIRFLOW_CONN_{source.connection.upper()}", address)
    key = list(partitions(drafting.project.spec))[1].key
    extract_partition(drafting.project, drafting.settings, key)
    validate_partition(drafting.project, drafting.settings, key)
    assert publish_partition(drafting.project, drafting.settings, key).rows > 0
