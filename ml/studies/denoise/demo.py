"""A small denoise corpus, synthesized at 44.1 kHz: voices and songs, and what spoils recordings of them.

Every noise is there in several recordings that differ as real ones do, so that validation and test hear noise which
training never heard. Voices and songs, too, are of one part each.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

RATE = 44_100
"""Hz."""
SECONDS = 0.9
"""Of a file, about."""
FILES = 2
"""That a voice, a song or a noise is cut into: they belong together."""
FEWEST = 3
"""Voices, songs and recordings of each noise: one for each part."""

BROKEN = "przerwane nagranie.wav"
"""A file that is cut off in its middle: the inventory has something to refuse."""


def write_corpus(folder: Path, *, seed: int = 0, scale: float = 1.0) -> None:
    """Write clean/ and noise/ below `folder`; `scale` multiplies the number of voices, songs and recorded noises."""
    kinds: list[tuple[str, str, Callable[[np.random.Generator, np.ndarray], np.ndarray], int]] = [
        ("clean", "voice", voice, 16),
        ("clean", "song", song, 14),
        ("noise", "hiss", hiss, 6),
        ("noise", "rain", rain, 6),
        ("noise", "whine", whine, 6),
        ("noise", "fan", fan, 6),
        ("noise", "scratches", scratches, 6),
    ]
    for kind, (place, name, sound, recordings) in enumerate(kinds):
        (folder / place).mkdir(parents=True, exist_ok=True)
        for number in range(max(FEWEST, round(recordings * scale))):
            rng = np.random.default_rng([seed, kind, number])
            length = round(SECONDS * rng.uniform(0.9, 1.1) * RATE)
            samples = sound(rng, np.arange(FILES * length) / RATE)
            samples *= rng.uniform(0.5, 0.9) / np.abs(samples).max()
            for part in range(FILES):
                suffix = "wav" if number == 0 else "flac"
                path = (
                    folder / place / f"{name}_{chr(ord('a') + number % 26)}{number // 26 or ''} part{part + 1}.{suffix}"
                )
                _write(path, samples[part * length : (part + 1) * length])
    whole = folder / "clean" / "voice_a part1.wav"
    (folder / "clean" / BROKEN).write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])


def voice(rng: np.random.Generator, time: np.ndarray) -> np.ndarray:
    """A buzz through three moving resonances, in syllables with pauses."""
    rate = rng.uniform(3, 5)
    tone = rng.uniform(90, 230) * (1 + 0.12 * np.sin(2 * np.pi * rng.uniform(0.4, 0.8) * time + rng.uniform(0, 6)))
    phase = 2 * np.pi * np.cumsum(tone) / RATE
    formants = [
        middle * (1 + swing * np.sin(np.pi * rate * time * turn + rng.uniform(0, 6)))
        for middle, swing, turn in ((550, 0.4, 1.0), (1500, 0.3, 0.7), (2600, 0.1, 1.3))
    ]
    sound = np.zeros_like(time)
    coarse = slice(None, None, 64)  # resonances move slowly
    for number in range(1, 30):
        resonance = sum(np.exp(-(((number * tone[coarse] - formant[coarse]) / 220) ** 2)) for formant in formants)
        loud = np.interp(time, time[coarse], resonance + 0.08)
        sound += loud * np.sin(number * phase) / number**0.6
    syllables = np.clip(np.sin(2 * np.pi * rate * time + rng.uniform(0, 6)) + 0.5, 0, 1)
    phrases = np.clip(4 * np.sin(2 * np.pi * 0.35 * time + rng.uniform(0, 6)) + 3.4, 0, 1)
    return sound * syllables * phrases


def song(rng: np.random.Generator, time: np.ndarray) -> np.ndarray:
    """A plucked melody over chords that change every beat or two."""
    sound = np.zeros_like(time)
    beat = rng.uniform(0.25, 0.4)
    root = rng.uniform(55, 110)
    steps = np.array([0, 2, 4, 5, 7, 9, 11, 12])
    for count, begin in enumerate(np.arange(0, time[-1], beat)):
        tones = [(root * 4 * 2 ** (rng.choice(steps) / 12), 1.0, 0.3)]
        if count % 2 == 0:
            below = root * 2 ** (rng.choice([0, 5, 7]) / 12)
            tones += [(below * ratio, 0.5, 0.5) for ratio in (1.0, 2.0, 2.5, 3.0)]
        for hz, loud, decay in tones:
            heard = slice(int(begin * RATE), int((begin + 3 * decay) * RATE))
            after = time[heard] - begin
            envelope = loud * np.minimum(1, after / 0.005) * np.exp(-after / decay) * (1 - after / (3 * decay))
            sound[heard] += envelope * sum(np.sin(2 * np.pi * k * hz * after) / k**1.4 for k in range(1, 9))
    return sound


def hiss(rng: np.random.Generator, time: np.ndarray) -> np.ndarray:
    """Tape: white, or leaning a little to the high."""
    white = rng.standard_normal(len(time))
    return _shaped(white, lambda hz: (1 + hz / rng.uniform(4000, 16000)) ** rng.uniform(0, 0.7))


def rain(rng: np.random.Generator, time: np.ndarray) -> np.ndarray:
    """Thousands of drops, each a short knock without depth, over a rustle."""
    drops = np.zeros(len(time))
    moments = rng.integers(0, len(time), size=int(rng.uniform(800, 3000) * time[-1]))
    np.add.at(drops, moments, rng.exponential(1.0, size=len(moments)) * rng.choice([-1, 1], size=len(moments)))
    low = rng.uniform(1500, 3500)
    wet = drops + 0.15 * rng.standard_normal(len(time))
    return _shaped(wet, lambda hz: 1 / (1 + (low / np.maximum(hz, 1)) ** 2) / (1 + (hz / 12000) ** 2))


def whine(rng: np.random.Generator, time: np.ndarray) -> np.ndarray:
    """A cheap power supply: a few high tones that waver, and some hiss of the amplifier."""
    sound = 0.7 * hiss(rng, time)
    for hz in rng.uniform(5500, 15_000, size=5):
        wavering = hz * (1 + 0.01 * np.sin(2 * np.pi * rng.uniform(0.3, 3) * time + rng.uniform(0, 6)))
        sound += rng.uniform(0.3, 1.0) * np.sin(2 * np.pi * np.cumsum(wavering) / RATE)
    return sound


def fan(rng: np.random.Generator, time: np.ndarray) -> np.ndarray:
    """Air through a grille: a broad rush that beats with the blades."""
    middle = rng.uniform(5000, 8000)
    rush = _shaped(rng.standard_normal(len(time)), lambda hz: np.exp(-(((hz - middle) / 3500) ** 2)) + 0.05)
    return rush * (1 + rng.uniform(0.2, 0.6) * np.sin(2 * np.pi * rng.uniform(8, 25) * time))


def scratches(rng: np.random.Generator, time: np.ndarray) -> np.ndarray:
    """A worn record: clicks of all sizes over surface noise."""
    clicks = np.zeros(len(time))
    moments = rng.integers(0, len(time) - 60, size=int(rng.uniform(40, 120) * time[-1]))
    for moment in moments:
        clicks[moment : moment + 60] += rng.normal(0, 6) * rng.standard_normal(60) * np.exp(-np.arange(60) / 9)
    return clicks + hiss(rng, time)


def _shaped(sound: np.ndarray, response: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """`sound` with the strength of each frequency (Hz) multiplied by `response`."""
    size = 1 << (len(sound) - 1).bit_length()
    shaped = np.fft.irfft(np.fft.rfft(sound, size) * response(np.fft.rfftfreq(size, 1 / RATE)), size)[: len(sound)]
    return shaped / shaped.std()


def _write(path: Path, samples: np.ndarray) -> None:
    import soundfile

    soundfile.write(str(path), np.clip(samples, -1, 1).astype(np.float32), RATE, subtype="PCM_16")
