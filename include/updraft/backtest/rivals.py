"""Policies of the literature, which a backtest plays beside the project's own: each sees what the loop sees, and says when to train.

What they promote comes as it comes: no gates, no probation, no calibration layer. Each is built as far as its paper lets it be without a
stretch of stream on which every model is trained beforehand, which no deployment has.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from updraft.loop.context import Loop
from updraft.loop.labelled import unseen_by
from updraft.store.records import EpisodeRow

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PRICE = 0.08
"""What a training costs, as a share of the model's loss on one partition: it pays when it lowers the loss by 2 % over four partitions."""


@dataclass
class Scored:
    """One version and how it did on the partitions that it had not seen."""

    trained: int
    """Number of the partition at whose tick it was trained."""
    losses: dict[int, NDArray[np.float64]] = field(default_factory=dict)
    """Loss of each row with a known label, by number of the partition; those up to :attr:`trained` are its holdout."""

    def after(self) -> dict[int, float]:
        """Mean loss on each partition that came after its training."""
        return {number: float(rows.mean()) for number, rows in self.losses.items() if number > self.trained}

    def at_first(self) -> float | None:
        """Mean loss on its holdout; None when it has none."""
        before = [float(rows.mean()) for number, rows in self.losses.items() if number <= self.trained]
        return sum(before) / len(before) if before else None


class Rival(ABC):
    """When to train, from what has been served and its losses."""

    name: str

    @abstractmethod
    def calls(self, now: int, served: list[Scored]) -> bool:
        """Whether a training is called for.

        :param now: number of today's partition.
        :param served: every version that served so far, in order; the last one serves now.
        """


class Watch:
    """A rival at work in a loop: it is shown each tick, and what it calls for becomes due."""

    def __init__(self, rival: Rival) -> None:
        self._rival = rival
        self._served: dict[str, Scored] = {}

    def look(self, loop: Loop, key: str) -> None:
        """Show the rival a tick that is over."""
        champion = loop.store.serving(loop.name).champion
        training = loop.store.training_of(loop.name, champion) if champion else None
        if champion is None or training is None:
            return
        numbers = {row.key: number for number, row in enumerate(loop.store.partitions(loop.name))}
        scored = self._served.setdefault(champion, Scored(numbers[training.key]))
        for part in unseen_by(loop, champion, key):
            if len(part.label):
                scored.losses[numbers[part.key]] = loop.spec.task_type.margin_loss(part.label, part.margin)
        if scored.trained < numbers[key] and self._rival.calls(numbers[key], list(self._served.values())):
            said = {"cause": self._rival.name, "remedy": "retrain", "words": f"{self._rival.name} calls for a training"}
            loop.store.open_episode(
                EpisodeRow(
                    f"{loop.name}-{key}-rival", loop.name, key, self._rival.name, "retrain", "due", said, None, None
                )
            )


class Adwin(Rival):
    """Drift detection on the loss of what serves: a training when a newer part of its losses has a higher mean than the older part.

    Bifet, Gavaldà: Learning from time-changing data with adaptive windowing (2007), with every border between two partitions as a cut:
    ``e = sqrt(2 / m * s2 * ln(2 / d)) + 2 / (3 m) * ln(2 / d)``, where ``1 / m = 1 / n0 + 1 / n1`` and ``d = level / ln(n)``. Its window
    begins anew with each model, with the model's holdout. It takes rows for independent, which rows of a day are not.
    """

    name = "adwin"
    level = 0.002

    def calls(self, now: int, served: list[Scored]) -> bool:
        """See the class."""
        import numpy as np

        parts = [rows for _, rows in sorted(served[-1].losses.items())]
        if len(parts) < 2:
            return False
        rows = np.concatenate(parts)
        sizes = np.cumsum([len(part) for part in parts])[:-1]
        older = np.cumsum(rows)[sizes - 1]
        newer_rows = len(rows) - sizes
        rise = (rows.sum() - older) / newer_rows - older / sizes
        confidence = np.log(2 * np.log(len(rows)) / self.level)
        m = 1 / (1 / sizes + 1 / newer_rows)
        allowed = np.sqrt(2 / m * rows.var() * confidence) + 2 / (3 * m) * confidence
        return bool((rise > allowed).any())


class Cara(Rival):
    """The cost of keeping against the cost of training: a training when what keeping has cost since the last one exceeds what one costs.

    Mahadevan, Mathioudakis: Cost-aware retraining for machine learning (2024), the variant with a cumulative threshold. Staleness is the
    loss on the newest partition beyond the loss at the time of training. As a partition is scored as a whole, its rows are the queries, each with the
    same weight; the threshold is the cost of a training (:data:`PRICE`) itself, where the paper fits one on a stretch of stream.
    """

    name = "cara"

    def calls(self, now: int, served: list[Scored]) -> bool:
        """See the class."""
        model = served[-1]
        fresh = model.at_first()
        if fresh is None:
            return False
        return sum(loss - fresh for loss in model.after().values()) > PRICE * fresh


class Upf(Rival):
    """A forecast of losses, with its uncertainty, of the model that serves and of one trained now.

    Regol, Schwinn, Sprague, Coates, Markovich: When to retrain a machine learning model (2025). Loss by time of training and age is forecast by
    Bayesian ridge regression, whose normal distribution the paper takes too; a training comes now when, of all schedules with at most one in the
    next :attr:`ahead` partitions, the one that begins with it has the lowest cost at the :attr:`quantile`. The paper plans several trainings, and
    describes the shift of the data as well. It first trains :attr:`beforehand` models in a row, to have something to learn from.
    """

    name = "upf"
    beforehand = 3
    ahead = 8
    quantile = 0.95

    def calls(self, now: int, served: list[Scored]) -> bool:
        """See the class."""
        import numpy as np
        from scipy.special import ndtri
        from sklearn.linear_model import BayesianRidge

        seen = [
            (model.trained, number - model.trained, loss)
            for model in served
            for number, loss in sorted(model.after().items())
        ]
        if len(served) < self.beforehand:
            return bool(served[-1].after())
        if len(seen) < self.beforehand + 1:
            return False
        table = np.asarray(seen, np.float64)
        scale = np.maximum(table[:, :2].std(axis=0), 1.0)
        forecast = BayesianRidge().fit(table[:, :2] / scale, table[:, 2])

        def cost(training_at: int | None) -> float:
            """The quantile of the cost of the next partitions with one training after so many of them; None for none."""
            keeps = range(1, self.ahead + 1) if training_at is None else range(1, training_at + 1)
            trained = served[-1].trained
            pairs = [(trained, now + step - trained) for step in keeps]
            if training_at is not None:
                pairs += [(now + training_at, step - training_at) for step in range(training_at + 1, self.ahead + 1)]
            mean, spread = forecast.predict(np.asarray(pairs, np.float64) / scale, return_std=True)
            price = 0.0 if training_at is None else PRICE * float(table[:, 2].mean())
            return float(mean.sum() + ndtri(self.quantile) * np.sqrt((spread**2).sum()) + price)

        now_costs = cost(0)
        return all(now_costs < cost(later) for later in (None, *range(1, self.ahead)))


RIVALS: dict[str, type[Rival]] = {rival.name: rival for rival in (Adwin, Cara, Upf)}
"""By the name that the table shows."""
