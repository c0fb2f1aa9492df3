"""What an emotion trial will cost: from epochs measured on this machine, else from a few calibration steps."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from ml.data.given import has_given_parts
from ml.data.naming import given_part
from ml.features.pictures import pictures_of
from ml.models.resnet_config import ResNetConfig
from ml.studies.calibration import CALIBRATION_ITEMS, disk_bytes, model_bytes, seconds_per_item
from ml.studies.emotion.config import CLASSES, EmotionSettings, EmotionTrial
from ml.studies.study import Estimate, Trial

if TYPE_CHECKING:
    import pandas as pd
    from torch import nn

    from ml.training.machine import Machine


def estimate(
    trial: Trial, files: pd.DataFrame, settings: EmotionSettings, machine: Machine, measured: float | None
) -> Estimate:
    """Seconds and bytes for all epochs of the trial, if none is saved by stopping early."""
    config = trial.config
    assert isinstance(config, EmotionTrial)
    used = files[files["state"] != "rejected"]
    pictures = sum(pictures_of(seconds, settings.clip) for seconds in used["seconds"])
    share = _share_trained(used, settings)
    # Only validation is looked at after each epoch; that costs a third of training.
    items = config.training.epochs * pictures * (share + settings.split.validation / 3)
    network, side = config.model.model_copy(update={"pretrained": None}), config.data.img_size
    try:
        disk = disk_bytes(_model_bytes(network))
        if measured is not None:
            return Estimate(items * measured, disk, "epochs of this network measured on this machine")
        at_once = min(CALIBRATION_ITEMS, config.training.batch_size)
        calibrated = _calibrated(network, side, at_once, machine)
    except (RuntimeError, ValueError, OSError) as problem:
        return Estimate(None, 0, f"unknown: {problem}")
    return Estimate(items * calibrated, disk, f"rough: a step of {at_once} pictures timed just now")


def _share_trained(used: pd.DataFrame, settings: EmotionSettings) -> float:
    if not has_given_parts(used):
        return settings.split.train
    return float(used["path"].map(given_part).eq("train").mean())


def _network(network: ResNetConfig) -> nn.Module:
    from ml.models.resnet import build_resnet

    return build_resnet(network, labels=CLASSES, seed=0)


@cache
def _model_bytes(network: ResNetConfig) -> int:
    return model_bytes(lambda: _network(network))


@cache
def _calibrated(network: ResNetConfig, side: int, pictures: int, machine: Machine) -> float:
    return seconds_per_item(lambda: _network(network), (pictures, 3, side, side), machine)
