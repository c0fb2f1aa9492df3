"""Another sample rate, bit by bit: right, in place, and soon."""

from __future__ import annotations

import numpy as np
import pytest
import soxr

from ml.inference.resampling import PatientResampler, Resampler

RATES = [(48_000, 44_100), (44_100, 48_000), (8_000, 44_100), (44_100, 8_000), (250_000, 44_100), (44_100, 44_101)]


def sine(hertz: float, rate: int, samples: int) -> np.ndarray:
    return np.sin(2 * np.pi * hertz * np.arange(samples) / rate).astype(np.float32)[None]


def decibels(rest: np.ndarray, sound: np.ndarray) -> float:
    return 10 * float(np.log10(np.mean(rest**2) / np.mean(sound**2)))


@pytest.mark.parametrize(("rate", "to"), RATES)
@pytest.mark.parametrize("share", [0.05, 0.86])
def test_a_sine_is_the_same_sine_at_the_other_rate_in_the_same_place(rate: int, to: int, share: float) -> None:
    hertz, resampler = share * min(rate, to) / 2, Resampler(rate, to)
    said = np.concatenate([resampler.push(sine(hertz, rate, rate // 2)), resampler.finish()], axis=1)
    assert said.shape[1] == -(-(rate // 2) * to // rate)
    expected = sine(hertz, to, said.shape[1])
    middle = slice(to // 20, -to // 20)
    assert decibels((said - expected)[:, middle], expected) < -85


def test_what_the_lower_rate_cannot_hold_is_taken_away() -> None:
    sound = sine(1.1 * 22_050, 96_000, 48_000)
    said = Resampler(96_000, 44_100).push(sound)[:, 2_000:]
    assert decibels(said, sound) < -85


def test_it_does_not_matter_in_what_pieces_sound_comes() -> None:
    sound = np.random.default_rng(1).normal(0, 0.1, (2, 7_001)).astype(np.float32)
    whole, piecewise = (Resampler(48_000, 44_100, channels=2) for _ in range(2))
    expected = np.concatenate([whole.push(sound), whole.finish()], axis=1)
    said, place = [], 0
    for number in (0, 1, 47, 100, 1, 5_000, 1_852):
        said.append(piecewise.push(sound[:, place : place + number]))
        place += number
    said.append(piecewise.finish())
    np.testing.assert_allclose(np.concatenate(said, axis=1), expected, atol=1e-6)


@pytest.mark.parametrize(("rate", "to"), RATES)
def test_a_sample_goes_out_no_later_than_it_says(rate: int, to: int) -> None:
    resampler, went, worst, step = Resampler(rate, to), 0, 0.0, rate // 1000
    for number in range(1, 200):
        went += resampler.push(np.zeros((1, step), np.float32)).shape[1]
        worst = max(worst, (number - 1) * step / rate - went / to)  # the next sample to go out still waits
    assert worst <= resampler.delay_seconds < 0.0125


@pytest.mark.parametrize("kind", [Resampler, PatientResampler])
@pytest.mark.parametrize("samples", [0, 1, 999, 30_000])
def test_there_and_back_is_as_long_and_the_same(kind: type[Resampler], samples: int) -> None:
    sound = sine(1_000, 48_000, samples)
    there, back = kind(48_000, 44_100), kind(44_100, 48_000)
    low = np.concatenate([there.push(sound), there.finish()], axis=1)
    said = np.concatenate([back.push(low), back.finish(samples)], axis=1)[:, :samples]
    assert said.shape == sound.shape
    if samples > 20_000:
        assert decibels((said - sound)[:, 4_000:-4_000], sound) < -80


def test_the_patient_one_is_soxr_over_the_whole() -> None:
    sound = np.random.default_rng(2).normal(0, 0.1, (2, 20_000)).astype(np.float32)
    patient = PatientResampler(22_050, 44_100, channels=2)
    said = np.concatenate([patient.push(sound[:, :7_000]), patient.push(sound[:, 7_000:]), patient.finish()], axis=1)
    expected = soxr.resample(sound.T, 22_050, 44_100, quality="HQ").T
    np.testing.assert_allclose(said, expected, atol=1e-5)
