"""Losses of a denoiser, item by item, so that a lesson can add them up."""

from __future__ import annotations

from functools import cache
from typing import Literal

import torch
from torch import Tensor

RESOLUTIONS = (512, 1024, 2048)
"""Samples of the windows in which spectra are compared; each is moved by a quarter of itself."""

QUIET = 1e-8
"""Power that is added to each point of a spectrum, -80 dB of full scale: what nobody hears must not weigh by its
logarithm, and silence has none."""

FAINT = 1e-2
"""Amplitude, -40 dB of full scale: spectra of what is fainter still are compared with it. Compared with silence, the
least of noise would outweigh all other items of a batch."""


def waveform_losses(estimate: Tensor, target: Tensor, *, kind: Literal["mse", "l1_stft"]) -> Tensor:
    """The loss of each item `(b,)` in float32, from waveforms `(b, n)`.

    "mse" is the mean of the squared differences. "l1_stft" is the mean of their absolute values, and the mean over
    three resolutions of how far the spectra are apart: spectral convergence and the distance of the logarithms
    (Yamamoto, Song, Kim: Parallel WaveGAN, 2020).
    """
    # Squares and logarithms of what is small are lost in bf16.
    with torch.autocast(estimate.device.type, enabled=False):
        estimate, target = estimate.float(), target.float()
        if kind == "mse":
            return (estimate - target).square().mean(dim=1)
        spectral = torch.stack([_spectral_distances(estimate, target, size) for size in RESOLUTIONS]).mean(dim=0)
        return (estimate - target).abs().mean(dim=1) + spectral


def _spectral_distances(estimate: Tensor, target: Tensor, size: int) -> Tensor:
    said, wanted = _powers(estimate, size), _powers(target, size)
    amplitudes = wanted.sqrt()
    apart = torch.linalg.vector_norm(said.sqrt() - amplitudes, dim=(1, 2))
    whole = torch.linalg.vector_norm(amplitudes, dim=(1, 2))
    least = FAINT * amplitudes[0].numel() ** 0.5
    # Half the logarithm of a power is that of its amplitude.
    return apart / whole.clamp_min(least) + 0.5 * (said.log() - wanted.log()).abs().mean(dim=(1, 2))


def _powers(waveforms: Tensor, size: int) -> Tensor:
    """Spectra `(b, frequencies, times)`; white noise of amplitude a has the mean power a ** 2 in them."""
    window = _window(size, waveforms.device)
    spectra = torch.stft(waveforms, size, size // 4, window=window, pad_mode="constant", return_complex=True)
    return spectra.abs().square() + QUIET


@cache
def _window(size: int, device: torch.device) -> Tensor:
    window = torch.hann_window(size, device=device)
    return window / torch.linalg.vector_norm(window)
