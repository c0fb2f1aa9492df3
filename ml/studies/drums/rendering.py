"""From a kit and what is played on it to sound: a mix in a room, with or without other instruments."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ml.studies.drums.grooves import Played, Stroke
from ml.studies.drums.kits import RATE, Kit

CHOKED = 0.02
"""Seconds in which an open hi-hat falls silent when it is closed."""

LOUD = 0.85
"""Highest sample of a song; full scale = 1."""

HISSES = 0.6
"""Share of songs that were not made in a computer."""

SCALE = (0, 3, 5, 7, 10)
"""Semitones of the bass above its root."""


def render(kit: Kit, strokes: Sequence[Stroke], seconds: float, rng: np.random.Generator) -> np.ndarray:
    """The hits, played on `kit`: mono float32, RATE. Open hi-hats end where the next hit of the hi-hat begins."""
    sound = np.zeros(round(seconds * RATE), np.float32)
    hats = sorted(stroke.milliseconds for stroke in strokes if stroke.component.startswith("hihat"))
    for stroke in strokes:
        one = kit.strike(stroke.component, stroke.velocity, rng)
        if stroke.component == "hihat_open":
            later = [moment for moment in hats if moment > stroke.milliseconds]
            one = _choked(one, (later[0] - stroke.milliseconds) / 1000) if later else one
        first = round(stroke.milliseconds / 1000 * RATE)
        heard = one[: max(0, len(sound) - first)]
        sound[first : first + len(heard)] += heard
    return sound


def record(kit: Kit, played: Played, rng: np.random.Generator, *, band: bool) -> np.ndarray:
    """The song as a microphone hears it: room, tape, and a bass with chords where there is a `band`."""
    sound = in_room(render(kit, played.strokes, played.seconds, rng), rng)
    if band:
        sound = sound + rng.uniform(0.1, 0.25) * np.abs(sound).max() * accompany(played, rng)
    driven = np.tanh(rng.uniform(0.8, 1.6) * sound / np.abs(sound).max())
    noisy = driven / np.abs(driven).max() * LOUD * rng.uniform(0.6, 1.0)
    hiss = 10 ** rng.uniform(-4.6, -3.7) * (rng.random() < HISSES)
    return np.clip(noisy + hiss * rng.standard_normal(len(noisy)), -1, 1).astype(np.float32)


def in_room(sound: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """`sound` with early reflections and a tail of its own: a booth or a hall."""
    fade, wet = rng.uniform(0.03, 0.2), rng.uniform(0.03, 0.25)
    time = np.arange(round(4 * fade * RATE)) / RATE
    tail = rng.standard_normal(len(time)) * np.exp(-time / fade) * (time > rng.uniform(0.002, 0.012))
    tail = np.convolve(tail, np.ones(3) / 3, mode="same")
    tail[0] = 0
    tail *= wet / np.sqrt((tail**2).sum())
    tail[0] = 1
    size = 1 << (len(sound) + len(tail)).bit_length()
    return np.fft.irfft(np.fft.rfft(sound, size) * np.fft.rfft(tail, size), size)[: len(sound)].astype(np.float32)


def accompany(played: Played, rng: np.random.Generator) -> np.ndarray:
    """A bass in eighths and a chord in every half bar, with peaks at about 1."""
    sound = np.zeros(round(played.seconds * RATE))
    eighth, root = 30 / played.bpm, rng.uniform(41, 62)
    basses = [_note([root * 2 ** (step / 12)], 0.9, 0.25) for step in SCALE]
    chord = _note([root * 4 * ratio for ratio in (1.0, 1.25, 1.5, 2.0)], 0.25, 0.5)
    for number in range(int((played.seconds - played.offset) / eighth)):
        notes = [basses[rng.integers(len(basses))]] if rng.random() < 0.8 else []
        first = round((played.offset + number * eighth + rng.uniform(-0.006, 0.006)) * RATE)
        for note in [*notes, chord] if number % 4 == 0 else notes:
            heard = note[: max(0, len(sound) - first)]
            sound[first : first + len(heard)] += heard
    return sound / max(float(np.abs(sound).max()), 1e-9)


def _note(tones: Sequence[float], loud: float, fade: float) -> np.ndarray:
    """Plucked strings of these frequencies (Hz)."""
    time = np.arange(round(3 * fade * RATE)) / RATE
    soft = np.minimum(1, time / 0.012) * np.exp(-time / fade) * (1 - time / (3 * fade)) * loud
    return soft * np.sum([np.sin(2 * np.pi * k * hz * time) / k**1.6 for hz in tones for k in range(1, 6)], axis=0)


def _choked(sound: np.ndarray, seconds: float) -> np.ndarray:
    """`sound` that fades quickly after `seconds`."""
    after = np.maximum(0, np.arange(len(sound)) / RATE - seconds)
    return sound * np.exp(-after / (CHOKED / 3)).astype(np.float32)
