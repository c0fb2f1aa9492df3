"""Augmentation of a batch of pictures, on the device, from a generator alone and without ever waiting for the device.

A batch is `(b, channels, height, width)` and normalised, so that 0 is the mean. What is given stays as it is; what
comes back has the same layout in memory.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

AREA = (0.02, 0.33)
"""Share of a picture that is erased."""
RATIO = (0.3, 3.3)
"""Of the erased box's height to its width."""
TRIES = 10
"""Boxes drawn per picture; the first one that fits into it is taken. On a square one in a thousand does not fit."""


def mixup(batch: Tensor, generator: torch.Generator, alpha: float) -> tuple[Tensor, Tensor, Tensor]:
    """`batch` mixed with itself in another order (Zhang et al.: mixup, 2018): mixed, partner, share.

    mixed[i] = share * batch[i] + (1 - share) * batch[partner[i]], with one `share` (a tensor without dimensions) for
    the whole batch, drawn from Beta(alpha, alpha). The loss is mixed the same way, between an item's own label and its
    partner's. An alpha of 0 mixes nothing.
    """
    device = batch.device
    if alpha == 0:
        return batch, torch.arange(len(batch), device=device), torch.ones((), device=device)
    share = _beta(alpha, generator, device).to(batch.dtype)
    partner = torch.randperm(len(batch), generator=generator, device=device)
    mixed = batch[partner]
    return mixed.lerp_(batch, share), partner, share


def erase(batch: Tensor, generator: torch.Generator, probability: float) -> Tensor:
    """`batch`, in which each picture has with `probability` a box set to 0 (Zhong et al.: Random erasing, 2020).

    The box's area is even within `AREA`, the logarithm of its ratio even within `RATIO`, its place even in the picture.
    """
    count, _, height, width = batch.shape
    if probability == 0:
        return batch
    drawn = torch.rand((5, count, TRIES), generator=generator, device=batch.device)
    area = (AREA[0] + (AREA[1] - AREA[0]) * drawn[0]) * (height * width)
    low, high = math.log(RATIO[0]), math.log(RATIO[1])
    ratio = torch.exp(low + (high - low) * drawn[1])
    tall, wide = (area * ratio).sqrt().round(), (area / ratio).sqrt().round()
    fits = (tall < height) & (wide < width)
    first = fits.int().argmax(dim=1, keepdim=True)
    chosen = fits.gather(1, first) & (drawn[4, :, :1] < probability)
    tall, wide = (side.gather(1, first) for side in (tall, wide))
    top = (drawn[2].gather(1, first) * (height - tall + 1)).floor()
    left = (drawn[3].gather(1, first) * (width - wide + 1)).floor()
    rows, columns = (torch.arange(side, device=batch.device) for side in (height, width))
    down = chosen & (rows >= top) & (rows < top + tall)
    across = (columns >= left) & (columns < left + wide)
    kept = ~(down[:, :, None] & across[:, None, :])[:, None]
    # A product keeps the layout in memory; filling by a mask that all channels share does not, and takes longer.
    return batch * kept.to(batch.dtype)


def _beta(alpha: float, generator: torch.Generator, device: torch.device) -> Tensor:
    """One number from Beta(alpha, alpha): x / (x + y) with x and y from Gamma(alpha).

    By their logarithms, because for a small alpha both would be too small for any float: Gamma(alpha) is
    Gamma(alpha + 1) * u ** (1 / alpha) with an even u (Marsaglia, Tsang, 2000).
    """
    larger = torch.full((2,), alpha + 1.0, dtype=torch.float64, device=device)
    even = torch.rand(2, dtype=torch.float64, generator=generator, device=device)
    logs = torch._standard_gamma(larger, generator=generator).log() + torch.log1p(-even) / alpha
    return torch.sigmoid(logs[0] - logs[1])
