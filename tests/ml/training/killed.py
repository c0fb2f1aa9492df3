"""A process of its own that trains a tiny net slowly, to be killed. Started again, it goes on.

States lie in FOLDER/states; a line per epoch begun and per epoch done goes to FOLDER/log, the account to
FOLDER/account.json.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ml.training.engine import EpochNote, train
from ml.training.optimizers import adamw
from tests.ml.training.shelf import FolderShelf
from tests.ml.training.tiny import CPU, TinyLesson, digest_at, recipe, told


class SlowLesson(TinyLesson):
    """Takes its time in every step, so that most moments lie within an epoch."""

    def __init__(self, log: Path, nap: float) -> None:
        super().__init__()
        self.log, self.nap = log, nap

    def order(self, epoch: int) -> np.ndarray:
        note(self.log, f"begun {epoch}")
        return super().order(epoch)

    def loss(
        self, model: nn.Module, indices: np.ndarray, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor | float]]:
        time.sleep(self.nap)
        return super().loss(model, indices, generator)


def note(log: Path, line: str) -> None:
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(descriptor, (line + "\n").encode())
    os.close(descriptor)


def run(folder: Path, epochs: int, nap: float) -> dict[str, Any]:
    """Trains to the end; what came out."""

    def report(done: EpochNote) -> None:
        note(folder / "log", f"done {done.epoch}")

    lesson, shelf = SlowLesson(folder / "log", nap), FolderShelf(folder / "states")
    trained = train(lesson, recipe(epochs), shelf, CPU, report=report)
    return {
        "history": told(trained.history),
        "last": digest_at(shelf.find(trained.history[-1].key), lesson),
        "best": digest_at(trained.best_folder, lesson),
    }


def run_and_tell(folder: Path, epochs: int, nap: float) -> None:
    """What the process does."""
    (folder / "account.json").write_text(json.dumps(run(folder, epochs, nap)))


# The first optimizer of a process costs seconds of imports. A server that forks has them behind it.
adamw(nn.Linear(1, 1), weight_decay=0.0)
