"""Where a table may stand: a prefix of a bucket is read as one."""

from __future__ import annotations

from tests.draft.conftest import orders

from updraft import files


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
