"""Rules of thumb: what booms, rattles and hisses, however loud the song is, beside what sounds on."""

from __future__ import annotations

import numpy as np
import pytest

from ml.data.components import COMPONENTS
from ml.inference.heuristics import BORDERS_HZ, Bands, bands_of, levels_of, told_by_bands
from tests.ml.inference.drummed import RATE, drummed

KICK, SNARE, HAT = (COMPONENTS.index(name) for name in ("kick", "snare", "hihat_closed"))


def told(samples: np.ndarray, onsets: np.ndarray) -> np.ndarray:
    return told_by_bands(bands_of(samples, RATE, onsets))


@pytest.mark.parametrize("gain", [1.0, 0.02])
def test_a_groove_is_told_at_any_loudness(gain: float) -> None:
    samples, hits = drummed()
    for name, place in (("kick", KICK), ("snare", SNARE)):
        said = told(gain * samples, np.sort(np.concatenate(list(hits.values()))))
        onsets = np.sort(np.concatenate(list(hits.values())))
        sounds = np.abs(onsets[:, None] - hits[name]).min(axis=1) < 0.01
        assert ((said[:, place] > 0.5) == sounds).mean() > 0.95, name


def test_a_band_holds_the_power_of_its_tones() -> None:
    at = np.arange(RATE) / RATE
    for number in range(len(BORDERS_HZ) - 1):
        tone = np.sqrt(BORDERS_HZ[number] * BORDERS_HZ[number + 1])
        early = bands_of(0.5 * np.sin(2 * np.pi * tone * at), RATE, np.array([0.3])).early[0]
        assert early.argmax() == number or tone < 60, "40 ms tell low tones apart roughly"
        assert early.sum() == pytest.approx(0.125, rel=0.5), "half the square of the amplitude"


def test_what_sounds_on_is_not_hit_again() -> None:
    at = np.arange(2 * RATE) / RATE
    held = 0.3 * np.sin(2 * np.pi * 70 * at)
    bands = bands_of(held, RATE, np.array([1.0]))
    assert bands.grown.sum() < 0.1 * bands.early.sum()


def test_levels_follow_how_hard_a_component_is_hit() -> None:
    samples, hits = drummed()
    onsets = hits["kick"]
    soft, hard = levels_of(bands_of(0.1 * samples, RATE, onsets)), levels_of(bands_of(samples, RATE, onsets))
    assert hard == pytest.approx(10 * soft, rel=0.01)
    off = hits["hihat_closed"][1::4]
    assert levels_of(bands_of(samples, RATE, off))[:, KICK].max() < 0.1 * hard[:, KICK].min(), "a hat is no soft kick"


def test_the_ends_of_a_song_and_no_onset_at_all() -> None:
    samples, _ = drummed(seconds=1.0)
    assert np.isfinite(told(samples, np.array([0.0, 0.999]))).all()
    assert told(samples, np.zeros(0)).shape == (0, 12)
    nothing = np.zeros((1, len(BORDERS_HZ) - 1))
    assert np.isfinite(told_by_bands(Bands(nothing, nothing, nothing))).all()
