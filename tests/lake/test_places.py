"""The addresses of the lake, held against what else names them: the rights of a training's pod, and what was written before."""

from __future__ import annotations

import json
import re
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from updraft.lake.places import PAGES, Lake, folder_name

LAKE = Lake("s3://bucket/lake", "flights")
RIGHTS = json.loads((Path(__file__).parents[2] / "docker" / "s3" / "trainer.json").read_text())


def allowed(action: str) -> list[str]:
    """Patterns of what a pod's key may do that to."""
    statements = [each for each in RIGHTS["Statement"] if action in each["Action"]]
    return [
        pattern.rpartition(":::")[2].replace("${LAKE}/${PROJECT}", LAKE.url)
        for statement in statements
        for pattern in statement["Resource"]
    ]


def may(action: str, url: str) -> bool:
    return any(fnmatchcase(url, pattern) for pattern in allowed(action))


def test_a_pod_may_write_what_a_training_leaves_and_neither_its_request_nor_its_code():
    folder = LAKE.training("run-1")
    left = [folder.result, folder.error(), folder.error(3), folder.holdout, f"{folder.model}/meta.json", folder.usage()]
    assert [url for url in left if not may("s3:PutObject", url)] == []
    assert may("s3:PutObject", folder.usage(2))
    for url in (folder.request, folder.features_source, folder.card, LAKE.proof_stem("run-1") + "-1.parquet"):
        assert not may("s3:PutObject", url), url


def test_a_pod_may_read_what_it_learns_from_and_removes_checkpoints_alone():
    folder = LAKE.training("run-1")
    features, labels = LAKE.at(LAKE.features_place("a" * 64, "k", "b" * 64)), LAKE.labels_stem("k") + "-1.parquet"
    for url in (folder.request, folder.features_source, features, labels, LAKE.snapshot("c" * 64)):
        assert may("s3:GetObject", url), url
    assert may("s3:DeleteObject", f"{folder.checkpoint}/proof.json")
    assert not may("s3:DeleteObject", folder.result)
    assert not may("s3:GetObject", LAKE.fit("f").proof)
    for url in (LAKE.rows_stem("k") + "-1.parquet", LAKE.quarantine("k", "orders"), f"{LAKE.dvc}/files/md5/a"):
        assert not may("s3:GetObject", url), url


def test_each_address_is_its_own():
    first, other = LAKE.training("run-1"), LAKE.training("run-2")
    urls = [first.request, first.result, first.error(), first.error(1), first.usage(), first.usage(1), first.scratch()]
    urls += [first.scratch(1), first.model, first.holdout, first.checkpoint, first.card, first.features_source]
    assert len(set(urls)) == len(urls)
    assert not set(urls) & {other.request, other.result, other.error(), other.usage()}


def test_pages_are_the_published_parts():
    pages = [LAKE.docs("k"), LAKE.report("k"), LAKE.evidence("r"), LAKE.search("s").page]
    assert sorted({re.sub(f"^{LAKE.url}/", "", url).split("/")[0] for url in pages}) == sorted(PAGES)


@pytest.mark.parametrize("root", ["file:///srv/lake", "s3://bucket/reports/releases/lake"])
def test_a_page_of_the_lake_has_the_same_address_in_the_app_wherever_the_lake_stands(root):
    there, app = Lake(root, "flights"), Lake("/updraft/files", "flights")
    assert app.same_page("reports", there.report("k")) == app.report("k")
    assert app.same_page("releases", there.evidence("r")) == app.evidence("r")


def test_a_url_of_another_part_is_no_page_of_this_one():
    assert LAKE.same_page("reports", LAKE.docs("k")) is None
    assert LAKE.same_page("reports", "") is None


@pytest.mark.parametrize("run", ["manual__2013-01-07T05:00:00+00:00", "search.trial-3", "a" * 250])
def test_an_id_of_airflow_keeps_its_letters(run):
    assert folder_name(run) == re.sub(r"[:+~]", "_", run)
