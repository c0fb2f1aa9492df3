"""One epoch of optimizer steps: micro-batches, clipping, and what happens when memory runs out."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ml.training.accounts import OutOfMemory
from ml.training.freezing import at_rest
from ml.training.keys import epoch_seed, seed_everything
from ml.training.ledger import LOSS, NORM, Ledger
from ml.training.lesson import Lesson, Recipe
from ml.training.machine import Machine
from ml.training.schedules import set_pace

ALLOCATION_FAILED = ("DefaultCPUAllocator: can't allocate memory", "CUBLAS_STATUS_ALLOC_FAILED")
"""How some allocators say that memory ran out, by a plain RuntimeError."""


@dataclass(frozen=True)
class EpochSums:
    """What an epoch of training came to."""

    means: dict[str, float]
    """Per item."""
    items: int
    draws: dict[str, int]
    """Items per class."""
    micro_batch: int
    out_of_memory: int


def train_epoch(
    lesson: Lesson,
    recipe: Recipe,
    machine: Machine,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    *,
    epoch: int,
    settings: dict[str, Any],
    micro_batch: int | None,
    progress: Callable[[int, float], None],
) -> EpochSums:
    """Trains `model` in place, at most `micro_batch` items at once. Raises `Diverged` and `OutOfMemory`."""
    order = np.asarray(lesson.order(epoch))
    if not len(order):
        raise ValueError(f"epoch {epoch} has no items to train on: the lesson's order is empty")
    batch: int = settings["batch"]
    micro = min(batch, micro_batch or batch)
    steps = _Steps(lesson, recipe, machine, model, optimizer, epoch=epoch, rate=settings.get("lr"))
    with at_rest(model, settings.get("frozen", ())):
        for start in range(0, len(order), batch):
            micro = steps.take(order[start : start + batch], micro)
            progress(epoch, min(1.0, (start + batch) / len(order)))
        steps.ledger.settle()
    means = {name: value / len(order) for name, value in steps.ledger.sums.items() if name != NORM}
    return EpochSums(
        means=means,
        items=len(order),
        draws=lesson.draws(order),
        micro_batch=micro,
        out_of_memory=steps.out_of_memory,
    )


class _Steps:
    """The optimizer steps of one epoch."""

    def __init__(
        self,
        lesson: Lesson,
        recipe: Recipe,
        machine: Machine,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        *,
        epoch: int,
        rate: float | dict[str, Any] | None,
    ) -> None:
        self._lesson, self._machine, self._model, self._optimizer = lesson, machine, model, optimizer
        self._clip_norm, self._seed, self._rate = recipe.clip_norm, epoch_seed(recipe.seed, epoch), rate
        self._parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        self._generator = torch.Generator(machine.device)
        self._taken = 0
        self.ledger = Ledger(machine.device_type)
        self.out_of_memory = 0
        self._seed_all(self._seed)
        model.train()
        optimizer.zero_grad(set_to_none=True)

    def take(self, indices: np.ndarray, micro: int) -> int:
        """One step over `indices`, at most `micro` items at once; the micro-batch that it took in the end."""
        if self._rate is not None:
            set_pace(self._optimizer.param_groups, self._rate, self._taken)
        self._taken += 1
        while (said := self._try_gradients(indices, micro)) is None:
            micro = self._smaller(min(micro, len(indices)))
        try:
            self._apply(said)
        except torch.OutOfMemoryError as problem:
            raise OutOfMemory(
                f"memory ran out in the optimizer's step, where the size of the batch plays no part: the model and its "
                f"optimizer do not fit on {self._machine.name}; free it from other programs or choose a smaller model"
            ) from problem
        return micro

    def _try_gradients(self, indices: np.ndarray, micro: int) -> dict[str, Tensor | float] | None:
        """Gradients of the mean loss over `indices`, left in the parameters, and the sums; None: out of memory."""
        try:
            return self._gradients(indices, micro)
        except RuntimeError as problem:
            if not ran_out_of_memory(problem):
                raise
        # Only out of the except block are the failed step's tensors free: the exception holds its frames.
        return None

    def _gradients(self, indices: np.ndarray, micro: int) -> dict[str, Tensor | float]:
        said: dict[str, Tensor | float] = {}
        # Even parts, not full ones and a rest: batch norm cannot do with a rest of one.
        parts = [indices] if len(indices) <= micro else np.array_split(indices, -(-len(indices) // micro))
        for part in parts:
            with self._machine.autocast():
                loss, counts = self._lesson.loss(self._model, part, self._generator)
            (loss / len(indices)).backward()
            for name, value in {**counts, LOSS: loss.detach()}.items():
                said[name] = said[name] + value if name in said else value
        return said

    def _apply(self, said: dict[str, Tensor | float]) -> None:
        gradients = [parameter.grad for parameter in self._parameters if parameter.grad is not None]
        norm = nn.utils.get_total_norm(gradients)
        self.ledger.add({**said, NORM: norm})
        if self._clip_norm is not None:
            nn.utils.clip_grads_with_norm_(self._parameters, self._clip_norm, norm)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)

    def _smaller(self, failed: int) -> int:
        """Frees what the failed try left behind; half of its micro-batch."""
        self.out_of_memory += 1
        self._optimizer.zero_grad(set_to_none=True)
        free_memory(self._machine)
        if failed <= 1:
            raise OutOfMemory(
                f"memory ran out on {self._machine.name} with a single item at a time; free it from other programs, "
                f"or choose a smaller model or shorter windows"
            )
        half = failed // 2
        # How much the failed try had drawn is chance; what is drawn from here on must not be.
        self._seed_all(epoch_seed(self._seed, self._taken * 2**20 + half))
        return half

    def _seed_all(self, seed: int) -> None:
        seed_everything(seed)
        self._generator.manual_seed(seed)


def free_memory(machine: Machine) -> None:
    """Gives back what a step that ran out of memory left behind; called outside its `except`, which holds tensors."""
    gc.collect()
    if machine.device_type == "cuda":
        torch.cuda.empty_cache()


def ran_out_of_memory(problem: RuntimeError) -> bool:
    """Is this an allocator's refusal, and no other fault?"""
    return isinstance(problem, torch.OutOfMemoryError) or any(sign in str(problem) for sign in ALLOCATION_FAILED)
