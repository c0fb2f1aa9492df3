"""The learning rate that falls when the validation loss stands still: a pure function of the losses so far.

As torch's ReduceLROnPlateau computes it (mode min, relative threshold 1e-4, no cooldown), to the last bit. Being a
function of the history, it needs no state of its own: a trial that goes on from another's epoch has the rate that it
would have had alone.
"""

from __future__ import annotations

from collections.abc import Sequence

THRESHOLD = 1e-4
"""A loss counts as better when it is lower than the best by more than this share of it."""
LEAST_STEP = 1e-8
"""A rate that would fall by no more than this stays."""


def plateau_rate(losses: Sequence[float], *, lr: float, patience: int, factor: float, min_lr: float) -> float:
    """The rate of the epoch after `losses`, one validation loss per epoch from the first on; `lr` is the first rate.

    After more than `patience` epochs in a row without a better loss the rate is multiplied by `factor`, but never
    falls below `min_lr`.
    """
    return plateau_rates(losses, lr=lr, patience=patience, factor=factor, min_lr=min_lr)[-1]


def plateau_rates(
    losses: Sequence[float], *, lr: float, patience: int, factor: float, min_lr: float
) -> tuple[float, ...]:
    """The rates of all epochs with `losses` and of the one after them."""
    best, bad = float("inf"), 0
    rates = [lr]
    for loss in losses:
        if loss < best * (1.0 - THRESHOLD):
            best, bad = loss, 0
        else:
            bad += 1
        if bad > patience:
            lowered = max(lr * factor, min_lr)
            if lr - lowered > LEAST_STEP:
                lr = lowered
            bad = 0
        rates.append(lr)
    return tuple(rates)
