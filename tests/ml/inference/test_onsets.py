"""Onsets: found within milliseconds, the first as well as the last, in blocks as in one, and none in silence."""

from __future__ import annotations

import numpy as np
import pytest

from ml.inference import onsets
from ml.inference.onsets import find_onsets
from ml.metrics.events import matched_events
from tests.ml.inference.drummed import RATE, drummed


def moments(hits: dict[str, np.ndarray]) -> np.ndarray:
    return np.unique(np.concatenate(list(hits.values())))


@pytest.mark.parametrize("rate", [22_050, 44_100, 48_000])
def test_every_hit_is_found_within_four_milliseconds(rate: int) -> None:
    samples, hits = drummed(rate=rate)
    wanted, found = moments(hits), find_onsets(samples, rate)
    assert len(found) == len(wanted)
    assert np.abs(found - wanted).max() < 0.004


def test_a_hit_at_the_very_beginning_and_one_at_the_end() -> None:
    samples, hits = drummed(seconds=3.0)
    first = moments(hits)[0]
    begins = samples[round(first * RATE) :]
    last = begins[: round((moments(hits)[-1] - first) * RATE) + 2000]
    found = find_onsets(last, RATE)
    assert found[0] == pytest.approx(0.0, abs=0.002)
    assert found[-1] == pytest.approx(moments(hits)[-1] - first, abs=0.003)


def test_blocks_and_loudness_and_width_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    samples, _ = drummed()
    whole = find_onsets(samples, RATE)
    assert find_onsets(samples * 0.01, RATE) == pytest.approx(whole, abs=1e-3)
    assert find_onsets(samples.astype(np.float16), RATE) == pytest.approx(whole, abs=1e-3)
    monkeypatch.setattr(onsets, "BLOCK", 50)
    assert find_onsets(samples, RATE) == pytest.approx(whole, abs=1e-9)


def test_silence_dither_and_nothing_have_no_onset() -> None:
    assert not len(find_onsets(np.zeros(RATE, dtype=np.float32), RATE))
    dither = np.random.default_rng(0).uniform(-1, 1, RATE).astype(np.float32) * 2**-15
    assert not len(find_onsets(dither, RATE))
    assert not len(find_onsets(np.zeros(0, dtype=np.float32), RATE))
    assert not len(find_onsets(np.full(3, 0.5, dtype=np.float32), RATE))


def test_steady_sound_and_slow_swells_are_no_hits() -> None:
    at = np.arange(4 * RATE) / RATE
    swelling = 0.3 * np.sin(2 * np.pi * 220 * at) * (0.5 - 0.5 * np.cos(2 * np.pi * 0.5 * at))
    assert len(find_onsets(swelling.astype(np.float32), RATE)) <= 1


def test_hits_are_found_beside_chords_and_noise() -> None:
    samples, hits = drummed()
    at = np.arange(len(samples)) / RATE
    chords = sum(0.03 * np.sin(2 * np.pi * tone * at) for tone in (110, 165, 220, 330, 440))
    hiss = np.random.default_rng(1).normal(0, 0.001, len(samples))
    found = find_onsets((samples + chords + hiss).astype(np.float32), RATE)
    wanted = moments(hits)
    assert matched_events(wanted, found, 0.02) >= 0.95 * len(wanted)
    assert len(found) <= 1.1 * len(wanted)
