"""The torch trainer: all rows on the device, batches drawn there, and a checkpoint from which it goes on bit for bit.

A round is one pass over the rows. The order of a round's rows comes from the seed and the number of the round, so a
checkpoint needs no order: it holds weights, best weights, the optimizer's moments, the random state of dropout, and the
step within the round. When it is written changes nothing in the result: it is written every ``checkpoint_seconds``,
less often where writing is slow, and when the process is asked to end.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from updraft.tasks.objectives import Start
from updraft.training import mlp
from updraft.training.collective import torch_collective
from updraft.training.host import ALONE, Group, Watch, leave
from updraft.training.learning import Checkpoint, Learnt, Progress, Rows, group_loss, start_of
from updraft.training.library import ADD_PYTORCH, load_torch
from updraft.training.mlp import Architecture, MlpScorer

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from updraft.training.encoding import Encoder
    from updraft.training.recipe import Recipe

log = logging.getLogger(__name__)

SHARE = 0.02
"""Of the training time, the most that checkpoints may cost."""
_EVALUATED_AT_ONCE = 65_536


@dataclass(frozen=True)
class TorchTrainer:
    """A multilayer perceptron. See :class:`updraft.training.learning.Trainer`."""

    file: str = "model.safetensors"
    libraries: tuple[str, ...] = ("torch", "safetensors")
    to_install: str = ADD_PYTORCH

    def learn(
        self,
        recipe: Recipe,
        encoder: Encoder,
        phase: str,
        rows: Rows,
        *,
        rounds: int,
        validation: Rows | None,
        checkpoint: Checkpoint | None,
        watch: Watch,
        group: Group = ALONE,
    ) -> Learnt:
        """Learn in mini-batches with AdamW."""
        kept = checkpoint.load(phase) if checkpoint else None
        if kept is not None and kept[1].done:
            return Learnt(*kept)
        with _settled(recipe) as torch, torch_collective(torch, group, recipe.device):
            network = _Network(torch, recipe, encoder, rows, group)
            run = _Phase(
                torch,
                recipe,
                phase,
                network,
                network.tensors(rows),
                network.tensors(validation) if validation is not None else None,
                validation,
                rounds,
                checkpoint,
                watch,
                group,
            )
            return run.to_the_end(*(kept or (None, Progress())))

    def scorer(self, weights: bytes, encoder: Encoder, threads: int) -> MlpScorer:
        """A network from safetensors."""
        return mlp.from_bytes(weights)


TORCH = TorchTrainer()


@contextmanager
def _settled(recipe: Recipe) -> Iterator[Any]:
    """Torch with the recipe's threads, random state and determinism; what they were before is put back."""
    torch = load_torch()
    cuda = recipe.device == "cuda"
    threads, exact = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    with torch.random.fork_rng(devices=[0] if cuda else []):
        torch.manual_seed(recipe.seed)
        torch.set_num_threads(recipe.threads)
        torch.use_deterministic_algorithms(not cuda or bool(recipe.own("deterministic")))
        try:
            yield torch
        finally:
            torch.set_num_threads(threads)
            torch.use_deterministic_algorithms(exact)


class _Network:
    """Parameters on the device, and what turns rows into its inputs."""

    def __init__(self, torch: Any, recipe: Recipe, encoder: Encoder, rows: Rows, group: Group = ALONE) -> None:
        import numpy as np

        self.torch, self.recipe = torch, recipe
        start = start_of(recipe.task_type, rows.label, group)
        missing = group.total((~np.isfinite(rows.values)).sum(axis=0)) > 0
        self.architecture = Architecture.of(
            encoder,
            missing,
            layers=int(recipe.own("layers")),
            width=int(recipe.own("width")),
            embedding=int(recipe.own("embedding")),
            outputs=math.prod(recipe.task_type.shape),
        )
        self.measured = _measure(self.architecture, rows, recipe.task_type.torch.standardises_label, group)
        drawn = dict(self._draw(start))
        self.parameters = {name: drawn[name].to(recipe.device).requires_grad_() for name in drawn}

    def _draw(self, start: Start) -> Iterator[tuple[str, Any]]:
        """Uniform within 1/√inputs, as torch's Linear; embeddings are small, of what was never seen zero."""
        torch = self.torch
        inputs = 1
        for name, shape in self.architecture.learnt():
            if name.startswith("embedding."):
                tensor = torch.empty(shape).normal_(0.0, 0.1)
                tensor[0] = 0.0
            elif name == "output.bias":
                tensor = self.recipe.task_type.torch.first_bias(torch, start)
            else:
                inputs = shape[1] if name.endswith(".weight") else inputs
                tensor = torch.empty(shape).uniform_(-(inputs**-0.5), inputs**-0.5)
            yield name, tensor

    def tensors(self, rows: Rows) -> tuple[Any, Any, Any]:
        """Numbers with indicators, codes and standardised labels on the device."""
        made, held, torch = self.architecture, self.measured, self.torch
        label = (rows.label - held["label.mean"][0]) / held["label.scale"][0]
        arrays = (
            made.standardised(rows.values, held["numbers.mean"], held["numbers.scale"]),
            made.codes(rows.values),
            label.astype("float32"),
        )
        numbers, codes, labels = (torch.from_numpy(array).to(self.recipe.device) for array in arrays)
        return numbers, codes, labels

    def __call__(self, numbers: Any, codes: Any, dropout: Callable[[Any], Any] | None = None) -> Any:
        """Standardised output per row: shape (rows,), or (rows, outputs) where there are several.

        :param dropout: of a hidden layer.
        """
        functional, held = self.torch.nn.functional, self.parameters
        embedded = [
            functional.embedding(codes[:, i], held[f"embedding.{i}"]) for i in range(len(self.architecture.categories))
        ]
        hidden = self.torch.cat([numbers, *embedded], dim=1)
        for i in range(self.architecture.layers):
            hidden = functional.linear(hidden, held[f"layer.{i}.weight"], held[f"layer.{i}.bias"]).relu_()
            if dropout is not None:
                hidden = dropout(hidden)
        out = functional.linear(hidden, held["output.weight"], held["output.bias"])
        return out.squeeze(1) if self.architecture.outputs == 1 else out

    def autocast(self) -> Any:
        """bfloat16 where the recipe takes mixed precision: by itself on a GPU, where it is the faster one."""
        asked = self.recipe.own("precision")
        mixed = asked == "mixed" or (asked == "auto" and self.recipe.device == "cuda")
        return self.torch.autocast(self.recipe.device, self.torch.bfloat16, enabled=mixed)

    def to_bytes(self, parameters: dict[str, Any]) -> bytes:
        """The model's file."""
        learnt = {name: tensor.detach().cpu().numpy() for name, tensor in parameters.items()}
        return mlp.to_bytes(self.architecture, learnt | self.measured)


def _measure(architecture: Architecture, rows: Rows, with_label: bool, group: Group) -> dict[str, NDArray[Any]]:
    """Mean and standard deviation of the numbers, and of the label where it is standardised; a constant has scale 1."""
    import numpy as np

    mean, scale = np.zeros(len(architecture.numbers)), np.ones(len(architecture.numbers))
    for i, number in enumerate(architecture.numbers):
        column = rows.values[:, number.column].astype(np.float64)
        mean[i], scale[i] = _moments(column[np.isfinite(column)], group)
    label = _moments(rows.label, group) if with_label else (0.0, 1.0)
    return {
        "numbers.mean": mean,
        "numbers.scale": scale,
        "label.mean": np.array([label[0]], np.float64),
        "label.scale": np.array([label[1]], np.float64),
    }


def _moments(values: NDArray[np.float64], group: Group) -> tuple[float, float]:
    """Mean and standard deviation of all workers' values."""
    import numpy as np

    count = float(group.total(np.array([float(len(values))]))[0])
    if not count:
        return 0.0, 1.0
    if group.size == 1:
        return float(values.mean()), float(values.std()) or 1.0
    mean = float(group.total(np.array([values.sum()]))[0]) / count
    return mean, float(np.sqrt(group.total(np.array([((values - mean) ** 2).sum()]))[0] / count)) or 1.0


class _Phase:
    """One phase, step by step.

    A group takes the steps that one process would take: each batch is drawn from the rows of all workers, each worker
    computes the gradients of those rows of it that it has, and their sum is every worker's next step. So parameters,
    moments and random state are the same on every worker, and a checkpoint of one is a checkpoint of all.
    """

    def __init__(
        self,
        torch: Any,
        recipe: Recipe,
        name: str,
        network: _Network,
        rows: tuple[Any, Any, Any],
        validation: tuple[Any, Any, Any] | None,
        validating: Rows | None,
        rounds: int,
        checkpoint: Checkpoint | None,
        watch: Watch,
        group: Group,
    ) -> None:
        import numpy as np

        self.torch, self.recipe, self.name, self.network, self.group = torch, recipe, name, network, group
        self.count = int(group.total(np.array([float(len(rows[2]))]))[0])
        self.rows, self.validation, self.validating = rows, validation, validating
        self.rounds, self.checkpoint, self.watch = rounds, checkpoint, watch
        self.batch, self.dropout = int(recipe.own("batch")), float(recipe.own("dropout"))
        decayed = [held for name, held in network.parameters.items() if name.endswith(".weight")]
        others = [held for name, held in network.parameters.items() if not name.endswith(".weight")]
        self.optimizer = torch.optim.AdamW(
            [
                {"params": decayed, "weight_decay": float(recipe.own("weight_decay"))},
                {"params": others, "weight_decay": 0.0},
            ],
            lr=float(recipe.own("learning_rate")),
            fused=True,
        )
        self.best: dict[str, Any] = {}
        self.next_save = time.monotonic() + float(recipe.own("checkpoint_seconds"))

    def to_the_end(self, state: bytes | None, progress: Progress) -> Learnt:
        """Go on from a state."""
        step = self._restore(state) if state else 0
        while not progress.done:
            self._round(progress, step)
            step = 0
            progress = self._judged(progress)
        learnt = self.best if self.validation is not None else self.network.parameters
        weights = self.network.to_bytes(learnt)
        if self.checkpoint:
            self.checkpoint.save(self.name, weights, progress)
        log.info("%s: %d rounds, best %s at %d", self.name, progress.rounds, progress.best, progress.best_rounds)
        return Learnt(weights, progress)

    def _round(self, progress: Progress, step: int) -> None:
        """One pass over the rows from a step on."""
        torch, count, group = self.torch, self.count, self.group
        shuffle = torch.Generator(self.recipe.device)
        shuffle.manual_seed((self.recipe.seed << 32) + progress.rounds)
        order = torch.randperm(count, generator=shuffle, device=self.recipe.device)
        for first in range(step * self.batch, count, self.batch):
            chosen = order[first : first + self.batch]
            mine, local = None, chosen
            if group.size > 1:
                mine = torch.nonzero(chosen % group.size == group.rank).squeeze(1)
                local = chosen[mine] // group.size
            leaving = self._step(len(chosen), mine, *(tensor.index_select(0, local) for tensor in self.rows))
            curve = progress.curve[-1] if progress.curve else None
            self.watch.saw(self.name, progress.rounds, self.rounds, len(chosen), curve, progress.best)
            if leaving or time.monotonic() >= self.next_save:
                self._save(progress, first // self.batch + 1, leaving)

    def _step(self, count: int, mine: Any, numbers: Any, codes: Any, label: Any) -> bool:
        """One step; whether a worker was asked to end.

        :param count: rows of the batch.
        :param mine: positions in it of the rows that this worker has; None for all.
        """
        with self.network.autocast():
            out = self.network(numbers, codes, partial(self._dropped, count, mine) if self.dropout else None)
        loss = self.recipe.task_type.torch.loss(self.torch.nn.functional, out.float(), label) / count
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        leaving = self._summed(self.watch.leaving is not None)
        self.optimizer.step()
        return leaving

    def _dropped(self, count: int, mine: Any, hidden: Any) -> Any:
        """Dropout, of a group by what is drawn for the whole batch, so that it is what one process would draw."""
        if mine is None:
            return self.torch.nn.functional.dropout(hidden, self.dropout)
        kept = self.torch.empty(count, hidden.shape[1], dtype=hidden.dtype, device=hidden.device)
        return hidden * kept.bernoulli_(1 - self.dropout).div_(1 - self.dropout).index_select(0, mine)

    def _summed(self, leaving: bool) -> bool:
        """Sum the gradients over the workers, in one message that also says whether one of them was asked to end."""
        if self.group.size == 1:
            return leaving
        torch = self.torch
        gradients = [held.grad for held in self.network.parameters.values()]
        last = torch.tensor([float(leaving)], device=gradients[0].device)
        message = torch.cat([*(gradient.flatten() for gradient in gradients), last])
        torch.distributed.all_reduce(message)
        parts = message.split([*(gradient.numel() for gradient in gradients), 1])
        for gradient, part in zip(gradients, parts[:-1], strict=True):
            gradient.copy_(part.view_as(gradient))
        return bool(parts[-1] > 0)

    def _judged(self, progress: Progress) -> Progress:
        """The progress after a round, with its validation loss."""
        if self.validation is None:
            progress = replace(progress, rounds=progress.rounds + 1, best_rounds=progress.rounds + 1)
            return replace(progress, done=progress.rounds >= self.rounds)
        progress = progress.after(self._validation_loss())
        if progress.best_rounds == progress.rounds or not self.best:
            self.best = {name: held.detach().clone() for name, held in self.network.parameters.items()}
        waited = progress.rounds - progress.best_rounds >= int(self.recipe.own("early_stopping"))
        pruned = self.watch.prunes(progress.rounds, progress.best)
        return replace(progress, done=waited or pruned or progress.rounds >= self.rounds)

    def _validation_loss(self) -> float:
        torch = self.torch
        if self.validation is None or self.validating is None:
            raise ValueError("no validation rows")
        numbers, codes, _ = self.validation
        with torch.no_grad():
            parts = [
                self.network(numbers[i : i + _EVALUATED_AT_ONCE], codes[i : i + _EVALUATED_AT_ONCE])
                for i in range(0, max(len(numbers), 1), _EVALUATED_AT_ONCE)  # no rows have a part too, which is empty
            ]
        out = torch.cat(parts).double().cpu().numpy()
        held = self.network.measured
        margin: NDArray[np.float64] = held["label.mean"][0] + held["label.scale"][0] * out
        return group_loss(self.recipe.task_type, self.validating.label, margin, self.group)

    # -- the state between processes

    def _save(self, progress: Progress, step: int, leaving: bool) -> None:
        """Write a checkpoint within a round; leave after it when the process was asked to end."""
        began = time.monotonic()
        if self.checkpoint:
            self.checkpoint.save(self.name, self._state(step), progress)
        now = time.monotonic()
        self.next_save = now + max(float(self.recipe.own("checkpoint_seconds")), (now - began) / SHARE)
        if leaving:
            leave(self.name, progress.rounds)

    def _state(self, step: int) -> bytes:
        from safetensors.torch import save

        tensors = {"random": self.torch.get_rng_state()}
        if self.recipe.device == "cuda":
            tensors["random.cuda"] = self.torch.cuda.get_rng_state()
        for name, held in self.network.parameters.items():
            tensors[f"now.{name}"] = held.detach()
            tensors |= {f"{part}.{name}": value for part, value in self.optimizer.state[held].items()}
        tensors |= {f"best.{name}": held for name, held in self.best.items()}
        return bytes(save(tensors, metadata={"state": json.dumps({"step": step})}))

    def _restore(self, state: bytes) -> int:
        """Take a state up; the step that comes next."""
        from safetensors.torch import load

        tensors = load(state)
        self.torch.set_rng_state(tensors.pop("random"))
        if "random.cuda" in tensors:
            self.torch.cuda.set_rng_state(tensors.pop("random.cuda"))
        with self.torch.no_grad():
            for name, held in self.network.parameters.items():
                held.copy_(tensors[f"now.{name}"])
                self.optimizer.state[held] = {
                    "step": tensors[f"step.{name}"],
                    "exp_avg": tensors[f"exp_avg.{name}"].to(held.device),
                    "exp_avg_sq": tensors[f"exp_avg_sq.{name}"].to(held.device),
                }
                if f"best.{name}" in tensors:
                    self.best[name] = tensors[f"best.{name}"].to(held.device)
        return int(json.loads(mlp.header(state)["state"])["step"])
