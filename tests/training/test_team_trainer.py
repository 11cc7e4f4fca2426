"""A team's own trainer stands beside the others as soon as its package is installed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.training_case import write_request

from updraft.errors import SpecError
from updraft.jobs.run import run_training
from updraft.spec import schema, trainers
from updraft.training.model import load_model
from updraft.training.recipe import Recipe

PACKAGE = Path(__file__).resolve().parents[1] / "support" / "team_trainer"


@pytest.fixture
def installed(monkeypatch):
    def forget():
        trainers._of_teams.cache_clear()
        trainers.team_trainer.cache_clear()

    forget()
    monkeypatch.syspath_prepend(str(PACKAGE))
    yield
    forget()


@pytest.mark.usefixtures("installed")
def test_a_request_names_it_and_its_model_is_loaded_again(tmp_path):
    request = write_request(str(tmp_path), trainer="majority", params={"shift": 0.1})
    request.write(f"{tmp_path}/request.json")
    result = run_training(f"{tmp_path}/request.json")
    assert result.environment.keys() == {"python", "numpy", "pandas", "pyarrow"}
    model = load_model(result.model_url, result.model_sha256)
    assert model.trainer == "majority"
    assert {path.name for path in Path(result.model_url.removeprefix("file://")).iterdir()} >= {"model.json"}
    again = replace(Recipe(trainer="majority", params={"shift": 0.1}), seed=2)
    assert again.rounds == 1


@pytest.mark.usefixtures("installed")
def test_its_parameters_are_checked_and_its_name_is_listed():
    with pytest.raises(Exception, match="is called `shift` here"):
        Recipe(trainer="majority", params={"offset": 1})
    assert "majority" in trainers.TRAINERS
    names = {name for name in trainers.TRAINERS if name != "broken"}
    assert names == {"xgboost", "lightgbm", "sklearn", "torch", "majority"}


@pytest.mark.usefixtures("installed")
def test_one_that_cannot_be_loaded_says_so():
    with pytest.raises(SpecError, match=r"the trainer broken \(our_majority:NOBODY\) cannot be loaded: AttributeError"):
        trainers.TRAINERS["broken"]


def test_without_the_package_its_name_is_none_and_the_schema_knows_the_built_in_ones():
    assert "majority" not in trainers.TRAINERS
    listed = json.loads(schema.text())["$defs"]["Trainer"]["properties"]["name"]["enum"]
    assert listed == list(trainers.TRAINERS)
