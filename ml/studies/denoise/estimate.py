"""What a denoise trial will cost: from epochs measured on this machine, else from a few calibration steps."""

from __future__ import annotations

import time
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from ml.models.unet1d_config import UNet1DConfig
from ml.studies.calibration import CALIBRATION_ITEMS, disk_bytes, model_bytes, seconds_per_item
from ml.studies.denoise.config import DenoiseSettings, DenoiseTrial
from ml.studies.denoise.mixing import JUDGED_SECONDS
from ml.studies.study import Estimate, Trial

if TYPE_CHECKING:
    import pandas as pd
    from torch import nn

    from ml.training.machine import Machine

HEARING_SHARE = 1 / 3
"""Of what it costs to learn from a window, what it costs to hear it only."""

SCORED_SECONDS = 2.0
"""Length of the sound that is scored to see how long that takes."""


def estimate(
    trial: Trial, files: pd.DataFrame, settings: DenoiseSettings, machine: Machine, measured: float | None
) -> Estimate:
    """Seconds and bytes for all epochs of the trial alone, if none is saved by stopping early, and for judging its
    whole files once."""
    config = trial.config
    assert isinstance(config, DenoiseTrial)
    windows = _windows_per_epoch(config, files, settings)
    judged = _judged_seconds(files, settings)
    # Validation is as large a share as the split says.
    validated = windows * settings.split.validation / settings.split.train
    items = config.training.epochs * (windows + validated * HEARING_SHARE)
    items += judged / config.mix.segment_seconds * HEARING_SHARE
    try:
        scoring = judged * _scoring(settings.features.sample_rate)
        disk = disk_bytes(_model_bytes(config.model))
        if measured is not None:
            return Estimate(items * measured + scoring, disk, "epochs of this network measured on this machine")
        at_once = min(CALIBRATION_ITEMS, config.training.batch_size)
        samples = max(1, round(config.mix.segment_seconds * settings.features.sample_rate))
        calibrated = _calibrated(config.model, samples, at_once, machine)
    except (RuntimeError, ValueError, OSError) as problem:
        return Estimate(None, 0, f"unknown: {problem}")
    return Estimate(items * calibrated + scoring, disk, f"rough: a step of {at_once} windows timed just now")


def _windows_per_epoch(config: DenoiseTrial, files: pd.DataFrame, settings: DenoiseSettings) -> float:
    if config.mix.windows_per_epoch:
        return config.mix.windows_per_epoch
    return max(1.0, float(_clean_seconds(files).sum()) * settings.split.train / config.mix.segment_seconds)


def _judged_seconds(files: pd.DataFrame, settings: DenoiseSettings) -> float:
    """Of sound in the whole files of validation and test."""
    share = settings.split.validation + settings.split.test
    return float(_clean_seconds(files).clip(upper=JUDGED_SECONDS).sum()) * share


def _clean_seconds(files: pd.DataFrame) -> pd.Series:
    return files.loc[(files["state"] != "rejected") & (files["label"] == "clean"), "seconds"]


def _network(network: UNet1DConfig) -> nn.Module:
    from ml.models.unet1d import build_unet1d

    return build_unet1d(network, seed=0)


@cache
def _model_bytes(network: UNet1DConfig) -> int:
    return model_bytes(lambda: _network(network))


@cache
def _scoring(rate: int) -> float:
    """Seconds that it takes to score one second of sound, for every network alike: the second of two times."""
    from ml.metrics.denoising import score

    clean, noise = np.random.default_rng(0).standard_normal((2, round(SCORED_SECONDS * rate))).astype(np.float32) / 10
    for _ in range(2):
        start = time.perf_counter()
        score(clean, clean + noise, clean + noise / 2, rate)
        took = time.perf_counter() - start
    return took / SCORED_SECONDS


@cache
def _calibrated(network: UNet1DConfig, samples: int, windows: int, machine: Machine) -> float:
    return seconds_per_item(lambda: _network(network), (windows, samples), machine)
