"""Good or trouble: what the thresholds of the tuning guide say of one training, and of a whole grid.

The guide means them for the mean squared error of waveforms at full scale 1; for another loss they say nothing.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ml.studies.scores import flat

if TYPE_CHECKING:
    import pandas as pd

    from ml.studies.results import Results

GOOD_LOSS = (0.001, 0.01)
"""Best validation loss of a good training."""

POOR_LOSS = 0.1
"""Best validation loss above which denoising is poor."""

GOOD_GAP, WIDE_GAP = 0.01, 0.05
"""Validation loss minus training loss, both of the last epoch: below is good, above is learned by heart."""

GOOD_EPOCHS = (30, 100)
"""Epochs after which a good training stops by itself."""

MEANT_FOR = "mse"
RATE = "training.lr"


def verdict(*, best_loss: float, gap: float, epochs_done: int, stopped_early: bool, loss: str = MEANT_FOR) -> str:
    """`good`, `fair` or `trouble` and why, of a training that came to its end.

    `best_loss` is the lowest validation loss; `gap` is validation minus training loss at the last epoch.
    """
    if loss != MEANT_FOR:
        return f"no verdict: the thresholds are for the loss {MEANT_FOR}, this is {loss}"
    trouble, short = [], []
    if best_loss > POOR_LOSS:
        trouble.append(f"validation loss {best_loss:.3g} is over {POOR_LOSS}: poor denoising")
    elif best_loss > GOOD_LOSS[1]:
        short.append(f"validation loss {best_loss:.3g} is over {GOOD_LOSS[1]}")
    if gap > WIDE_GAP:
        trouble.append(f"gap {gap:.3g} is over {WIDE_GAP}: the training part is learned by heart")
    elif gap >= GOOD_GAP:
        short.append(f"gap {gap:.3g} is not below {GOOD_GAP}")
    if not stopped_early:
        trouble.append(f"no early stop in {epochs_done} epochs: not converged")
    elif not GOOD_EPOCHS[0] <= epochs_done <= GOOD_EPOCHS[1]:
        short.append(f"stopped after {epochs_done} epochs, not {GOOD_EPOCHS[0]} to {GOOD_EPOCHS[1]}")
    if trouble or short:
        return f"{'trouble' if trouble else 'fair'}: {'; '.join(trouble + short)}"
    low = " (below the usual 0.001: quiet sound or light noise)" if best_loss < GOOD_LOSS[0] else ""
    return f"good: validation loss {best_loss:.3g}{low}, gap {gap:.3g}, stopped after {epochs_done} epochs"


def overall(results: Results) -> list[str]:
    """What the verdicts of all trials say together, in sentences; each names what to do."""
    fits = results.ask("fits")
    fits = fits[(fits["status"] == "finished") & fits["verdict"].notna()]
    if not len(fits):
        return ["No finished trial has a verdict."]
    words = fits["verdict"].str.partition(":")[0]
    if (words == "no verdict").all():
        return [f"No verdicts: the thresholds are for the loss {MEANT_FOR}."]
    counted = {word: int((words == word).sum()) for word in ("good", "fair", "trouble")}
    lines = [f"{_trials(len(fits))}: " + ", ".join(f"{count} {word}" for word, count in counted.items()) + "."]
    return lines + _poor(fits) + _by_heart(fits) + _unfinished(fits) + _rate(results)


def _poor(fits: pd.DataFrame) -> list[str]:
    best = fits["best_validation_loss"].min()
    if best > POOR_LOSS:
        return [
            f"Even the best validation loss, {best:.3g}, is over {POOR_LOSS}: poor denoising. Look at the data first."
        ]
    poor = int((fits["best_validation_loss"] > POOR_LOSS).sum())
    return [f"{_trials(poor)} with a validation loss over {POOR_LOSS}: poor denoising."] if poor else []


def _by_heart(fits: pd.DataFrame) -> list[str]:
    wide = int((fits["gap"] > WIDE_GAP).sum())
    if not wide:
        return []
    return [f"{_trials(wide)} with a gap over {WIDE_GAP}: the training part is learned by heart. More recordings help."]


def _unfinished(fits: pd.DataFrame) -> list[str]:
    going = fits[~fits["stopped_early"].astype(bool)]
    if not len(going):
        return []
    if len(going) == len(fits):
        return [
            "No trial stopped early: none has converged. More epochs, or a higher learning rate, would tell. "
            "That alone is `trouble` by the guide; the trials ran as planned."
        ]
    return [f"{_trials(len(going))} did not stop early: {len(fits) - len(going)} others did, so more epochs may help."]


def _rate(results: Results) -> list[str]:
    """The guide takes it for trouble with the data when only the highest learning rate does well."""
    impact: Any = results.ask("impact")
    rates = impact[impact["setting"] == RATE].sort_values("number")
    if len(rates) < 2:
        return []
    best = rates.loc[rates["best"].astype(float).idxmin(), "number"]
    if best != rates["number"].iloc[-1]:
        return []
    diverged = [rate for rate in _diverged(results) if rate >= best]
    if not diverged:
        return [
            f"The best trial has the highest learning rate of all, {best:g}: try higher ones, and look at the data."
        ]
    limit = f"{min(diverged):g}" + (" or above" if max(diverged) > min(diverged) else "")
    return [
        f"The best trial has the highest learning rate that a training ended with, {best:g}; {_trials(len(diverged))} "
        f"diverged at {limit}: higher ones are no remedy, look at the data."
    ]


def _diverged(results: Results) -> list[float]:
    """The learning rate of every trial whose loss was no number in the end."""
    failures: Any = results.ask("failures")
    diverged = set(failures.loc[failures["status"] == "diverged", "trial"])
    trials: Any = results.ask("trials")
    said = trials.loc[trials["trial"].isin(diverged), "config"].dropna()
    return [float(settings[RATE]) for settings in map(flat, map(json.loads, said)) if RATE in settings]


def _trials(count: int) -> str:
    return "1 trial" if count == 1 else f"{count} trials"
