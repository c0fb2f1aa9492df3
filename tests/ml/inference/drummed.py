"""A drummed groove out of numbers: decaying sines for kicks, noise for snares, high noise for closed hi-hats."""

from __future__ import annotations

import numpy as np

RATE = 44_100
BEAT_SECONDS = 0.5
FIRST_SECONDS = 0.25


def drummed(seconds: float = 8.0, seed: int = 0, rate: int = RATE) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Mono float32 samples, and the times of the hits by component: 120 bpm, kick on 1 and 3, snare on 2 and 4."""
    draws = np.random.default_rng(seed)
    samples = np.zeros(round(seconds * rate), dtype=np.float32)
    hits: dict[str, list[float]] = {"kick": [], "snare": [], "hihat_closed": []}
    for eighth in range(int((seconds - FIRST_SECONDS - 0.2) / (BEAT_SECONDS / 2))):
        at = FIRST_SECONDS + eighth * BEAT_SECONDS / 2 + draws.normal(0, 0.002)
        hits["hihat_closed"].append(at)
        if eighth % 2 == 0:
            hits["kick" if eighth % 4 == 0 else "snare"].append(at)
    for name, times in hits.items():
        for at in times:
            one = _struck(name, rate, draws)
            first = round(at * rate)
            samples[first : first + len(one)] += one[: len(samples) - first]
    return samples, {name: np.array(times) for name, times in hits.items()}


def _struck(name: str, rate: int, draws: np.random.Generator) -> np.ndarray:
    at = np.arange(round(0.2 * rate)) / rate
    noise = draws.normal(0, 1, len(at))
    if name == "kick":
        return 0.5 * np.sin(2 * np.pi * 55 * at) * np.exp(-at / 0.06) + 0.05 * noise * np.exp(-at / 0.002)
    if name == "snare":
        return (0.3 * np.sin(2 * np.pi * 190 * at) + 0.12 * noise) * np.exp(-at / 0.05)
    spectrum = np.fft.rfft(noise)
    spectrum[np.fft.rfftfreq(len(at), 1 / rate) < 6000] = 0
    return 0.15 * np.fft.irfft(spectrum, len(at)) * np.exp(-at / 0.015)
