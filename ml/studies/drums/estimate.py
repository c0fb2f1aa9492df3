"""What a drums trial will cost: from epochs measured on this machine, else from a few calibration steps."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from ml.models.drumcnn_config import DrumCNNConfig
from ml.studies.calibration import CALIBRATION_ITEMS, disk_bytes, model_bytes, seconds_per_item
from ml.studies.drums.config import DrumsSettings, DrumsTrial
from ml.studies.drums.finding import part_of
from ml.studies.drums.hits import places_of
from ml.studies.study import Estimate, Trial

if TYPE_CHECKING:
    import pandas as pd
    from torch import nn

    from ml.training.machine import Machine


def estimate(
    trial: Trial, files: pd.DataFrame, settings: DrumsSettings, machine: Machine, measured: float | None
) -> Estimate:
    """Seconds and bytes for all epochs of the trial, if none is saved by stopping early."""
    config = trial.config
    assert isinstance(config, DrumsTrial)
    used = files[files["state"] != "rejected"]
    training = config.training
    trained = 1 + training.background if training.loss == "binary" else 1.0
    # Only validation is looked at after each epoch; that costs a third of training. Hits that sound at once are one
    # item, but how many do so is not known before.
    items = training.epochs * len(used) * (trained * _share_trained(used, settings) + settings.split.validation / 3)
    network, picture = config.model.model_copy(update={"checkpoint": None}), config.picture
    try:
        disk = disk_bytes(_model_bytes(network))
        if measured is not None:
            return Estimate(items * measured, disk, "epochs of this network measured on this machine")
        at_once = min(CALIBRATION_ITEMS, training.batch_size)
        calibrated = _calibrated(network, picture.mels, picture.columns, at_once, machine)
    except (RuntimeError, ValueError, OSError) as problem:
        return Estimate(None, 0, f"unknown: {problem}")
    return Estimate(items * calibrated, disk, f"rough: a step of {at_once} pictures timed just now")


def _share_trained(used: pd.DataFrame, settings: DrumsSettings) -> float:
    given = places_of(used["path"])["audio"].map(part_of)
    return settings.split.train if given.isna().any() else float(given.eq("train").mean())


def _network(network: DrumCNNConfig) -> nn.Module:
    from ml.models.drumcnn import build_drumcnn

    return build_drumcnn(network, seed=0)


@cache
def _model_bytes(network: DrumCNNConfig) -> int:
    return model_bytes(lambda: _network(network))


@cache
def _calibrated(network: DrumCNNConfig, mels: int, columns: int, pictures: int, machine: Machine) -> float:
    return seconds_per_item(lambda: _network(network), (pictures, 1, mels, columns), machine)
