"""The denoiser's losses against their formulas written out, and where a formula has no answer of its own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from ml.training.waveform_losses import FAINT, QUIET, RESOLUTIONS, waveform_losses

KINDS = ("mse", "l1_stft")


def sound(batch: int = 3, samples: int = 6000, seed: int = 0) -> Tensor:
    return 0.1 * torch.randn(batch, samples, generator=torch.Generator().manual_seed(seed))


def powers(waveform: np.ndarray, size: int) -> np.ndarray:
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
    padded = np.pad(waveform, size // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[:: size // 4]
    return np.abs(np.fft.rfft(frames * window)) ** 2 / np.sum(window**2) + QUIET


def written_out(estimate: np.ndarray, target: np.ndarray) -> float:
    total = 0.0
    for size in RESOLUTIONS:
        said, wanted = np.sqrt(powers(estimate, size)), np.sqrt(powers(target, size))
        whole = max(np.sqrt(np.sum(wanted**2)), FAINT * np.sqrt(wanted.size))
        total += np.sqrt(np.sum((said - wanted) ** 2)) / whole + np.mean(np.abs(np.log(said) - np.log(wanted)))
    return float(np.mean(np.abs(estimate - target)) + total / len(RESOLUTIONS))


def test_mse_is_the_mean_square_of_each_item() -> None:
    estimate, target = sound(), sound(seed=1)
    losses = waveform_losses(estimate, target, kind="mse")
    assert losses.shape == (3,) and losses.dtype == torch.float32
    expected = ((estimate.double() - target.double()) ** 2).mean(dim=1).float()
    torch.testing.assert_close(losses, expected)
    torch.testing.assert_close(losses.mean(), torch.nn.functional.mse_loss(estimate, target))


@pytest.mark.parametrize("loudness", [1.0, 0.02])
def test_spectra_are_compared_as_the_formula_says(loudness: float) -> None:
    estimate, target = sound(samples=5003), loudness * sound(samples=5003, seed=1)
    losses = waveform_losses(estimate, target, kind="l1_stft")
    pairs = zip(estimate.double().numpy(), target.double().numpy(), strict=True)
    assert losses.dtype == torch.float32
    np.testing.assert_allclose(losses.numpy(), [written_out(*pair) for pair in pairs], rtol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("samples", [1, 100, 3000])
def test_what_is_equal_costs_nothing_and_silence_has_a_slope(kind: str, samples: int) -> None:
    estimate = torch.zeros(2, samples, requires_grad=True)
    target = torch.stack([torch.zeros(samples), sound(1, samples)[0]])
    losses = waveform_losses(estimate, target, kind=kind)  # type: ignore[arg-type]
    losses.sum().backward()
    assert losses[0] == 0 and losses[1] > 0
    assert estimate.grad is not None and estimate.grad.isfinite().all() and estimate.grad[0].abs().max() == 0


def test_noise_over_silence_does_not_outweigh_a_batch() -> None:
    noise = 0.3 * sound(2)
    losses = waveform_losses(noise, torch.stack([torch.zeros(6000), 0.3 * sound(1, seed=9)[0]]), kind="l1_stft")
    assert losses[1] < losses[0] < 20 * losses[1]


@pytest.mark.parametrize("kind", KINDS)
def test_they_are_computed_in_float32_where_the_rest_is_not(kind: str) -> None:
    estimate, target = sound(), sound(seed=1)
    exact = waveform_losses(estimate, target, kind=kind)  # type: ignore[arg-type]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        within = waveform_losses(estimate, target, kind=kind)  # type: ignore[arg-type]
    assert within.dtype == torch.float32 and torch.equal(within, exact)


def test_each_item_has_its_own_loss_whatever_is_beside_it() -> None:
    estimate, target = sound(), sound(seed=1)
    together = waveform_losses(estimate, target, kind="l1_stft")
    alone = torch.cat([waveform_losses(estimate[i : i + 1], target[i : i + 1], kind="l1_stft") for i in range(3)])
    torch.testing.assert_close(together, alone)
