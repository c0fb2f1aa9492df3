"""A small concert corpus, synthesized: five classes, badly imbalanced, and hard exactly where the study asks.

MUSIC has passages that sound like an orchestra tuning (open fifths on A), and TUNING is rare: a model that is trained
on what occurs learns to say MUSIC; one that sees both equally often finds TUNING and loses some MUSIC.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

RATE = 22050
"""Hz."""

A4 = 440.0


def write_corpus(folder: Path, *, seed: int = 0, scale: float = 1.0) -> None:
    """Write CLASS/file below `folder`; `scale` multiplies the number of recordings of each class.

    One file is cut off in its middle, as files on network drives are: the inventory has something to refuse.
    """
    plan: dict[str, tuple[Callable[[np.random.Generator, float], np.ndarray], int, float]] = {
        "APPLAUSE": (applause, 14, 9.0),
        "MUSIC": (music, 16, 36.0),
        "PUBLIC": (public, 14, 12.0),
        "SPEECH": (speech, 12, 9.0),
        "TUNING": (tuning, 12, 6.0),
    }
    for number, (name, (sound, files, seconds)) in enumerate(plan.items()):
        place = folder / name
        place.mkdir(parents=True, exist_ok=True)
        for index in range(max(3, round(files * scale))):
            rng = np.random.default_rng([seed, number, index])
            samples = sound(rng, seconds * rng.uniform(0.8, 1.2))
            suffix = "flac" if index % 3 else "wav"
            _write(place / f"{name.lower()} {index + 1:02d}.{suffix}", samples, rng)
    whole = folder / "PUBLIC" / "public 01.wav"
    (folder / "PUBLIC" / "przerwane nagranie.wav").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])


def music(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """A chord per beat of about a second; now and then a stretch of open fifths on A, as tuning has."""
    pieces, length = [], 0.0
    while length < seconds:
        beat = rng.uniform(0.5, 1.1)
        if rng.random() < 0.06:
            beat = rng.uniform(2.0, 4.0)
            tones = [A4 / 2, A4, A4 * 1.5]
        else:
            root = 110 * 2 ** (rng.integers(0, 24) / 12)
            tones = [root * 2 ** (step / 12) for step in ((0, 4, 7, 12), (0, 3, 7, 12), (0, 5, 9, 12))[rng.integers(3)]]
        pieces.append(_tones(rng, tones, beat, attack=0.02, decay=beat * 1.5))
        length += beat
    return np.concatenate(pieces)[: int(seconds * RATE)]


def tuning(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """Many strings around A, each sliding to its pitch, over the murmur of the hall."""
    time = np.arange(int(seconds * RATE)) / RATE
    sound = np.zeros_like(time)
    for tone in (A4 / 2, A4, A4, A4 * 1.5, A4 * 2, A4 * 2 / 3):
        drift = 1 + rng.uniform(-0.02, 0.02) * np.exp(-time / rng.uniform(1, 4))
        phase = 2 * np.pi * np.cumsum(tone * drift) / RATE
        swell = 0.6 + 0.4 * np.sin(2 * np.pi * rng.uniform(0.1, 0.5) * time + rng.uniform(0, 6))
        sound += swell * sum(np.sin(k * phase) / k for k in range(1, 6))
    return sound / 6 + 0.25 * public(rng, seconds)[: len(time)]


def applause(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """Thousands of claps: short bursts of noise at random moments."""
    samples = int(seconds * RATE)
    claps = np.zeros(samples)
    times = rng.integers(0, samples, size=int(300 * seconds))
    np.add.at(claps, times, rng.exponential(1.0, size=len(times)))
    burst = rng.standard_normal(600) * np.exp(-np.arange(600) / 90)
    return _convolve(claps, burst)


def speech(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """A buzzing voice, in syllables with pauses, through two moving resonances."""
    time = np.arange(int(seconds * RATE)) / RATE
    pitch = rng.uniform(90, 220) * (1 + 0.1 * np.sin(2 * np.pi * 0.7 * time))
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    rate = rng.uniform(3, 5)
    syllables = np.clip(np.sin(2 * np.pi * rate * time + rng.uniform(0, 6)) + 0.3, 0, 1)
    phrases = (np.sin(2 * np.pi * 0.25 * time + rng.uniform(0, 6)) > -0.7).astype(float)
    formant = 700 + 400 * np.sin(2 * np.pi * rate / 2 * time)
    voice = sum(
        np.sin(k * phase) * np.exp(-(((k * pitch - formant) / 350) ** 2)) + 0.1 * np.sin(k * phase) / k
        for k in range(1, 18)
    )
    return voice * syllables * phrases + 0.01 * rng.standard_normal(len(time))


def public(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """The murmur of a hall: low noise that swells, and a cough now and then."""
    samples = int(seconds * RATE)
    noise = _convolve(rng.standard_normal(samples), np.exp(-np.arange(400) / 60))
    swell = 0.6 + 0.4 * np.interp(np.arange(samples), np.linspace(0, samples, 12), rng.random(12))
    for moment in rng.integers(0, max(1, samples - 4000), size=int(seconds / 4)):
        noise[moment : moment + 4000] += 8 * rng.standard_normal(4000) * np.exp(-np.arange(4000) / 700)
    return noise * swell / 4


def _tones(rng: np.random.Generator, tones: list[float], seconds: float, attack: float, decay: float) -> np.ndarray:
    time = np.arange(int(seconds * RATE)) / RATE
    envelope = np.minimum(1, time / attack) * np.exp(-time / decay)
    vibrato = 0.004 * np.sin(2 * np.pi * 5.5 * time)
    return envelope * sum(
        np.sin(2 * np.pi * k * tone * time + k * tone * vibrato + rng.uniform(0, 6)) / k
        for tone in tones
        for k in range(1, 6)
        if k * tone < RATE / 2
    )


def _convolve(sound: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    size = 1 << (len(sound) + len(kernel)).bit_length()
    return np.fft.irfft(np.fft.rfft(sound, size) * np.fft.rfft(kernel, size), size)[: len(sound)]


def _write(path: Path, samples: np.ndarray, rng: np.random.Generator) -> None:
    import soundfile

    level = rng.uniform(0.15, 0.7) / max(float(np.abs(samples).max()), 1e-9)
    noisy = samples * level + rng.uniform(0.002, 0.01) * rng.standard_normal(len(samples))
    soundfile.write(str(path), np.clip(noisy, -1, 1).astype(np.float32), RATE, subtype="PCM_16")
