"""What a denoise trial will cost: from epochs measured on this machine, else from a few calibration steps."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from ml.models.unet1d_config import UNet1DConfig
from ml.studies.calibration import CALIBRATION_ITEMS, disk_bytes, model_bytes, seconds_per_item
from ml.studies.denoise.config import DenoiseSettings, DenoiseTrial
from ml.studies.study import Estimate, Trial

if TYPE_CHECKING:
    import pandas as pd
    from torch import nn

    from ml.training.machine import Machine


def estimate(
    trial: Trial, files: pd.DataFrame, settings: DenoiseSettings, machine: Machine, measured: float | None
) -> Estimate:
    """Seconds and bytes for all epochs of the trial alone, if none is saved by stopping early."""
    config = trial.config
    assert isinstance(config, DenoiseTrial)
    windows = _windows_per_epoch(config, files, settings)
    # Validation is as large a share as the split says, and hearing costs a third of learning.
    items = config.training.epochs * windows * (1 + settings.split.validation / settings.split.train / 3)
    try:
        disk = disk_bytes(_model_bytes(config.model))
        if measured is not None:
            return Estimate(items * measured, disk, "epochs of this network measured on this machine")
        at_once = min(CALIBRATION_ITEMS, config.training.batch_size)
        samples = max(1, round(config.mix.segment_seconds * settings.features.sample_rate))
        calibrated = _calibrated(config.model, samples, at_once, machine)
    except (RuntimeError, ValueError, OSError) as problem:
        return Estimate(None, 0, f"unknown: {problem}")
    return Estimate(items * calibrated, disk, f"rough: a step of {at_once} windows timed just now")


def _windows_per_epoch(config: DenoiseTrial, files: pd.DataFrame, settings: DenoiseSettings) -> float:
    if config.mix.windows_per_epoch:
        return config.mix.windows_per_epoch
    clean = files[(files["state"] != "rejected") & (files["label"] == "clean")]
    return max(1.0, float(clean["seconds"].sum()) * settings.split.train / config.mix.segment_seconds)


def _network(network: UNet1DConfig) -> nn.Module:
    from ml.models.unet1d import build_unet1d

    return build_unet1d(network, seed=0)


@cache
def _model_bytes(network: UNet1DConfig) -> int:
    return model_bytes(lambda: _network(network))


@cache
def _calibrated(network: UNet1DConfig, samples: int, windows: int, machine: Machine) -> float:
    return seconds_per_item(lambda: _network(network), (windows, samples), machine)
