"""How fast a song is and where its bars begin, told from its hits.

Where hits lie on a grid of quarters of a beat, their phases agree: their sum as unit vectors at that frequency is
long (a Fourier tempogram; Grosche and Mueller: Extracting predominant local pulse information, 2011). Of the tempos
that fit, halves and doubles among them, people feel the one nearest to 120.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

SLOWEST, FASTEST = 60.0, 200.0
"""Beats per minute that are considered."""
USUAL, OCTAVES = 120.0, 0.6
"""What people feel when several fit, and how far from it is one deviation."""
GRIDS = {1: 0.5, 2: 1.0, 4: 0.7}
"""Parts that a beat is divided into, and how much each grid says of where the beats are."""
FEWEST = 4
"""Hits of which a tempo can be told."""
BEATS = 4
"""Of a bar."""
ON_BEATS = {"kick": 2.0, "snare": 2.0}
"""How much more than of others the places of these say of the beat: hats are often swung."""
BINS_HZ = 250
"""Hits within 4 ms are one where tempos are looked through."""
ROUNDED = 0.04
"""A whole number of beats per minute is meant where it is off by so little of a quarter beat at the song's end."""
FIRST_OF_BAR = {"kick": 1.0, "crash": 1.5, "china": 1.0, "snare": -1.0}
"""How much a hit on a beat says that a bar begins there."""


class Tempo(NamedTuple):
    """Beats per minute, and the seconds at which the first whole bar begins."""

    bpm: float
    offset: float


UNKNOWN = Tempo(USUAL, 0.0)
"""Of a song with too few hits; a beatmap has to say something."""


def tempo_of(hits: dict[str, NDArray[np.float64]]) -> Tempo:
    """The tempo of a song whose components are hit at these seconds."""
    times = np.concatenate([np.zeros(0), *hits.values()])
    if len(times) < FEWEST or np.ptp(times) <= 0:
        return UNKNOWN
    weights = np.concatenate([np.full(len(own), ON_BEATS.get(name, 1.0)) for name, own in hits.items()])
    weights /= weights.sum()
    span = float(np.ptp(times))
    coarse, fits = _coarse(times - times.min(), weights, span)
    bpm = float(coarse[np.argmax(fits)])
    width = 60 / (span * max(GRIDS))
    for _ in range(2):
        near = np.linspace(bpm - width, bpm + width, 41)
        bpm = float(near[np.argmax(_fits(times, weights, near))])
        width /= 10
    rounded = round(bpm)  # most songs are made to a whole number
    if abs(bpm - rounded) * span * max(GRIDS) / 60 < ROUNDED:
        bpm = float(rounded)
    return Tempo(bpm, _bar(hits, bpm))


def _coarse(
    times: NDArray[np.float64], weights: NDArray[np.float64], span: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Tempos and how well each fits, by one Fourier transform of the hits: fine enough to miss no peak."""
    bins = np.bincount(np.rint(times * BINS_HZ).astype(np.int64), weights)
    count = 1 << int(np.ceil(np.log2(8 * max(span, 1.0) * BINS_HZ)))
    step = 60 * BINS_HZ / count
    places = np.arange(int(np.ceil(SLOWEST / step)), int(FASTEST / step) + 1)
    length = np.abs(np.fft.rfft(bins, count)[: places[-1] * max(GRIDS) + 1])
    fits: NDArray[np.float64] = np.sum([share * length[places * parts] for parts, share in GRIDS.items()], axis=0)
    tempos = places.astype(np.float64) * step
    return tempos, fits * _usual(tempos)


def _fits(times: NDArray[np.float64], weights: NDArray[np.float64], tempos: NDArray[np.float64]) -> NDArray[np.float64]:
    found = np.zeros(len(tempos))
    for parts, share in GRIDS.items():
        turned = np.exp(2j * np.pi * np.outer(tempos / 60 * parts, times))
        found += share * np.abs(turned @ weights)
    return found * _usual(tempos)


def _usual(tempos: NDArray[np.float64]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = np.exp(-0.5 * np.square(np.log2(tempos / USUAL) / OCTAVES))
    return found


def _bar(hits: dict[str, NDArray[np.float64]], bpm: float) -> float:
    """Where the first bar begins: on the grid of beats, where kicks and crashes are and snares are not."""
    beat = 60 / bpm
    everything = np.concatenate([np.zeros(0), *hits.values()])
    quarter = beat / max(GRIDS)
    turned = np.exp(2j * np.pi * everything / quarter).sum()
    first = float(np.angle(turned)) / (2 * np.pi) * quarter % quarter
    places = first + quarter * np.arange(BEATS * max(GRIDS))
    said = [_says(hits, place, beat, quarter) for place in places]
    begin = float(places[int(np.argmax(said))])
    # A few milliseconds before the file begins is at its beginning.
    bar = BEATS * beat
    return begin - bar if bar - begin < quarter / 4 else begin


def _says(hits: dict[str, NDArray[np.float64]], place: float, beat: float, quarter: float) -> float:
    """How much says that bars begin at `place`: what is hit on the first and the third beat, and on the others."""
    total = 0.0
    for name, weight in FIRST_OF_BAR.items():
        beats = (hits.get(name, np.zeros(0)) - place) / beat
        nearest = np.rint(beats)
        on = np.abs(beats - nearest) * beat < quarter / 4
        first = (nearest % BEATS == 0) * 1.0 + (nearest % BEATS == 2) * (0.5 if name == "kick" else -0.5)
        backbeat = (nearest % 2 == 1) * 1.0
        total += float((weight * on * (first - 0.5 * backbeat if weight > 0 else first - backbeat)).sum())
    return total
