"""What stands in for the DAGs of a project whose folder is broken."""

from __future__ import annotations

from typing import Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException


class ShowProblems(BaseOperator):
    """Fails with every problem of the project's folder."""

    def __init__(self, *, problems: list[str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.problems = problems

    def execute(self, context: Any) -> None:
        """:raises AirflowFailException: always, with the problems."""
        raise AirflowFailException("the project is broken:\n" + "\n".join(self.problems))
