"""What a concert trial will cost: from epochs measured on this machine, else from a few calibration steps."""

from __future__ import annotations

import time
from functools import cache
from typing import TYPE_CHECKING

from ml.models.ast_config import AstConfig
from ml.studies.concert.config import ConcertSettings, ConcertTrial
from ml.studies.study import Estimate, Trial

if TYPE_CHECKING:
    import pandas as pd

    from ml.training.machine import Machine

ADAM_COPIES = 3
"""Weights and two moments: an epoch's state is three times the model."""

STATES_KEPT = 2
"""The latest and the best."""

LABELS = ("one", "other")
CALIBRATION_WINDOWS = 4
CALIBRATION_SECONDS = 20.0
"""No further calibration step is begun after this long."""


def estimate(
    trial: Trial, files: pd.DataFrame, settings: ConcertSettings, machine: Machine, seconds_per_item: float | None
) -> Estimate:
    """Seconds and bytes for all epochs of the trial; evaluation counts as a third of training on the other parts."""
    config = trial.config
    assert isinstance(config, ConcertTrial)
    seconds = float(files.loc[files["state"] != "rejected", "seconds"].sum())
    windows = seconds / (config.window.hop_seconds or config.window.seconds)
    share = settings.split.train
    items = config.training.epochs * windows * (share + (1 - share) / 3)
    frames = round(config.window.seconds * 1000 / settings.features.hop_ms)
    network = config.model.model_copy(update={"pretrained": None})
    try:
        disk = _parameters(network, frames, settings.features.mels) * 4 * (1 + ADAM_COPIES * STATES_KEPT)
        if seconds_per_item is not None:
            return Estimate(items * seconds_per_item, disk, "epochs of this network measured on this machine")
        windows_at_once = min(CALIBRATION_WINDOWS, config.training.batch)
        calibrated = _calibrate(network, frames, settings.features.mels, windows_at_once, machine)
    except (RuntimeError, ValueError, OSError) as problem:
        return Estimate(None, 0, f"unknown: {problem}")
    return Estimate(items * calibrated, disk, f"rough: a step of {windows_at_once} windows timed just now")


@cache
def _parameters(network: AstConfig, frames: int, mels: int) -> int:
    """Parameters of the network, counted without giving it any memory."""
    import torch

    from ml.models.ast import build_ast

    with torch.device("meta"):
        shape = build_ast(network, frames=frames, mels=mels, labels=LABELS, seed=0)
    return sum(weight.numel() for weight in shape.parameters())


@cache
def _calibrate(network: AstConfig, frames: int, mels: int, windows: int, machine: Machine) -> float:
    """Seconds per trained window: the second of two steps, or the first where that alone took long."""
    import torch

    from ml.models.ast import build_ast

    model = build_ast(network, frames=frames, mels=mels, labels=LABELS, seed=0).to(machine.device)
    batch = torch.randn(windows, frames, mels, device=machine.device)
    before, begun = torch.get_num_threads(), time.perf_counter()
    torch.set_num_threads(machine.threads)
    try:
        for _ in range(2):
            start = time.perf_counter()
            with machine.autocast():
                loss = model(batch).logits.float().square().sum()
            loss.backward()
            if machine.device.startswith("cuda"):
                torch.cuda.synchronize()
            took = time.perf_counter() - start
            if time.perf_counter() - begun > CALIBRATION_SECONDS:
                break
    finally:
        torch.set_num_threads(before)
    return took / windows
