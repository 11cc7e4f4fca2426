"""The little of Airflow's REST API that a replay needs. A server that is away for a while is waited for."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from updraft.airflow_api import AirflowApi, AirflowRefused

PATIENCE = 180.0
"""Seconds for which a server may be away: its supervisor starts it again."""


class AirflowClient:
    """Airflow's public API, as one user of the deployment."""

    def __init__(self, base: str, sign_in: Callable[[], AirflowApi]) -> None:
        """
        :param base: address of the API server.
        :param sign_in: called at first, and again whenever its access is half used up.
        """
        self.base, self._sign_in = base, sign_in
        self._api: AirflowApi | None = None
        self._signed_in_at = 0.0

    @property
    def headers(self) -> dict[str, str]:
        """What signs a request of this user."""
        return self._signed_in().headers

    def call(self, method: str, path: str, body: Any = None, *, accept: tuple[int, ...] = (), **query: Any) -> Any:
        """One call; the JSON that comes back, or None when the status is one of ``accept``.

        It may arrive twice, when a connection broke off: what is not to happen twice needs a status in ``accept``.

        :raises StackError: when the server stays away or refuses.
        """
        try:
            try:
                return self._signed_in().call(method, path, body, **query)
            except AirflowRefused as error:
                if error.status != 401:
                    raise
                self._api = None  # the session has ended: sign in again, once
                return self._signed_in().call(method, path, body, **query)
        except AirflowRefused as error:
            if error.status in accept:
                return None
            raise

    def _signed_in(self) -> AirflowApi:
        now = time.monotonic()
        if self._api is None or now - self._signed_in_at > self._api.lasts / 2:
            self._api, self._signed_in_at = replace(self._sign_in(), patience=PATIENCE), now
        return self._api

    # -- runs ------------------------------------------------------------------------------------------------------

    def start(
        self, dag: str, run: str, *, partition: str | None = None, form: dict[str, Any] | None = None, note: str = ""
    ) -> bool:
        """Start a run with this id; False when it is there already."""
        body = {"dag_run_id": run, "logical_date": None, "partition_key": partition, "conf": form or {}, "note": note}
        return self.call("POST", f"/dags/{dag}/dagRuns", body, accept=(409,)) is not None

    def run(self, dag: str, run: str) -> dict[str, Any] | None:
        """One run, or None."""
        answer: dict[str, Any] | None = self.call("GET", f"/dags/{dag}/dagRuns/{quote(run, safe='')}", accept=(404,))
        return answer

    def open_runs(self, dags: list[str]) -> list[dict[str, Any]]:
        """Runs that have not ended."""
        body = {"dag_ids": dags, "states": ["queued", "running"], "page_limit": 100}
        return list(self.call("POST", "/dags/~/dagRuns/list", body)["dag_runs"])

    def tasks(self, dags: list[str], states: list[str]) -> list[dict[str, Any]]:
        """Task instances in some states."""
        body = {"dag_ids": dags, "state": states, "page_limit": 100}
        return list(self.call("POST", "/dags/~/dagRuns/~/taskInstances/list", body)["task_instances"])

    def clear_failed(self, dag: str, run: str) -> None:
        """Clear the failed tasks of a run, so that they are tried again."""
        body = {"dry_run": False, "only_failed": True}
        self.call("POST", f"/dags/{dag}/dagRuns/{quote(run, safe='')}/clear", body)

    def answer(self, task: dict[str, Any], option: str) -> None:
        """Answer a task that waits for a person."""
        where = f"/dags/{task['dag_id']}/dagRuns/{quote(task['dag_run_id'], safe='')}/taskInstances/{task['task_id']}/{task['map_index']}"
        self.call("PATCH", f"{where}/hitlDetails", {"chosen_options": [option], "params_input": {}}, accept=(409,))

    def dags(self, pattern: str) -> list[str]:
        """Ids of the DAGs that Airflow has parsed."""
        return [dag["dag_id"] for dag in self.call("GET", "/dags", dag_id_pattern=pattern, limit=100)["dags"]]
