"""What Updraft uses of its libraries that they do not promise to keep: in which module, since which version, and what to check.

Each use stands in one module. The versions are pinned, so nothing changes by itself: when a pin moves, a test fails with the words that
stand here, and ``updraft doctor`` tells of an environment that has another version. Go through ``check``, then change the version here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version


@dataclass(frozen=True, kw_only=True)
class Borrowed:
    """One use of something that a library keeps to itself."""

    module: str
    """The only module with it, as a path from the root of the checkout."""
    distribution: str
    checked: str
    """The version with which it was tried."""
    names: tuple[str, ...]
    """What is used."""
    why: str
    upstream: str
    """Where the library's people talk about it."""
    check: str
    """What to look at, and which tests show it, when the version is another one."""

    def __str__(self) -> str:
        return (
            f"{self.module} relies on {', '.join(self.names)} of {self.distribution} {self.checked}, because {self.why} "
            f"({self.upstream}). With another version: {self.check}"
        )


BORROWED = (
    Borrowed(
        module="plugins/updraft_airflow/executor.py",
        distribution="apache-airflow-core",
        checked="3.3.2",
        names=(
            "activity_queue._rlock",
            "result_queue._reader",
            "_unread_messages",
            "_check_workers",
            "_process_workloads",
        ),
        why="LocalExecutor lets the scheduler sleep while a task has ended, and stops for ever when a worker is killed with the queue's lock",
        upstream="https://github.com/apache/airflow/issues/70526, https://github.com/apache/airflow/issues/70543",
        check="whether its queues are still SimpleQueues with one lock, whether a drain thread reads them now, and whether it has a "
        "`revoke_task`; tests/plugins/test_executor.py",
    ),
    Borrowed(
        module="plugins/updraft_airflow/triggers/pod.py",
        distribution="apache-airflow-providers-cncf-kubernetes",
        checked="10.25.0",
        names=("_get_pod", "_wait_for_pod_start_within_deadline"),
        why="a pod that was deleted between two looks cannot be asked where it ran, nor one whose container cannot be made waited for",
        upstream="https://github.com/apache/airflow/issues/66715, https://github.com/apache/airflow/pull/56976",
        check="whether KubernetesPodTrigger still reads the pod through `_get_pod`; tests/plugins/test_pod_trigger.py, tests/k8s/test_pod_faults.py",
    ),
    Borrowed(
        module="plugins/updraft_airflow/pod_log.py",
        distribution="apache-airflow-providers-cncf-kubernetes",
        checked="10.25.0",
        names=("_hook", "_emit_container_logs"),
        why="the lines of a pod are asked for by seconds that are counted when the cluster answers: behind a busy one, some are lost",
        upstream="https://github.com/apache/airflow/pull/57531",
        check="whether the lines that were read are told by their own times; tests/plugins/test_pod_log.py",
    ),
    Borrowed(
        module="plugins/updraft_airflow/operators/pod.py",
        distribution="apache-airflow-providers-cncf-kubernetes",
        checked="10.25.0",
        names=("convert_config_file_to_dict", "_config_dict", "_write_logs"),
        why="the operator sends the worker's KUBECONFIG to the triggerer, and the connection alone says which cluster it is",
        upstream="https://github.com/apache/airflow/pull/46639",
        check="whether `_config_dict` is still what goes to the trigger as config_dict; tests/k8s/test_training_in_pods.py",
    ),
    Borrowed(
        module="include/updraft/search/study.py",
        distribution="optuna",
        checked="5.0.0",
        names=(
            "get_study_id_from_name",
            "get_trial_id_from_study_id_trial_number",
            "set_trial_intermediate_value",
            "set_trial_user_attr",
        ),
        why="a trial is reported by another process than the one that asked for it, and Optuna's Study has no way to do that for a running trial",
        upstream="https://github.com/optuna/optuna/issues/6365, https://github.com/optuna/optuna/issues/5647",
        check="whether storages still have these methods, and whether Study can get a trial by its number; tests/search/test_study.py",
    ),
    Borrowed(
        module="include/updraft/monitoring/drift_table.py",
        distribution="evidently",
        checked="0.7.23",
        names=("evidently.core", "evidently.legacy", "get_legacy_metric", "nbextension/static/index.js"),
        why="the preset computes each column three times, and its page loads the script from elsewhere or repeats the data",
        upstream="https://github.com/evidentlyai/evidently/issues/1526, https://github.com/evidentlyai/evidently/issues/591",
        check="whether `evidently.legacy` is still there, and whether `window.drawDashboard` draws; tests/monitoring/test_report.py, "
        "tests/e2e/test_pages_in_a_browser.py",
    ),
    Borrowed(
        module="include/updraft/data/gx.py",
        distribution="great-expectations",
        checked="1.24.1",
        names=("Expectation._validate", "get_expectation_impl"),
        why="its metrics on SQLAlchemy cost a quarter of a second of Python, and DuckDB is no dialect of its own; there is no public way to "
        "have metrics judged that were measured elsewhere",
        upstream="https://github.com/fivetran/great_expectations/issues/11579, https://github.com/fivetran/great_expectations/pull/12084",
        check="whether `_validate` still takes metrics by name, and whether there is a DuckDB engine of its own now; tests/data/test_gx.py",
    ),
    Borrowed(
        module="include/updraft/data/snapshots.py",
        distribution="dvc",
        checked="3.67.1",
        names=("dvc.repo.Repo", "stage.outs[0].hash_info"),
        why="dvc.api reads only: to add and push there is the command line, a process each, or this class",
        upstream="https://github.com/treeverse/dvc/issues/7071, https://github.com/treeverse/dvc/issues/2690",
        check="whether `Repo.add` still returns stages whose first output has the hash; tests/data/test_snapshots.py",
    ),
    Borrowed(
        module="include/updraft/stack/supervision.py",
        distribution="supervisor",
        checked="4.3.0",
        names=("SupervisorTransport._get_connection", "UnixStreamHTTPConnection.socketfile"),
        why="its transport cannot be given a timeout, and waits for ever for a manager that stands still",
        upstream="https://github.com/Supervisor/supervisor/issues/653",
        check="whether the transport takes a timeout now, and still calls `_get_connection`; tests/stack/test_stack_parts.py",
    ),
)


def installed(distribution: str) -> str | None:
    """The version that this environment has of a distribution; None when it has none."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def untried() -> Iterator[Borrowed]:
    """The uses whose library is here in another version than the one with which they were tried."""
    for use in BORROWED:
        if installed(use.distribution) not in (use.checked, None):
            yield use
