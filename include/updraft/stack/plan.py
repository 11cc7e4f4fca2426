"""What the process manager runs: one frozen plan, written to a private file that each program's wrapper reads."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from updraft.errors import StackError
from updraft.stack import environment, postgres
from updraft.stack.layout import (
    API_SERVER,
    DAG_PROCESSOR,
    LOOPBACK,
    MLFLOW,
    POSTGRES,
    SCHEDULER,
    TRIGGERER,
    Layout,
    write_private,
)
from updraft.stack.processes import MARK
from updraft.stack.secrets import Secrets


@dataclass(frozen=True, kw_only=True)
class Program:
    """One program: what to run, as whom, with which variables, and which port must answer before."""

    command: list[str]
    env: dict[str, str] = field(repr=False)
    cwd: str
    waits_for: list[int]
    """Ports of loopback that must accept connections before the program is started."""
    user: int | None = None
    group: int | None = None


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The whole stack."""

    stack_id: str
    postgres_data: str
    programs: dict[str, Program]

    def write(self, path: Path) -> None:
        """Keep the plan, for its owner alone: it holds passwords."""
        write_private(path, json.dumps(asdict(self), indent=1))

    @classmethod
    def read(cls, path: Path) -> Plan:
        """Read a plan.

        :raises StackError: when there is none, or it is broken.
        """
        try:
            content: dict[str, Any] = json.loads(path.read_text())
            programs = {name: Program(**program) for name, program in content.pop("programs").items()}
            return cls(programs=programs, **content)
        except FileNotFoundError as error:
            raise StackError(f"{path} is missing: the stack was never started; run `make up`") from error
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise StackError(f"{path} is not a plan of this version ({error}); run `make down up`") from error


def make(
    layout: Layout, placement: postgres.Placement, ports: dict[str, int], secrets: Secrets, shared: dict[str, str]
) -> Plan:
    """Lay out every program of the stack.

    :param shared: the public environment, see :func:`updraft.stack.environment.public`.
    """
    # By one name, whichever of its links was called: plans are compared.
    python = next((str(path) for path in [Path(sys.prefix) / "bin" / "python"] if path.exists()), sys.executable)
    database, airflow_port = ports["postgres"], ports["airflow"]
    mlflow_arguments, mlflow_env = environment.of_mlflow(layout, ports, secrets)

    def program(arguments: list[str], env: dict[str, str], waits_for: list[int]) -> Program:
        return Program(command=[python, *arguments], env=env, cwd=str(layout.home), waits_for=waits_for)

    def airflow(name: str, *arguments: str, waits_for: list[int]) -> Program:
        by_itself = waits_for if name == SCHEDULER else []  # after its imports, which take longer than the others'
        env = environment.of_program(name, layout, shared, by_itself)
        return program(["-m", "airflow", name, *arguments], env, [] if by_itself else waits_for)

    # Without --skip-serve-logs each would start a web server for logs that the API server reads from disk anyway.
    api = ["--host", LOOPBACK, "--port", str(airflow_port), "--workers", "1"]
    return Plan(
        stack_id=layout.id,
        postgres_data=str(placement.data),
        programs={
            POSTGRES: Program(
                command=placement.command(database),
                env={MARK: f"{layout.id}:{POSTGRES}"},
                cwd=str(placement.data),
                waits_for=[],
                user=placement.user,
                group=placement.group,
            ),
            MLFLOW: program(mlflow_arguments, mlflow_env, [database]),
            API_SERVER: airflow(API_SERVER, *api, waits_for=[database]),
            SCHEDULER: airflow(SCHEDULER, "--skip-serve-logs", waits_for=[database, airflow_port]),
            DAG_PROCESSOR: airflow(DAG_PROCESSOR, waits_for=[database]),
            TRIGGERER: airflow(TRIGGERER, "--skip-serve-logs", waits_for=[database]),
        },
    )
