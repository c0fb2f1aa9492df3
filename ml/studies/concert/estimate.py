"""What a concert trial will cost: from epochs measured on this machine, else from a few calibration steps."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from ml.models.ast_config import AstConfig
from ml.studies.calibration import CALIBRATION_ITEMS, disk_bytes, model_bytes, seconds_per_item
from ml.studies.concert.config import ConcertSettings, ConcertTrial
from ml.studies.study import Estimate, Trial

if TYPE_CHECKING:
    import pandas as pd
    from torch import nn

    from ml.training.machine import Machine

LABELS = ("one", "other")


def estimate(
    trial: Trial, files: pd.DataFrame, settings: ConcertSettings, machine: Machine, measured: float | None
) -> Estimate:
    """Seconds and bytes for all epochs of the trial; evaluation counts as a third of training on the other parts."""
    config = trial.config
    assert isinstance(config, ConcertTrial)
    seconds = float(files.loc[files["state"] != "rejected", "seconds"].sum())
    windows = seconds / (config.window.hop_seconds or config.window.seconds)
    share = settings.split.train
    items = config.training.epochs * windows * (share + (1 - share) / 3)
    frames = round(config.window.seconds * 1000 / settings.features.hop_ms)
    network, mels = config.model.model_copy(update={"pretrained": None}), settings.features.mels
    try:
        disk = disk_bytes(_model_bytes(network, frames, mels))
        if measured is not None:
            return Estimate(items * measured, disk, "epochs of this network measured on this machine")
        at_once = min(CALIBRATION_ITEMS, config.training.batch)
        calibrated = _calibrated(network, frames, mels, at_once, machine)
    except (RuntimeError, ValueError, OSError) as problem:
        return Estimate(None, 0, f"unknown: {problem}")
    return Estimate(items * calibrated, disk, f"rough: a step of {at_once} windows timed just now")


def _network(network: AstConfig, frames: int, mels: int) -> nn.Module:
    from ml.models.ast import build_ast

    return build_ast(network, frames=frames, mels=mels, labels=LABELS, seed=0)


@cache
def _model_bytes(network: AstConfig, frames: int, mels: int) -> int:
    return model_bytes(lambda: _network(network, frames, mels))


@cache
def _calibrated(network: AstConfig, frames: int, mels: int, windows: int, machine: Machine) -> float:
    return seconds_per_item(lambda: _network(network, frames, mels), (windows, frames, mels), machine)
