"""A denoiser as it lies in a folder: the network, and the sample rate that it learned."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ml.models.hub import ModelUnavailable
from ml.models.saved import load_model, saved_extra
from ml.models.unet1d import UNet1D
from ml.training.machine import Machine


@dataclass(frozen=True)
class Denoiser:
    """A network that is ready on its machine."""

    model: UNet1D
    rate: int
    """Hz."""
    machine: Machine


def open_denoiser(folder: Path, machine: Machine) -> Denoiser:
    """The denoiser that a trial saved in `folder`, on `machine`; `ModelUnavailable` where there is none."""
    if not folder.is_dir():
        raise ModelUnavailable(f"{folder}: no such folder; a model is a folder with config.json and model.safetensors")
    model, rate = load_model(folder), saved_extra(folder).get("sample_rate")
    if not isinstance(model, UNet1D):
        raise ModelUnavailable(f"{folder} holds a {type(model).__name__}, which takes no noise out of sound")
    if not isinstance(rate, int) or rate < 1:
        raise ModelUnavailable(f"{folder}/config.json does not say for which sample_rate the network was trained")
    return Denoiser(model.to(machine.device), rate, machine)
