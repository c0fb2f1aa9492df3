"""Names of states and seeds of epochs: both follow from what was said, never from what happened to run before."""

from __future__ import annotations

import hashlib
import random
from typing import Any

import numpy as np
import torch

from ml.config import fingerprint
from ml.training.lesson import Recipe

REVISION = "1"
"""Raised by hand when a change of the engine changes what numbers mean; all states are then made anew."""


def first_key(recipe: Recipe, precision: str) -> str:
    """The key of the fresh weights, before any epoch. Whatever of the engine's own changes numbers is in it."""
    return fingerprint("epoch state", REVISION, recipe.origin, recipe.seed, recipe.clip_norm, precision)


def next_key(before: str, settings: dict[str, Any]) -> str:
    """The key of the state one epoch after `before`, when the trial says `settings` for that epoch."""
    return fingerprint(before, settings)


def epoch_seed(seed: int, epoch: int) -> int:
    """63 bits that belong to (seed, epoch); epoch 0 is the making of the fresh weights."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{epoch}".encode()).digest()[:8], "big") >> 1


def seed_everything(seed: int) -> None:
    """Every global generator of this process: dropout draws from torch's, a careless lesson from the others."""
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - numpy's global generator is what is to be tamed
