"""Processes that are there to be killed: one answers a trial, one builds the features. Both without Dagster.

What they begin and what they tell is appended to a log, one line at a time, so that what was done can be counted over
all processes.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ml.models.ast import build_ast
from ml.models.ast_config import AstConfig
from ml.studies.concert.study import CONCERT
from ml.training import walk
from ml.training.optimizers import adamw
from orchestration import data, trials
from orchestration.resources import Bench
from storage.lab import Lab

_train_epoch = walk.train_epoch


def train(root: Path, trial: str, log: Path) -> None:
    """Answer `trial` in the lab at `root`; logs "begun EPOCH" as each epoch begins, and what the trial says."""

    def announced(*arguments: Any, epoch: int, **more: Any) -> Any:
        write(log, f"begun {epoch}")
        return _train_epoch(*arguments, epoch=epoch, **more)

    walk.train_epoch = announced
    bench = Bench(Lab.open(root))
    trials.run_trial(
        bench, CONCERT, trial, run_id=f"process-{os.getpid()}", forced_by=None, say=lambda said: write(log, said)
    )
    write(log, "answered")


def die_before_publishing(root: Path, trial: str, log: Path) -> None:
    """Answer `trial`, and die in the moment between its record and the database."""

    def die(lab: Lab) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    trials.publish = die  # type: ignore[assignment]
    train(root, trial, log)


def features(root: Path, log: Path) -> None:
    """Build the features of the lab at `root`."""
    bench = Bench(Lab.open(root))
    write(log, "begun")
    data.build_features(bench, CONCERT, lambda share, words: write(log, f"{share:.2f}"))
    write(log, "answered")


def write(log: Path, line: str) -> None:
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(descriptor, (line + "\n").encode())
    os.close(descriptor)


# The first network and the first optimizer of a process import for seconds; a server that forks has that behind it.
torch.set_num_threads(1)
_tiny = AstConfig(pretrained=None, hidden=16, layers=1, heads=1, intermediate=32)
build_ast(_tiny, frames=32, mels=128, labels=["a", "b"], seed=0)
adamw(nn.Linear(1, 1), weight_decay=0.0)
