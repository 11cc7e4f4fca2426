"""The addresses in the lake, in one place: what the loop keeps of a project, and the folder of each training.

A name made here is a contract: ``docker/s3/trainer.json`` lets a training's pod write to some of a run's files and to nothing else.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from updraft import files

PAGES = ("docs", "reports", "releases", "searches")
"""Parts of a project's lake that are published pages. Raw data and predictions are not."""

SOURCES = "sources"
"""Folder of a raw zone that holds each source's content once, beside one folder for each partition."""

_SEASON = "season-"


@dataclass(frozen=True)
class RunFolder:
    """The files of one training, below the ``output_url`` of its request."""

    url: str

    @property
    def request(self) -> str:
        """What the training is asked for."""
        return f"{self.url}/request.json"

    @property
    def features_source(self) -> str:
        """The feature function that it learns with; the lake's copy, as the training may run where the project's folder is not."""
        return f"{self.url}/features.py"

    @property
    def result(self) -> str:
        """What it leaves when it ends well; written last."""
        return f"{self.url}/result.json"

    def error(self, worker: int = 0) -> str:
        """Why one of its workers failed."""
        return f"{self.url}/error-{worker}.json" if worker else f"{self.url}/error.json"

    @property
    def model(self) -> str:
        """Folder of the model."""
        return f"{self.url}/model"

    @property
    def holdout(self) -> str:
        """Predictions of the holdout by the proof model."""
        return f"{self.url}/holdout.parquet"

    @property
    def checkpoint(self) -> str:
        """Folder of how far it has come; it goes when the result is there."""
        return f"{self.url}/checkpoint"

    def usage(self, worker: int = 0) -> str:
        """What one of its workers used so far; those of the others go with the checkpoint."""
        return f"{self.checkpoint}/worker-{worker}/usage.json" if worker else f"{self.url}/usage.json"

    def scratch(self, worker: int = 0) -> str:
        """Folder for what a worker needs while it learns from disk."""
        return f"{self.url}/scratch-{worker}" if worker else f"{self.url}/scratch"

    @property
    def card(self) -> str:
        """The model card."""
        return f"{self.url}/card.html"


@dataclass(frozen=True)
class FitFolder:
    """What follows from a plan's recipe and data, whoever asks for it."""

    lake: Lake
    name: str
    """From the content of all that the plan's model depends on."""

    @property
    def url(self) -> str:
        """URL of the folder."""
        return f"{self.lake.url}/{self._place}"

    @property
    def proof(self) -> str:
        """Walk-forward predictions of the holdout."""
        return f"{self.url}/proof.parquet"

    @property
    def model(self) -> str:
        """Folder of a backtest's own model."""
        return f"{self.url}/model"

    @property
    def checkpoint(self) -> str:
        """Folder of how far a refit trial has come."""
        return f"{self.url}/checkpoint"

    @property
    def proof_note(self) -> str:
        """Place of the sealed note with the proof's hash."""
        return f"{self._place}/proof.parquet.sha256"

    @property
    def model_note(self) -> str:
        """Place of the sealed note with the hash of the backtest's model."""
        return f"{self._place}/model.sha256"

    @property
    def training_note(self) -> str:
        """Place of the sealed note of where the training of the same plan left its model and its proof."""
        return f"{self._place}/training.json"

    @property
    def _place(self) -> str:
        return f"fits/{self.name}"


@dataclass(frozen=True)
class SearchFolder:
    """The files of one search for parameters."""

    url: str

    @property
    def summary(self) -> str:
        """What came of it, as JSON."""
        return f"{self.url}/summary.json"

    @property
    def page(self) -> str:
        """The same as HTML."""
        return f"{self.url}/{SEARCH_PAGE}"


SEARCH_PAGE = "index.html"


@dataclass(frozen=True)
class DocsIndex:
    """An index of data docs, for people and for the next partition: of one month, or of all months."""

    url: str
    """URL of its folder."""

    @property
    def page(self) -> str:
        """The page for people."""
        return f"{self.url}/{DOCS_PAGE}"

    @property
    def sums(self) -> str:
        """What the page shows, as JSON."""
        return f"{self.url}/{DOCS_SUMS}"

    def summary(self, key: str) -> str:
        """What a month's index tells of a partition, as that partition's own run wrote it."""
        return f"{self.url}/{key}.json"


DOCS_PAGE, DOCS_SUMS = "index.html", "index.json"


@dataclass(frozen=True)
class Lake:
    """One project's part of a lake. A *place* is an address below :attr:`url`; sealed notes are named by it."""

    root: str
    """URL of the whole lake."""
    project: str

    @property
    def url(self) -> str:
        """URL of the project's part."""
        return f"{self.root}/{self.project}"

    def at(self, place: str) -> str:
        """URL of a place."""
        return f"{self.url}/{place}"

    def features_place(self, code_sha256: str, key: str, rows_sha256: str | None) -> str:
        """A partition's features by one feature function; another content of the partition has another place."""
        return f"features/{code_sha256[:12]}/{key}-{(rows_sha256 or '')[:8]}.parquet"

    def reference_place(self, key: str, made_of_sha256: str) -> str:
        """The sealed reference of drift whose newest partition is ``key``."""
        return f"references/{key}-{made_of_sha256[:16]}.json"

    def season_place(self, week: str, made_of_sha256: str) -> str:
        """The sealed reference of drift of a season, by the first day of the week that it was read in."""
        return f"references/{_SEASON}{week}-{made_of_sha256[:16]}.json"

    def season_places(self) -> list[str]:
        """Every such reference that is kept: their names tell nothing of the partitions that they were made of."""
        names = files.names_below(self.at("references"))
        return [f"references/{name}" for name in names if name.startswith(_SEASON)]

    def baseline_place(self, key: str, made_of_sha256: str) -> str:
        """The sealed baseline of the feed, of a champion whose newest partition is ``key``."""
        return f"baselines/{key}-{made_of_sha256[:16]}.json"

    def ingested_place(self, key: str) -> str:
        """The sealed note of what ingestion made of a partition, for a backtest."""
        return f"ingested/{key}.json"

    def predictions_stem(self, key: str, role: str, version: str) -> str:
        """Predictions of a partition, but for the end of their name, which comes from their content."""
        return self.at(f"predictions/{key}/{role}-v{version}")

    def training(self, run: str) -> RunFolder:
        """The folder of a training."""
        return RunFolder(self.at(f"trainings/{folder_name(run)}"))

    def proof_stem(self, run: str) -> str:
        """A training's proof as it was held against its snapshot, but for the end of its name. No training can write here."""
        return self.at(f"proofs/{folder_name(run)}/holdout")

    def of_origin(self, run: str, name: str) -> str:
        """A file that came with a version of another environment. No training can write here."""
        return self.at(f"proofs/{folder_name(run)}/origin-{name}")

    def fit(self, name: str) -> FitFolder:
        """What follows from a plan."""
        return FitFolder(self, name)

    def search(self, run: str) -> SearchFolder:
        """The folder of a search."""
        return SearchFolder(self.at(f"searches/{folder_name(run)}"))

    @property
    def schema_lock(self) -> str:
        """What a process holds that writes a schema."""
        return self.at("schema/.writing")

    @property
    def classes(self) -> str:
        """The label's classes as they were when its first labels were published. No source has such a name: theirs have no hyphen."""
        return self.at("schema/label-classes.json")

    def schema(self, source: str) -> str:
        """The pinned types of a source."""
        return self.at(f"schema/{source}.json")

    def rows_stem(self, key: str) -> str:
        """The published rows of a partition, but for the end of their name."""
        return self.at(f"partitions/{key}")

    def labels_stem(self, key: str) -> str:
        """The labels that matured at a partition's tick, but for the end of their name."""
        return self.at(f"labels/{key}")

    def quarantine(self, key: str, source: str) -> str:
        """The rows of a partition's source that broke the contract."""
        return self.at(f"quarantine/{key}/{source}.parquet")

    def pseudonym_pairs(self, key_id: str, key: str) -> str:
        """Which pseudonym of a partition was which with a key before the last rotation, until that key is destroyed."""
        return f"{self.pseudonym_pairs_of(key_id)}/{key}.parquet"

    def pseudonym_pairs_of(self, key_id: str) -> str:
        """Folder of all such pairs with a key."""
        return self.at(f"pseudonyms/{key_id}")

    def settled_stem(self, key: str) -> str:
        """A list of rows in quarantine of which a person has decided, but for the end of its name.

        No source has such a name: theirs have no hyphen.
        """
        return self.at(f"quarantine/{key}/settled")

    def settled(self, key: str, sha256: str) -> str:
        """The same list by its hash."""
        return f"{self.settled_stem(key)}-{sha256[:8]}.parquet"

    def snapshot(self, sha256: str) -> str:
        """The manifest of a snapshot."""
        return self.at(f"snapshots/{sha256}.json")

    @property
    def dvc(self) -> str:
        """DVC's remote."""
        return self.at("dvc")

    def report(self, key: str) -> str:
        """The Evidently report of a partition."""
        return self.at(f"reports/{key}/evidently.html")

    def docs(self, key: str) -> str:
        """The data docs of a partition."""
        return self.at(f"docs/{key}/{DOCS_PAGE}")

    @property
    def docs_index(self) -> str:
        """The first page of the data docs."""
        return self.at(f"docs/{DOCS_PAGE}")

    @property
    def docs_of_earlier_versions(self) -> str:
        """What versions that had no months knew of all partitions."""
        return self.at(f"docs/{DOCS_SUMS}")

    @property
    def docs_months(self) -> DocsIndex:
        """The months of the data docs, each a folder in this one."""
        return DocsIndex(self.at("docs/months"))

    def docs_month(self, month: str) -> DocsIndex:
        """The data docs of a month, such as 2013-01."""
        return DocsIndex(f"{self.docs_months.url}/{month}")

    def evidence(self, release: str) -> str:
        """The picture of a release's evidence."""
        return self.at(f"releases/{release}/evidence.png")

    def same_page(self, part: str, url: str) -> str | None:
        """URL here of a page that stands in another lake of the project; None where ``url`` is no page of that part.

        :param part: one of :data:`PAGES`.
        """
        _, below, page = url.rpartition(f"/{part}/")
        return self.at(f"{part}/{page}") if below else None


def anchors_of(project: str) -> str:
    """Where the anchors of a project's decisions stand, below the lake or the place of their own that a deployment gives them."""
    return f"{project}/audit"


def folder_name(run: str) -> str:
    """A run's id as the name of a folder: of its own, inside of the place, and no longer than file systems take.

    Airflow's own ids keep their letters; what else somebody names a run is told apart by a hash.
    """
    name = re.sub(r"[^\w.-]", "_", run)
    if re.fullmatch(r"[A-Za-z0-9_.:+~-]{1,250}", run) and set(name) != {"."}:
        return name
    digest = files.sha256(run.encode("utf-8", "surrogatepass"))[:16]
    return f"{re.sub(r'[^A-Za-z0-9_-]', '_', name)[:100]}_{digest}"


def trial_run(run: str, number: int) -> str:
    """The run id under which one trial of a search trains, beside the trainings."""
    return f"{run}.trial-{number}"


def trial_of(run: str) -> tuple[str, int] | None:
    """The search and the number of a trial's run id; None for a training."""
    match = re.fullmatch(r"(.+)\.trial-([0-9]{1,6})", run, re.DOTALL)
    return (match[1], int(match[2])) if match else None
