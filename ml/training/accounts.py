"""What training tells: one note per epoch, one account per call."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal


class OutOfMemory(RuntimeError):
    """Not even one item at a time fits into memory, or the model and its optimizer alone do not."""


@dataclass(frozen=True)
class EpochNote:
    """The account of one epoch. It is noted with the state's key and outlives the state's files."""

    epoch: int
    """1-based."""
    key: str
    """Of the state (weights and optimizer) after this epoch."""
    settings: dict[str, Any]
    train: dict[str, float]
    """Means per item over the epoch: "loss", and every sum that the lesson's `loss` returned, under its name."""
    validation: dict[str, float]
    seconds: float
    """Wall-clock seconds of training and validation, without saving."""
    items: int
    """Items trained in this epoch."""
    micro_batch: int
    """Items computed at once at the end of the epoch; smaller than the batch after an out-of-memory."""
    out_of_memory: int = 0
    """How many times memory ran out in this epoch and the micro-batch was halved."""
    draws: dict[str, int] = field(default_factory=dict)
    """Items of each class that this epoch trained on."""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, said: dict[str, Any]) -> EpochNote:
        return cls(**said)


@dataclass(frozen=True)
class Trained:
    """What one call of `train` came to."""

    status: Literal["finished", "paused", "diverged"]
    history: tuple[EpochNote, ...]
    """All epochs of the trial so far, found and trained."""
    best: EpochNote | None
    """First epoch with the best monitored value; None while no epoch is done."""
    best_folder: Path | None
    """State that holds the best weights (`ml.training.state.load_weights`); always there when finished."""
    epochs_trained: int
    """Epochs that this call computed; the others were found."""
    seconds_spent: float
    """Wall-clock seconds of this call."""
    seconds_standalone: float
    """Wall-clock seconds of all epochs in `history`: what the trial costs without sharing."""
    stopped_early: bool
    micro_batch: int | None
    """Items computed at once in the last epoch; None while no epoch is done."""
    out_of_memory: int
    """How many times memory ran out over the whole history."""
    threads: int
    diverged_epoch: int | None = None
    diverged_step: int | None = None
    """1-based optimizer step within `diverged_epoch`; None where the validation was not finite."""
    problem: str = ""
    """A sentence when diverged."""
