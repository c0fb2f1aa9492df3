"""A small denoiser that does something, and the machine it runs on, for the tests of this room."""

from __future__ import annotations

import numpy as np
import torch

from ml.models.unet1d import UNet1D, build_unet1d
from ml.models.unet1d_config import UNet1DConfig
from ml.training.machine import Machine

PROCESSOR = Machine(device="cpu", precision="fp32", threads=1, name="this one", bf16=False)
SMALL = UNet1DConfig(channels=(16, 16, 32), kernel=5)


def small_denoiser(config: UNet1DConfig = SMALL, seed: int = 3) -> UNet1D:
    """A network in eval mode whose batch norms and last layer are not what they are at the beginning: it is heard."""
    model = build_unet1d(config, seed=seed)
    draws = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3, generator=draws)  # type: ignore[union-attr, operator]
            module.running_var.uniform_(0.5, 2.0, generator=draws)  # type: ignore[union-attr, operator]
            module.bias.data.normal_(0, 0.3, generator=draws)
    last_layer(model).weight.data.mul_(5)
    return model.eval()


def last_layer(model: UNet1D) -> torch.nn.Conv2d:
    """What the estimated noise comes from: with weights of zero nothing is taken away."""
    return [module for module in model.modules() if isinstance(module, torch.nn.Conv2d)][-1]


def sounding(samples: int, channels: int = 1, seed: int = 0) -> np.ndarray:
    """Noise and a tone, float32 `(channels, samples)`, within full scale."""
    drawn = np.random.default_rng(seed).normal(0, 0.1, (channels, samples))
    return (drawn + 0.2 * np.sin(np.arange(samples) / 16)).clip(-0.9, 0.9).astype(np.float32)
