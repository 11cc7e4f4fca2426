"""The store: what was published, measured, decided. Every write is idempotent by its key; the first one stays.

One face over the subjects, each in a module of its own: :class:`Store` has the questions and the writes of all of them.
"""

from __future__ import annotations

import sqlalchemy as sa

from updraft.errors import IntegrityError
from updraft.store import state
from updraft.store import tables as t
from updraft.store.base import Witness, lock
from updraft.store.chain import chain_problem
from updraft.store.episodes import Episodes
from updraft.store.measurements import Measurements
from updraft.store.partitions import Partitions, partitions_lock
from updraft.store.releases import Releases
from updraft.store.sensors import Sensors
from updraft.store.signs import Signs
from updraft.store.trainings import Trainings


class Store(Partitions, Measurements, Releases, Episodes, Signs, Trainings, Sensors):
    """One project's or many projects' history behind one SQLAlchemy engine."""

    @classmethod
    def open(cls, url: str, witness: Witness | None = None) -> Store:
        """Connect to a store whose schema is there already (``updraft.store.migrations.upgrade``).

        :param witness: of every decision; whoever decides in a deployment has one.
        """
        return cls(sa.create_engine(url, pool_pre_ping=True, pool_size=2, max_overflow=4), witness)

    @classmethod
    def in_memory(cls) -> Store:
        """A store of this process alone, for a backtest."""
        engine = sa.create_engine("sqlite://", poolclass=sa.pool.StaticPool, connect_args={"check_same_thread": False})
        t.metadata.create_all(engine)
        return cls(engine)

    def close(self) -> None:
        """Give the connections back."""
        self.engine.dispose()

    def state_problems(self, project: str) -> list[str]:
        """In what the kept state differs from what follows from the chain, in words; nothing when it is equal."""
        engine = self.engine
        if engine.dialect.name == "postgresql":  # chain and state as of one moment, whatever is decided meanwhile
            engine = engine.execution_options(isolation_level="REPEATABLE READ")
        with engine.connect() as connection:
            return state.differences(connection, project, self._links(connection, project, state.CHANGING))

    def rewrite_state(self, project: str) -> None:
        """Write the kept state anew from the chain, while nothing is decided or ingested.

        :raises IntegrityError: when the chain itself is broken: nothing follows from it then.
        """
        with self.writing(project) as writing:
            lock(writing.connection, partitions_lock(project))
            chain = self._links(writing.connection, project)
            if problem := chain_problem(chain):
                raise IntegrityError(f"{project}: {problem}")
            state.rewrite(writing.connection, project, chain)
