"""The one training loop: a walk along epoch states that are found where they exist and trained where they do not."""

from __future__ import annotations

from collections.abc import Callable

from ml.training.accounts import EpochNote, OutOfMemory, Trained
from ml.training.lesson import Lesson, Recipe, Shelf, never
from ml.training.machine import Machine

__all__ = ["EpochNote", "Lesson", "Machine", "OutOfMemory", "Recipe", "Shelf", "Trained", "never", "train"]


def _nothing(note: EpochNote) -> None:
    """Report to nobody."""


def _go_on() -> bool:
    return False


def train(
    lesson: Lesson,
    recipe: Recipe,
    states: Shelf,
    machine: Machine,
    *,
    report: Callable[[EpochNote], None] = _nothing,
    stop: Callable[[], bool] = _go_on,
) -> Trained:
    """Walk the epochs of `recipe`: those noted on `states` are found, the others trained.

    `report` gets every epoch trained in this call, after its state is durable. `stop` is asked before each epoch;
    True pauses. Raises `OutOfMemory` when not even one item fits.
    """
    raise NotImplementedError
