"""U-Net on waveforms: it estimates the noise and takes it away.

Filters take the sound apart; a U-Net says how much of each filter's answer is noise at each moment; filters put the
noise together. Ronneberger, Fischer, Brox: U-Net, 2015; Stoller, Ewert, Dixon: Wave-U-Net, 2018; skips that are added
after Défossez et al.: Demucs, 2019; shares of learned filters after Luo, Mesgarani: Conv-TasNet, 2019. A U-Net that has
to speak the noise itself needs some ten times the steps to gain as much.

Waveforms are `(batch, samples)` of any length. Samples are folded into frames and frames into frames of the next level,
all by views of the same memory, so that every layer is a dense product, which processors and GPUs compute fast.
Convolutions are two-dimensional, 1 x kernel: only for these is there channels_last, and with it bf16 is worth its name.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from ml.config import ConfigError, read_config
from ml.models.hub import ModelUnavailable
from ml.models.saved import load_own_weights, said_settings
from ml.models.unet1d_config import CONVOLUTIONS, HALVING, UNet1DConfig

SMALL = 0.05
"""The last filters' share of their usual size: a fresh network hardly changes what it hears."""


class UNet1D(nn.Module):
    """Waveforms in, waveforms without their noise out."""

    def __init__(self, config: UNet1DConfig) -> None:
        super().__init__()
        self.config = config
        widths, kernel = config.channels, config.kernel
        below = (config.filters, *(width * HALVING for width in widths))
        self.apart = _convolution(config.fold, config.filters, kernel)
        self.down = nn.ModuleList(_level(into, width, kernel) for into, width in zip(below, widths, strict=False))
        self.widen = nn.ModuleList(_convolution(coarse, fine * HALVING) for fine, coarse in pairwise(widths))
        self.up = nn.ModuleList(_level(width, width, kernel) for width in widths[:-1])
        self.share = nn.Conv2d(widths[0], config.filters, 1)
        self.together = _convolution(config.filters, config.fold, kernel)

    def forward(self, waveforms: Tensor) -> Tensor:
        """`waveforms` `(batch, samples)` without their noise, in float32."""
        samples = waveforms.shape[1]
        padded = functional.pad(waveforms, (0, -samples % self.config.stride))
        heard = self.apart(_folded(padded[:, None, None], self.config.fold))
        frames = heard
        passed: list[Tensor] = []
        for level in self.down:
            frames = level(_folded(frames, HALVING) if passed else frames)
            passed.append(frames)
        for fine in reversed(range(len(self.up))):
            frames = self.up[fine](_unfolded(self.widen[fine](frames), HALVING) + passed[fine])
        # In bf16 the noise is rounded, not the sound: what that leaves is 40 dB below the noise.
        noise = _unfolded(self.together(heard * self.share(frames).sigmoid()), self.config.fold)
        return waveforms.float() - noise[:, 0, 0, :samples].float()


def build_unet1d(config: UNet1DConfig, *, seed: int) -> UNet1D:
    """A fresh network drawn from `seed`, the same numbers at every call; after He et al., the last filters small."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = UNet1D(config)
        for module in model.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        with torch.no_grad():
            nn.init.zeros_(model.share.bias)  # type: ignore[arg-type]
            model.together.weight.mul_(SMALL)
    return model


def restore(folder: Path) -> nn.Module:
    """The network that `ml.models.saved.save_model` wrote."""
    try:
        config = read_config(UNet1DConfig, said_settings(folder), str(folder / "config.json"))
    except ConfigError as problem:
        raise ModelUnavailable(f"{folder} holds no UNet1D that can be loaded: {problem}") from None
    model = UNet1D(config)
    load_own_weights(model, folder, "UNet1D")
    return model


def _level(into: int, width: int, kernel: int) -> nn.Sequential:
    """What one level does on one way: convolutions, each with batch norm and ReLU."""
    layers: list[nn.Module] = []
    for _ in range(CONVOLUTIONS):
        layers += [
            _convolution(into, width, kernel),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
        ]
        into = width
    return nn.Sequential(*layers)


def _convolution(into: int, width: int, kernel: int = 1) -> nn.Conv2d:
    return nn.Conv2d(into, width, (1, kernel), padding=(0, kernel // 2), bias=False)


def _folded(frames: Tensor, by: int) -> Tensor:
    """`(b, channels, 1, n)` as `(b, by * channels, 1, n / by)`: neighbours beside each other in one frame."""
    batch, channels, _, count = frames.shape
    return frames.permute(0, 2, 3, 1).reshape(batch, 1, count // by, channels * by).permute(0, 3, 1, 2)


def _unfolded(frames: Tensor, by: int) -> Tensor:
    """`(b, by * channels, 1, n)` as `(b, channels, 1, by * n)`: what `_folded` does, undone."""
    batch, channels, _, count = frames.shape
    return frames.permute(0, 2, 3, 1).reshape(batch, 1, count * by, channels // by).permute(0, 3, 1, 2)
