from __future__ import annotations

import json

import pytest

from updraft.errors import TrainingError
from updraft.jobs.contract import TrainingRequest

REQUEST = {
    "project": "flights",
    "key": "2013-01-28T0500",
    "window": ["2013-01-14T0500", "2013-01-21T0500", "2013-01-28T0500"],
    "holdout": ["2013-01-28T0500"],
    "snapshot_url": "file:///lake/s.json",
    "snapshot_sha256": "a" * 64,
    "features_sha256": "b" * 64,
    "output_url": "file:///lake/out",
}


def request(**changes):
    return TrainingRequest.model_validate({**REQUEST, **changes})


def test_the_hash_is_of_what_determines_the_model():
    same = request(
        output_url="s3://x/y", tracking_uri="http://x", tags={"a": "b"}, experiment="e", run_name="r", code_commit="c"
    )
    assert same.request_sha256 == request().request_sha256
    for change in (
        {"params": {"max_depth": 3}},
        {"seed": 2},
        {"threads": 3},
        {"holdout": []},
        {"snapshot_sha256": "c" * 64},
        {"features_sha256": "c" * 64},
        {"task": "regression"},
        {"project": "other"},
    ):
        assert request(**change).request_sha256 != request().request_sha256, change


def test_a_model_of_a_gpu_has_another_hash_and_one_of_the_cpu_the_same_however_it_was_asked_for():
    assert request(device="cpu").request_sha256 == request().request_sha256 == request().on("cpu").request_sha256
    assert request().on("cuda").request_sha256 == request(device="cuda").request_sha256 != request().request_sha256


def test_a_request_reads_back_equal(tmp_path):
    url = request(params={"max_depth": 3, "eta": 0.1, "x": True}).write(f"file://{tmp_path}/a b/request.json")
    assert TrainingRequest.read(url) == request(params={"max_depth": 3, "eta": 0.1, "x": True})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"holdout": ["2013-01-14T0500"]}, "must be the last keys of the window"),
        ({"holdout": REQUEST["window"]}, "leaves nothing of the window"),
        ({"window": list(reversed(REQUEST["window"]))}, "keys must be in order"),
        ({"snapshot_sha256": "short"}, "snapshot_sha256"),
        ({"trainer": "forest"}, "trainer"),
        ({"colour": "red"}, "colour: Extra inputs"),
    ],
)
def test_a_wrong_request_names_file_and_key(tmp_path, changes, message):
    path = tmp_path / "request.json"
    path.write_text(json.dumps({**REQUEST, **changes}))
    with pytest.raises(TrainingError, match=message) as caught:
        TrainingRequest.read(str(path))
    assert str(path) in str(caught.value)


def test_a_request_that_is_missing_or_no_json_is_named(tmp_path):
    with pytest.raises(TrainingError, match=r"none.json: there is no such file"):
        TrainingRequest.read(str(tmp_path / "none.json"))
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(TrainingError, match=r"bad.json: not a TrainingRequest: .*JSON"):
        TrainingRequest.read(str(tmp_path / "bad.json"))
