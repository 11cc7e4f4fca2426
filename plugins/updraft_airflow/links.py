"""Links from a task to what it made: pages of MLflow, data docs, reports, evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar
from urllib.parse import quote

from airflow.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey

FILES = "/updraft/files"
"""Route of the plugin's app that shows the lake's pages to people who are signed in."""


PICTURE = "picture"
"""Key of the URL of a release's picture, in what a task returns or pushes."""


class _Link(BaseOperatorLink):
    """Reads what the task left in XCom and makes an address of it; empty while there is nothing."""

    name: ClassVar[str]

    @property
    def xcom_key(self) -> str:
        """Key under which the worker stores the finished link."""
        return f"_link_{type(self).__name__}"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """The address, asked for when the task has finished."""
        from airflow.sdk.execution_time.xcom import XCom

        returned = XCom.get_value(ti_key=ti_key, key="return_value")
        return self.address(operator, returned if isinstance(returned, dict) else {}, ti_key) or ""

    def address(self, operator: BaseOperator, returned: dict[str, object], ti_key: TaskInstanceKey) -> str | None:
        """The address from what the task returned."""
        raise NotImplementedError(type(self).__name__)


def elsewhere(returned: dict[str, object], key: str) -> str | None:
    """The address of another server's page; None where it is none.

    It may come from a training's result, and the UI makes a link of it: no script may stand there in place of an address.
    """
    url = str(returned.get(key) or "")
    return url if url.startswith(("http://", "https://")) else None


def _project(operator: BaseOperator) -> str:
    return str(operator.project)


class DataDocsLink(_Link):
    """The partition's data docs."""

    name = "Data docs"

    def address(self, operator: BaseOperator, returned: dict[str, object], ti_key: TaskInstanceKey) -> str | None:
        """Page of the partition's contract."""
        from updraft.lake.places import Lake

        key = str(returned.get("key") or "")
        return Lake(FILES, _project(operator)).docs(key) if key else None


class ReportLink(_Link):
    """The Evidently report."""

    name = "Evidently report"

    def address(self, operator: BaseOperator, returned: dict[str, object], ti_key: TaskInstanceKey) -> str | None:
        """Page of the report."""
        from updraft.lake.places import Lake

        return Lake(FILES, _project(operator)).same_page("reports", str(returned.get("report") or ""))


class EvidenceLink(_Link):
    """The picture of a release's evidence."""

    name = "Evidence"

    def address(self, operator: BaseOperator, returned: dict[str, object], ti_key: TaskInstanceKey) -> str | None:
        """The picture."""
        from airflow.sdk.execution_time.xcom import XCom

        # An approval returns Airflow's own answer, so the picture stands beside it.
        return self.page(
            _project(operator), str(returned.get(PICTURE) or XCom.get_value(ti_key=ti_key, key=PICTURE) or "")
        )

    @staticmethod
    def page(project: str, url: str) -> str | None:
        """The page that shows a picture of the lake to people who are signed in."""
        from updraft.lake.places import Lake

        return Lake(FILES, project).same_page("releases", url)


class RunLink(_Link):
    """The MLflow run of a training."""

    name = "MLflow run"

    def address(self, operator: BaseOperator, returned: dict[str, object], ti_key: TaskInstanceKey) -> str | None:
        """Page of the run."""
        return elsewhere(returned, "mlflow_url")


class VersionLink(_Link):
    """The model version in MLflow."""

    name = "Model version"

    def address(self, operator: BaseOperator, returned: dict[str, object], ti_key: TaskInstanceKey) -> str | None:
        """Page of the version."""
        return elsewhere(returned, "version_url")


class CardLink(_Link):
    """The model card."""

    name = "Model card"

    def address(self, operator: BaseOperator, returned: dict[str, object], ti_key: TaskInstanceKey) -> str | None:
        """Page of the card."""
        return elsewhere(returned, "card")


class SearchLink(_Link):
    """What a search tried and found."""

    name = "Search"

    def address(self, operator: BaseOperator, returned: dict[str, object], ti_key: TaskInstanceKey) -> str | None:
        """Page of the search."""
        from updraft.lake.places import Lake

        run = str(returned.get("search") or "")
        return Lake(FILES, _project(operator)).search(run).page if run else None


class LearningLink(_Link):
    """What the project learns from, what is kept out and why."""

    name = "Learning"

    def address(self, operator: BaseOperator, returned: dict[str, object], ti_key: TaskInstanceKey) -> str | None:
        """Page of the project."""
        return f"/updraft/learning/{_project(operator)}"


class PodLink(_Link):
    """The pods of a training: node, image, what each got, how each ended, and the result."""

    name = "Pod"

    @staticmethod
    def page(project: str, run: str) -> str:
        """Page of a run's pods."""
        return f"/updraft/pods/{project}/{quote(run, safe='')}"

    def address(self, operator: BaseOperator, returned: dict[str, object], ti_key: TaskInstanceKey) -> str | None:
        """Page of the run's pods, from the moment that the first one is made."""
        from updraft.lake.places import trial_run

        mapped = ti_key.map_index >= 0
        return self.page(_project(operator), trial_run(ti_key.run_id, ti_key.map_index) if mapped else ti_key.run_id)
