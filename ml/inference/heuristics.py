"""What is hit, told without a network: from how much each band of the spectrum grows at an onset, and how it dies away.

Rules of thumb about drums: a kick booms below 120 Hz, a tom above that and without noise, a snare with noise, cymbals
hiss above 4 kHz, and how long they do tells a closed hi-hat from an open one and from a crash. It needs no training and
knows no kit. The powers of the bands also say how hard each component was hit, whoever tells which it was.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ml.data.components import COMPONENTS

BORDERS_HZ = (25, 60, 120, 250, 600, 1500, 4000, 8000, 16_000)
"""Between neighbours lies a band."""
EARLY_SECONDS, LATE_SECONDS, BEFORE_SECONDS = (0.0, 0.04), (0.05, 0.1), (-0.035, 0.0)
"""From the onset on: what is compared with each other."""
AT_ONCE = 512
"""Onsets whose spectra are held at once."""
NOTHING = 1e-12
"""Power that stands for none: 120 dB below full scale."""

LOW, BODY, NOISE, HIGH = slice(0, 2), slice(2, 4), slice(5, 7), slice(6, 8)
"""Bands in which kicks boom; toms and snares do; snares rattle; cymbals hiss."""
OWN_BANDS = {"kick": slice(0, 2), "snare": slice(2, 6)} | dict.fromkeys(("tom_high", "tom_mid", "tom_low"), slice(1, 4))
"""Where the strength of a component is measured; all others: HIGH."""


@dataclass(frozen=True)
class Bands:
    """Mean powers (onsets, bands): as an onset begins, a little later, and just before it."""

    early: NDArray[np.float64]
    late: NDArray[np.float64]
    before: NDArray[np.float64]

    @property
    def grown(self) -> NDArray[np.float64]:
        """What an onset adds to what sounds on from before."""
        return np.maximum(self.early - self.before, NOTHING)


def bands_of(samples: NDArray[np.floating], rate: int, onsets: NDArray[np.float64]) -> Bands:
    """The bands at `onsets` (seconds) in mono `samples` (n,) at `rate` Hz; silence lies around them."""
    spans = [_powers(samples, rate, onsets, *span) for span in (EARLY_SECONDS, LATE_SECONDS, BEFORE_SECONDS)]
    return Bands(*spans)


def levels_of(bands: Bands) -> NDArray[np.float64]:
    """Amplitude (onsets, components) with which each component would have been hit at each onset."""
    grown = bands.grown
    own = [np.sqrt(grown[:, OWN_BANDS.get(name, HIGH)].sum(axis=1)) for name in COMPONENTS]
    return np.stack(own, axis=1)


def told_by_bands(bands: Bands) -> NDArray[np.float32]:
    """Probabilities (onsets, components) by rules; crash2, ride_bell and china are never heard apart by them."""
    grown = bands.grown
    if not len(grown):
        return np.zeros((0, len(COMPONENTS)), dtype=np.float32)
    low, body, noise, high = (_decibels(grown[:, own].sum(axis=1)) for own in (LOW, BODY, NOISE, HIGH))
    deep = _decibels(grown[:, 1]) - _decibels(grown[:, 2])
    bright = _decibels(grown[:, 7]) - _decibels(grown[:, 6])
    ring = _decibels((bands.late - bands.before)[:, HIGH].sum(axis=1)) - high
    boom = low - _decibels(grown[:, 2])
    loud = high - _loudest(high)
    drum = _all(body - _loudest(body) + 12, 10 - (low - body), body - high - 1)
    rattle = noise - body + 13.5
    hiss = loud + 10
    rules = {
        "kick": _all(low - _loudest(low) + 12, boom - 4),
        "snare": _all(drum, rattle),
        "tom_high": _all(drum, -rattle, -11 - deep),
        "tom_mid": _all(drum, -rattle, deep + 11, -5.5 - deep),
        "tom_low": _all(drum, -rattle, deep + 5.5),
        "ride": _all(hiss, bright - 3, ring + 10),
        "crash": _all(hiss, loud - 1, ring + 5, 3 - bright),
        "hihat_open": _all(hiss, ring + 5, 1 - loud, 3 - bright),
        "hihat_closed": _all(hiss, -5 - ring, 1 - loud, np.maximum(3 - bright, -10 - ring)),
    }
    nothing = np.full(len(grown), -np.inf)
    decibels = np.stack([rules.get(name, nothing) for name in COMPONENTS], axis=1)
    return (1 / (1 + np.exp(-decibels / 3))).astype(np.float32)


def _all(*rules: NDArray[np.float64]) -> NDArray[np.float64]:
    """The rule that is met least, in decibels beyond its border: all must be met."""
    return np.min(rules, axis=0)


def _loudest(decibels: NDArray[np.float64]) -> float:
    """Of the song, but for the few that are loudest."""
    return float(np.quantile(decibels, 0.95))


def _decibels(power: NDArray[np.float64]) -> NDArray[np.float64]:
    return 10 * np.log10(np.maximum(power, NOTHING))


def _powers(
    samples: NDArray[np.floating], rate: int, onsets: NDArray[np.float64], begin: float, end: float
) -> NDArray[np.float64]:
    length = round((end - begin) * rate)
    fft = 1 << (length - 1).bit_length()
    window = np.hanning(length).astype(np.float32)
    bins = np.fft.rfftfreq(fft, 1 / rate)
    borders = np.searchsorted(bins, BORDERS_HZ)
    first = np.rint((onsets + begin) * rate).astype(np.int64)
    found = np.empty((len(onsets), len(BORDERS_HZ) - 1))
    for batch in range(0, len(onsets), AT_ONCE):
        places = first[batch : batch + AT_ONCE, None] + np.arange(length)
        heard = np.take(samples, places, mode="clip").astype(np.float32)
        heard[(places < 0) | (places >= len(samples))] = 0
        spectra = np.square(np.abs(np.fft.rfft(heard * window, fft)), dtype=np.float64)
        sums = np.concatenate([np.zeros((len(spectra), 1)), np.cumsum(spectra, axis=1)], axis=1)
        found[batch : batch + AT_ONCE] = np.diff(sums[:, np.minimum(borders, len(bins))], axis=1)
    return 2 * found / (fft * float(np.square(window).sum()))
