"""A live stream is what the whole sound would be, and no sample waits longer than is said."""

from __future__ import annotations

import numpy as np
import pytest

from ml.inference.denoiser import Denoiser
from ml.inference.live import LATENCY_SECONDS, OVERLAP, Live, live_layout
from ml.inference.pieces import denoise_signal
from ml.models.unet1d_config import UNet1DConfig
from tests.ml.inference.small import PROCESSOR, small_denoiser, sounding

RATE = 44_100


def denoiser(config: UNet1DConfig | None = None) -> Denoiser:
    return Denoiser(small_denoiser(*([config] if config else [])), RATE, PROCESSOR)


def said_of(live: Live, sound: np.ndarray, at_once: int = 700) -> np.ndarray:
    parts = [live.push(sound[:, begin : begin + at_once]) for begin in range(0, sound.shape[1], at_once)]
    return np.concatenate([*parts, live.finish()], axis=1)


def decibels(rest: np.ndarray, sound: np.ndarray) -> float:
    return 10 * float(np.log10(np.mean(rest**2) / np.mean(sound**2)))


@pytest.mark.parametrize("samples", [1, 300, 30_000])
def test_a_stream_is_what_the_whole_sound_would_be_from_end_to_end(samples: int) -> None:
    ours, sound = denoiser(), sounding(samples, channels=2)
    said = said_of(Live(ours, RATE, channels=2), sound)
    np.testing.assert_allclose(said, denoise_signal(ours.model, sound, PROCESSOR), atol=3e-6)


@pytest.mark.parametrize("rate", [8_000, 48_000, 250_000])
def test_at_another_rate_it_is_as_long_and_as_if_resampled_at_leisure(rate: int) -> None:
    import soxr

    ours, samples = denoiser(), rate // 2
    times = np.arange(samples) / rate  # tones that every rate here can hold
    sound = sum(0.1 * np.sin(2 * np.pi * hertz * times) for hertz in (150, 1_000, 3_300))[None].astype(np.float32)
    said = said_of(Live(ours, rate), sound)
    assert said.shape == sound.shape
    low = soxr.resample(sound[0], rate, RATE, quality="VHQ")
    whole = soxr.resample(denoise_signal(ours.model, low, PROCESSOR), RATE, rate, quality="VHQ")[:samples]
    # Filters differ at the upper edge, where a network that learned nothing puts sound too: compared below it.
    window = np.hanning(samples)
    off, expected = (np.abs(np.fft.rfft(window * each)) ** 2 for each in (said[0] - whole, whole))
    below = np.arange(len(off)) < 0.85 * min(1, RATE / rate) * len(off)
    assert 10 * np.log10(off[below].sum() / expected[below].sum()) < -60


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 48_000, 192_000, 250_000])
def test_the_usual_network_answers_within_a_tenth_of_a_second_at_every_rate(rate: int) -> None:
    live = Live(denoiser(UNet1DConfig()), rate)
    assert live.latency_seconds <= LATENCY_SECONDS
    assert "hearing ahead" in live.describe() and "would hear" not in live.describe()


@pytest.mark.parametrize("rate", [44_100, 48_000])
def test_no_sample_waits_longer_than_is_said(rate: int) -> None:
    live, went, step = Live(denoiser(), rate), 0, 16
    for came in range(step, rate // 3, step):
        went += live.push(np.zeros((1, step), np.float32)).shape[1]
        # Of what came before the latest step, nothing is older than the latency.
        assert (came - step - went) / rate <= live.latency_seconds


def test_a_shorter_block_is_answered_sooner_and_a_longer_one_later() -> None:
    ours = denoiser()
    usual, short, long = (Live(ours, RATE, block=block).latency_seconds for block in (None, 256, 8_192))
    assert short < usual < LATENCY_SECONDS < long


def test_a_network_that_hears_far_ahead_is_cut_short_faded_and_said() -> None:
    far = UNet1DConfig(channels=(8, 8, 8, 8), kernel=9, fold=32)
    live = Live(denoiser(far), RATE)
    assert far.reach > LATENCY_SECONDS * RATE
    assert live.latency_seconds <= LATENCY_SECONDS
    assert f"would hear {1000 * far.reach / RATE:.0f} ms ahead" in live.describe()
    layout = live_layout(far, int(LATENCY_SECONDS * RATE))
    assert layout.overlap == OVERLAP and 0 < layout.ahead < far.reach
    sound = sounding(20_000)
    assert said_of(live, sound).shape == sound.shape


def test_time_is_counted() -> None:
    live = Live(denoiser(), RATE)
    said_of(live, sounding(22_050))
    assert live.sound_seconds == 0.5
    assert 0 < live.computing_seconds < 30
