"""Voices for the demo: a buzz through two resonances, spoken differently in each emotion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

RATE = 16_000
"""Hz."""

HARMONICS = 24


@dataclass(frozen=True)
class Manner:
    """How an emotion is spoken."""

    pitch: float
    """Times the person's own."""
    range: float
    """Share of the pitch by which it goes up and down."""
    rise: float
    """Share of the pitch that is gained, or lost, from the beginning to the end."""
    syllables: float
    """A second."""
    tilt: float
    """How fast overtones fade; low is sharp, high is dull."""
    tremble: float
    """Share by which loudness shakes eight times a second."""
    breath: float
    """Noise beside the voice."""


MANNERS = {
    "angry": Manner(pitch=1.3, range=0.1, rise=-0.1, syllables=5.5, tilt=0.4, tremble=0.0, breath=0.1),
    "disgusted": Manner(pitch=0.75, range=0.1, rise=-0.3, syllables=2.0, tilt=0.8, tremble=0.5, breath=0.3),
    "fearful": Manner(pitch=1.6, range=0.05, rise=0.1, syllables=5.0, tilt=1.2, tremble=0.6, breath=0.3),
    "happy": Manner(pitch=1.4, range=0.35, rise=0.0, syllables=4.5, tilt=0.9, tremble=0.0, breath=0.05),
    "sad": Manner(pitch=0.85, range=0.06, rise=-0.2, syllables=2.2, tilt=1.8, tremble=0.1, breath=0.15),
    "surprised": Manner(pitch=1.3, range=0.1, rise=0.8, syllables=1.2, tilt=0.9, tremble=0.0, breath=0.1),
    "neutral": Manner(pitch=1.0, range=0.05, rise=0.0, syllables=3.5, tilt=1.2, tremble=0.0, breath=0.05),
}


def speak(pitch: float, emotion: str, rng: np.random.Generator) -> np.ndarray:
    """Two to four seconds of a voice of that pitch (Hz) in that emotion."""
    manner = MANNERS[emotion]
    time = np.arange(int(rng.uniform(2.0, 4.0) * RATE)) / RATE
    course = np.linspace(-0.5, 0.5, len(time))
    melody = manner.range * np.sin(2 * np.pi * rng.uniform(0.5, 0.9) * time + rng.uniform(0, 6))
    tone = pitch * manner.pitch * rng.uniform(0.92, 1.08) * (1 + melody + manner.rise * course)
    phase = 2 * np.pi * np.cumsum(tone) / RATE
    rate = manner.syllables * rng.uniform(0.9, 1.1)
    formants = (600 + 250 * np.sin(np.pi * rate * time + rng.uniform(0, 6)), 1700 + 500 * np.sin(2.1 * rate * time))
    voice = np.zeros_like(time)
    for number in range(1, HARMONICS + 1):
        resonance = sum(np.exp(-(((number * tone - formant) / 300) ** 2)) for formant in formants)
        audible = number * tone < RATE / 2
        voice += audible * (resonance + 0.15) * np.sin(number * phase) / number ** (manner.tilt / 2)
    syllables = np.clip(np.sin(2 * np.pi * rate * time + rng.uniform(0, 6)) + 0.4, 0, 1)
    shaking = 1 + manner.tremble * np.sin(2 * np.pi * rng.uniform(7, 9) * time)
    return (voice + manner.breath * rng.standard_normal(len(time))) * syllables * shaking
