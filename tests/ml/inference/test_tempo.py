"""Tempo and the beginning of bars, told from hits that people played and not machines."""

from __future__ import annotations

import numpy as np
import pytest

from ml.inference.tempo import UNKNOWN, tempo_of


def rock(bpm: float, offset: float, bars: int, jitter: float = 0.004, swing: float = 0.0) -> dict[str, np.ndarray]:
    draws, beat = np.random.default_rng(0), 60 / bpm
    eighths = np.arange(bars * 8)
    hats = offset + eighths * beat / 2 + (eighths % 2) * swing * beat / 2
    hits = {"hihat_closed": hats, "kick": hats[::4], "snare": hats[2::4]}
    return {name: times + draws.normal(0, jitter, len(times)) for name, times in hits.items()}


@pytest.mark.parametrize("bpm", [90.0, 94.8, 120.0, 133.3, 158.2])
def test_the_tempo_is_told_within_a_third_of_a_beat_per_minute(bpm: float) -> None:
    assert tempo_of(rock(bpm, 0.1, 8)).bpm == pytest.approx(bpm, abs=0.33)


def test_a_swung_groove_keeps_its_beat() -> None:
    assert tempo_of(rock(110.0, 0.1, 8, swing=0.3)).bpm == pytest.approx(110.0, abs=0.4)


def test_a_long_song_is_told_finely_enough_to_stay_on_the_beat() -> None:
    found = tempo_of(rock(127.35, 1.3, 150))
    drift = abs(60 / found.bpm - 60 / 127.35) * 600
    assert drift < 0.05, "seconds after 600 beats"


@pytest.mark.parametrize("offset", [0.0, 0.1, 0.73])
def test_bars_begin_at_the_kick_and_not_at_the_snare(offset: float) -> None:
    beat = 0.5
    begin = tempo_of(rock(120.0, offset, 8)).offset
    from_bar = (begin - offset + beat / 8) % (2 * beat)  # a kick on 1 and 3: half a bar cannot be told
    assert from_bar == pytest.approx(beat / 8, abs=0.01)


def test_too_few_hits_say_nothing() -> None:
    assert tempo_of({}) == UNKNOWN
    assert tempo_of({"kick": np.array([1.0, 1.0, 1.0, 1.0, 1.0])}) == UNKNOWN
    assert tempo_of({"kick": np.array([0.1, 0.2])}) == UNKNOWN
