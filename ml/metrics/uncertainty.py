"""How sure a figure is, when what was tested are a few recordings.

Windows of one recording stand and fall together, so the unit of every interval here is the recording, never the window.
Drawing recordings again cannot see what no recording has shown: where all agree, it would call anything certain. So
each end of a bootstrap interval lies at least as far out as what the number of recordings alone leaves open.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

Z95 = 1.959963984540054
"""Two-sided 95 % point of the normal distribution."""


def wilson(hits: float, tries: int) -> tuple[float, float]:
    """95 % interval of a share of `tries` independent recordings (Wilson 1927); honest for few tries and for 0 or 1.

    `hits` may be a fraction: recordings that are right in part.
    """
    if tries == 0:
        return (0.0, 1.0)
    share = hits / tries
    scale = 1 + Z95**2 / tries
    centre = (share + Z95**2 / (2 * tries)) / scale
    half = Z95 * math.sqrt(share * (1 - share) / tries + Z95**2 / (4 * tries**2)) / scale
    return (max(0.0, centre - half), min(1.0, centre + half))


def recording_bootstrap(
    hits: np.ndarray, counts: np.ndarray, *, draws: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """95 % interval of `sum(hits) / sum(counts)` when whole recordings are drawn again with replacement.

    `hits` and `counts` have one entry per recording: right windows, and windows. Each end is the further of the
    bootstrap's and Wilson's for that share of so many recordings.
    """
    recordings = len(counts)
    if recordings < 2:
        return (0.0, 1.0)
    picks = _picks(recordings, draws, seed)
    shares = (picks @ hits) / np.maximum(picks @ counts, 1)
    low, high = np.quantile(shares, [0.025, 0.975])
    least, most = wilson(float(hits.sum() / max(counts.sum(), 1)) * recordings, recordings)
    return (min(float(low), least), max(float(high), most))


def paired_bootstrap(difference: np.ndarray, *, draws: int = 2000, seed: int = 0) -> tuple[float, float]:
    """95 % interval of the mean of `difference` (one entry per recording, -1 to 1) when recordings are drawn again.

    A kind of recording that none of these is may still be a share of all, up to Wilson's bound for none seen (0.32 of
    eight); each end is the further of the bootstrap's and of what that share could make of the mean.
    """
    recordings = len(difference)
    if recordings < 2:
        return (-1.0, 1.0)
    picks = _picks(recordings, draws, seed)
    means = picks @ difference / recordings
    low, high = np.quantile(means, [0.025, 0.975])
    unseen = wilson(0, recordings)[1]
    seen = (1 - unseen) * float(difference.mean())
    return (min(float(low), seen - unseen), max(float(high), seen + unseen))


def mean_interval(difference: np.ndarray, *, draws: int = 2000, seed: int = 0) -> tuple[float, float]:
    """95 % interval of the mean of `difference` (one number of any size per recording) when recordings are drawn again.

    Each end is the further of the bootstrap's and of Student's t, which knows how little few recordings tell of their
    scatter. Of fewer than two nothing is known: NaN.
    """
    from scipy.stats import t

    recordings = len(difference)
    if recordings < 2:
        return (math.nan, math.nan)
    mean = float(difference.mean())
    low, high = np.quantile(_picks(recordings, draws, seed) @ difference / recordings, [0.025, 0.975])
    half = float(t.ppf(0.975, recordings - 1) * difference.std(ddof=1) / math.sqrt(recordings))
    return (min(float(low), mean - half), max(float(high), mean + half))


@lru_cache(maxsize=4)
def _picks(recordings: int, draws: int, seed: int) -> np.ndarray:
    """How often each recording is drawn in each draw: (draws, recordings)."""
    return np.random.default_rng(seed).multinomial(recordings, np.full(recordings, 1 / recordings), size=draws)


def paired_p_value(only_first: int, only_second: int) -> float:
    """Two-sided exact McNemar test: the chance of so uneven a split of disagreements when both are equally good.

    `only_first` recordings are right only with the first trial, `only_second` only with the second.
    """
    disagreements = only_first + only_second
    if disagreements == 0:
        return 1.0
    fewer = min(only_first, only_second)
    tail = sum(math.comb(disagreements, k) for k in range(fewer + 1)) / 2**disagreements
    return min(1.0, 2 * tail)


def sign_flip_p_value(difference: np.ndarray, *, exact_up_to: int = 16, draws: int = 20_000, seed: int = 0) -> float:
    """Two-sided sign-flip test: the chance of so large a mean of `difference` when any entry may have the other sign.

    One entry per recording, -1 to 1. With entries of -1, 0 and 1 alone it is the exact McNemar test. All signs are
    tried up to `exact_up_to` entries that are not 0, else `draws` of them.
    """
    told = np.asarray(difference, dtype=float)[np.asarray(difference) != 0]
    if not len(told):
        return 1.0
    if len(told) <= exact_up_to:
        sums = np.zeros(1)
        for entry in told:
            sums = np.concatenate([sums + entry, sums - entry])
        seen = 0
    else:
        sums, seen = _signs(len(told), draws, seed) @ told, 1
    as_large = np.abs(sums) >= abs(told.sum()) - 1e-9
    return float((as_large.sum() + seen) / (len(sums) + seen))


@lru_cache(maxsize=4)  # a thousand trials are compared on the same recordings
def _signs(count: int, draws: int, seed: int) -> np.ndarray:
    """Drawn signs: (draws, count)."""
    return np.random.default_rng(seed).choice([-1.0, 1.0], size=(draws, count))
