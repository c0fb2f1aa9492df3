"""Scores of denoised sound against their definitions, and what is said where there is no score."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from torchmetrics.functional.audio import scale_invariant_signal_distortion_ratio, signal_noise_ratio

from ml.metrics.denoising import has_pesq, pesq, score, si_sdr, snr, stoi, summarised

RATE = 16_000


def drawn(seconds: float = 1.0, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(round(seconds * RATE)) * 0.1


def speechlike(seconds: float = 2.0) -> np.ndarray:
    time = np.arange(round(seconds * RATE)) / RATE
    tones = sum(np.sin(2 * np.pi * hz * time) / number for number, hz in enumerate((180, 540, 1300, 2500), 1))
    return 0.1 * tones * (1 + np.sin(2 * np.pi * 4 * time))


def across(reference: np.ndarray, seed: int = 1) -> np.ndarray:
    """Noise without any of `reference` in it, as strong as that."""
    noise = drawn(len(reference) / RATE, seed)
    noise -= reference * (noise @ reference) / (reference @ reference)
    return noise * np.linalg.norm(reference) / np.linalg.norm(noise)


@pytest.mark.parametrize("decibels", [-7.0, 0.0, 3.0, 40.0])
def test_noise_across_the_sound_gives_its_ratio_whatever_the_loudness(decibels: float) -> None:
    clean = drawn()
    noisy = clean + across(clean) * 10 ** (-decibels / 20)
    assert snr(noisy, clean) == pytest.approx(decibels)
    for loudness in (1.0, 0.01, -3.0):
        assert si_sdr(loudness * noisy, clean) == pytest.approx(decibels)
    assert snr(2 * clean, clean) == pytest.approx(0.0), "the difference is the sound itself"


@pytest.mark.parametrize("seed", range(3))
def test_they_are_those_of_torchmetrics(seed: int) -> None:
    clean, estimate = drawn(seed=seed), 0.7 * drawn(seed=seed) + 0.3 * drawn(seed=seed + 50) + 0.01
    pair = torch.from_numpy(estimate), torch.from_numpy(clean)
    assert si_sdr(estimate, clean) == pytest.approx(scale_invariant_signal_distortion_ratio(*pair).item(), abs=1e-6)
    assert snr(estimate, clean) == pytest.approx(signal_noise_ratio(*pair).item(), abs=1e-6)


def test_no_ratio_is_infinite() -> None:
    clean = drawn()
    assert (si_sdr(clean, clean), snr(clean, clean)) == (100.0, 100.0)
    assert si_sdr(np.zeros_like(clean), clean) == -100.0, "what is silent says nothing of the sound"
    assert snr(np.zeros_like(clean), clean) == 0.0


@pytest.mark.parametrize(
    "silence", [np.zeros(RATE), np.zeros(0), np.random.default_rng(1).uniform(-3e-5, 3e-5, RATE)], ids=str
)
def test_against_silence_nothing_is_defined(silence: np.ndarray) -> None:
    estimate = drawn()[: len(silence)]
    for value in (si_sdr(estimate, silence), snr(estimate, silence), stoi(estimate, silence, RATE)):
        assert np.isnan(value)
    assert score(silence, estimate, estimate, RATE) == {"silent_reference": 1.0}


def test_intelligibility_falls_with_noise_and_is_unknown_for_a_moment_of_sound() -> None:
    clean = speechlike()
    heard = [stoi(clean + across(clean) * 10 ** (-decibels / 20), clean, RATE) for decibels in (30, 0, -15)]
    assert stoi(clean, clean, RATE) == pytest.approx(1.0)
    assert 1 > heard[0] > heard[1] > heard[2] and heard[0] - heard[2] > 0.2
    assert np.isnan(stoi(clean[:3000], clean[:3000], RATE)) and np.isnan(stoi(clean[:50], clean[:50], RATE))


def test_the_scores_of_a_file() -> None:
    clean = speechlike()
    noise = across(clean)
    said = score(clean, clean + noise, 0.5 * (clean + 0.1 * noise), RATE)
    assert said["si_sdr"] == pytest.approx(20.0) and said["si_sdr_improvement"] == pytest.approx(20.0)
    assert said["snr"] == pytest.approx(6.0, abs=0.1), "half as loud is half of it missing"
    assert 0 < said["stoi"] <= 1
    assert list(said) == ["si_sdr", "si_sdr_improvement", "snr", "stoi", *(["pesq"] if has_pesq() else [])]
    moment = score(clean[:1000], (clean + noise)[:1000], clean[:1000], RATE)
    assert "stoi" not in moment and moment["si_sdr"] == 100.0


def test_without_its_package_pesq_is_left_out() -> None:
    if has_pesq():
        clean = speechlike()
        assert 1.0 <= pesq(clean + 0.3 * across(clean), clean, RATE) < 4.65
    else:
        assert np.isnan(pesq(speechlike(), speechlike(), RATE))


def rows(*told: tuple[str, str, str, float]) -> pd.DataFrame:
    listed = [(part, f"{group}.wav", group, metric, value) for part, group, metric, value in told]
    return pd.DataFrame(listed, columns=["part", "recording", "group", "metric", "value"])


def test_a_part_is_summarised_over_files_with_an_interval_over_groups() -> None:
    scores = rows(
        *(("test", group, "si_sdr", value) for group, value in zip("aaabbc", (4, 5, 6, 8, 8, 11), strict=True))
    )
    found = summarised(scores)
    assert found.columns.tolist() == ["part", "level", "metric", "class", "value", "low", "high"]
    (only,) = found.to_dict("records")
    assert (only["part"], only["level"], only["metric"], only["class"]) == ("test", "recording", "si_sdr", None)
    assert only["value"] == pytest.approx(7.0)
    # Student's t over what each group makes of the mean: (15-21, 16-14, 11-7) / 2 = -3, 1, 2; 4.303 * 2.646 / sqrt(3).
    assert (only["low"], only["high"]) == pytest.approx((7 - 6.573, 7 + 6.573), abs=0.01)


def test_files_of_one_group_are_no_more_certain_than_one() -> None:
    one = summarised(rows(*(("test", "a", "snr", value) for value in (4.0, 5.0, 6.0)))).iloc[0]
    assert one["value"] == 5.0 and np.isnan(one["low"]) and np.isnan(one["high"])
    few = summarised(rows(("test", "a", "stoi", 0.99), ("test", "b", "stoi", 0.9))).iloc[0]
    assert few["low"] < 0.9 and few["high"] == 1.0, "no interval goes beyond what the score can be"
    groups = [str(number) for number in range(20)]
    apart = summarised(rows(*(("test", group, "snr", float(group)) for group in groups)))
    together = summarised(rows(*(("test", group, "snr", float(group)) for group in groups for _ in range(9))))
    pd.testing.assert_frame_equal(apart, together)


def test_silent_references_are_counted_and_in_no_mean() -> None:
    found = summarised(
        rows(
            ("validation", "a", "si_sdr", 3.0),
            ("test", "a", "si_sdr", 10.0),
            ("test", "b", "silent_reference", 1.0),
            ("test", "c", "silent_reference", 1.0),
            ("test", "d", "si_sdr", 12.0),
            ("test", "e", "si_sdr", float("nan")),
        )
    ).set_index(["part", "metric"])["value"]
    assert found.to_dict() == {
        ("validation", "si_sdr"): 3.0,
        ("test", "si_sdr"): 11.0,
        ("test", "silent_references"): 2.0,
    }
    assert summarised(rows()).empty
