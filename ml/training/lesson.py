"""What the engine asks for: a shelf for states, a lesson that says what is learnt, a recipe that says how long."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from ml.training.accounts import EpochNote


class Shelf(Protocol):
    """What the engine needs of a memory: folders found again by their key."""

    def note(self, key: str) -> dict[str, Any] | None:
        """What was noted when `key` was built; the note outlives the files."""

    def find(self, key: str) -> Path | None:
        """The folder with verified files, or None (never built, dropped, or found damaged)."""

    def build(self, key: str, write: Callable[[Path], dict[str, Any] | None]) -> Path:
        """The folder of `key`, durable; where there is none, `write(folder)` fills one and returns the note."""

    def drop(self, key: str) -> None:
        """The files go, the note stays. Dropping what is not there is no error."""

    def remember(self, key: str, note: dict[str, Any]) -> None:
        """Notes something of `key`, durable, though it has no files."""

    def claim(self, key: str) -> AbstractContextManager[None]:
        """Within it this process is the one that works on `key`; while another is, entering waits. A process that is
        killed claims nothing any more."""


class Lesson(Protocol):
    """What differs between studies. Every answer must be a pure function of the lesson and the arguments."""

    def model(self) -> nn.Module:
        """Fresh weights, seeded, on the CPU: the same numbers at every call. The engine moves it to the device."""

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """A fresh optimizer over `model`, which is already on its device (see `ml.training.optimizers.adamw`)."""

    def settings(self, epoch: int, history: Sequence[EpochNote]) -> dict[str, Any]:
        """What the trial says for `epoch` (1-based), as JSON values; it enters the key of the state.

        `history` are the epochs before. "batch" (items per optimizer step) is required; "lr" is applied to every
        parameter group when it is there: a number, or {"onecycle": {"max", "pct_start", "total_steps", "first_step"}},
        a schedule over all epochs in which this one begins with the 0-based "first_step" (see
        `ml.training.schedules`). "frozen" lists beginnings of names of parameters that are not trained in this epoch;
        anything else is only identity.
        """

    def order(self, epoch: int) -> np.ndarray:
        """int64 sample indices in the order in which they are trained: the whole epoch."""

    def draws(self, order: np.ndarray) -> dict[str, int]:
        """How many items of each class `order` holds, for the epoch's account; {} where that says nothing."""

    def loss(
        self, model: nn.Module, indices: np.ndarray, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor | float]]:
        """The SUM of the losses over a micro-batch, and further sums over it such as {"accuracy": how many were right}.

        Called in training mode, within autocast where the machine computes in bf16 (take logits to float before the
        loss). `generator` lives on the machine's device and is seeded by (seed, epoch): augmentation draws from it.
        Sums should stay on the device: no `.item()` here.
        """

    def validate(self, model: nn.Module) -> dict[str, float]:
        """Metrics on the validation part, `Recipe.monitor` among them. Called in eval mode, without gradients,
        within the same autocast as training; must leave the model as it is."""


def never(epoch: int, history: Sequence[EpochNote]) -> bool:
    """Keep no state but the latest and the best."""
    return False


@dataclass(frozen=True)
class Recipe:
    """How long one trial trains, and by what it is judged."""

    origin: str
    """Fingerprint of everything that leads to the first weights and to the data: data, features, model, optimizer,
    loss, revision. Seed, clip_norm and precision are added by the engine itself."""
    seed: int
    epochs: int
    monitor: str
    """Name of the validation metric that decides which epoch is best."""
    higher_is_better: bool
    patience: int | None = None
    """Epochs without a strict improvement after which training ends; None: never."""
    clip_norm: float | None = None
    """Largest norm of all gradients together; None: not clipped."""
    micro_batch: int | None = None
    """Most items computed at once; None: the whole batch. Larger batches are accumulated. No part of the identity."""
    keep: Callable[[int, Sequence[EpochNote]], bool] = never
    """keep(epoch, history so far): is the state of this earlier epoch kept too? Trials that share a beginning are given
    a `keep` that knows the others: where they branch off, and which epoch is best for them. What was dropped and is
    needed again is trained again."""
