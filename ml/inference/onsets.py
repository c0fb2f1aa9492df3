"""When something is hit: the moments at which the sound of a song grows in many bands at once.

Found in two steps. The growth of a mel spectrum (spectral flux; Boeck and Widmer: Maximum filter vibrato suppression
for onset detection, 2013) tells that something was hit, within 6 ms. Where the energy around that moment grows most
tells when: within 1 ms of drums that stand alone. An hour is gone through in blocks, as whole as a second is.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

SILENT = 1e-4
"""Amplitude, -80 dB of full scale: a song that is nowhere louder holds dither, at most."""
LEVEL = 0.25
"""What the loudest moment of every song is brought to, so that a quiet song is heard as a loud one is."""
LEVEL_SECONDS = 0.005
"""A moment that counts as loud is this long: a click of one sample does not."""

HOP_SECONDS = 256 / 44_100
"""From one spectrum to the next."""
SPECTRUM = {22_050: 512, 44_100: 1024, 96_000: 2048}
"""Up to so many Hz, samples of one spectrum; beyond them twice as many as for the last."""
BANDS, LOW_HZ, HIGH_HZ = 80, 27.5, 16_000.0
COMPRESSION = 100.0
"""How strongly quiet bands count against loud ones, in log10(1 + this times the magnitude)."""
LAG = 2
"""Spectra between the two that are compared."""
GROWTH = 0.02
"""Mean growth over the bands, beyond what is usual around it, from which something was hit."""
AROUND = {"pre_max": 0.02, "post_max": 0.02, "pre_avg": 0.1, "post_avg": 0.05, "wait": 0.025}
"""Seconds, as `librosa.util.peak_pick` has it: an onset is the largest growth within max, above the mean within avg."""
EARLY_SECONDS = 0.003
"""By so much the growth of spectra comes after the attack that causes it."""
BLOCK = 4096
"""Spectra that are computed at once: about 24 s of sound."""

REACH_SECONDS, SPAN_SECONDS, FLOOR = 0.01, 0.004, 0.01
"""How far from the first estimate the attack is sought; over which span before and after it energy is compared; and
what is added to both, as a share of the largest, so that silence before a hit is no infinite growth."""


def find_onsets(samples: NDArray[np.floating], rate: int) -> NDArray[np.float64]:
    """Seconds at which something is hit in mono `samples` (n,) at `rate` Hz, ascending; none where there is silence."""
    level = loudest(samples, rate)
    if level < SILENT:
        return np.zeros(0)
    hop = max(1, round(HOP_SECONDS * rate))
    growth = _growth(samples, rate, hop, LEVEL / level)
    from librosa.util import peak_pick

    around = {name: max(1, round(seconds * rate / hop)) for name, seconds in AROUND.items()}
    found = peak_pick(growth, **around, delta=GROWTH) if len(growth) else np.zeros(0, dtype=np.int64)
    attacks = _attacks(samples, rate, (found - LAG) * hop / rate - EARLY_SECONDS)
    return np.unique(attacks)


def loudest(samples: NDArray[np.floating], rate: int) -> float:
    """The root mean square of the loudest 5 ms, full scale = 1."""
    length = max(1, round(LEVEL_SECONDS * rate))
    most = 0.0
    for first in range(0, len(samples), length * BLOCK):
        block = samples[first : first + length * BLOCK].astype(np.float32)
        power = np.square(block, out=block)
        whole = power[: len(power) // length * length].reshape(-1, length)
        if len(whole):
            most = max(most, float(whole.mean(axis=1).max()))
    return float(np.sqrt(most))


def _growth(samples: NDArray[np.floating], rate: int, hop: int, gain: float) -> NDArray[np.float32]:
    """Mean growth over the bands, a value per hop; that of spectrum k is around sample `(k - LAG) * hop`."""
    from librosa.onset import onset_strength

    parts = []
    for bands, before in _spectra(samples, rate, hop, gain):
        strength = onset_strength(S=bands, lag=LAG, max_size=3, center=False, detrend=False)
        parts.append(strength[before:])
    return np.concatenate(parts).astype(np.float32) if parts else np.zeros(0, dtype=np.float32)


def _spectra(
    samples: NDArray[np.floating], rate: int, hop: int, gain: float
) -> Iterator[tuple[NDArray[np.float32], int]]:
    """Compressed mel spectra (bands, k) block by block, and how many of them belong to the block before.

    The first `LAG` are of silence: a song may begin with a hit.
    """
    from librosa.feature import melspectrogram

    fft = next((length for highest, length in SPECTRUM.items() if rate <= highest), 2 * SPECTRUM[96_000])
    count = LAG + 1 + len(samples) // hop
    for first in range(0, count, BLOCK):
        before = LAG if first else 0
        begin = (first - before - LAG) * hop - fft // 2
        end = (min(count, first + BLOCK) - 1 - LAG) * hop - fft // 2 + fft
        heard = samples[max(0, begin) : max(0, end)].astype(np.float32) * gain
        heard = np.pad(heard, (max(0, -begin), max(0, end) - max(0, begin) - len(heard)))
        magnitudes = melspectrogram(
            y=heard,
            sr=rate,
            n_fft=fft,
            hop_length=hop,
            center=False,
            power=1,
            n_mels=BANDS,
            fmin=LOW_HZ,
            fmax=min(HIGH_HZ, rate / 2),
        )
        yield np.log10(1 + COMPRESSION * magnitudes), before


def _attacks(samples: NDArray[np.floating], rate: int, seconds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where energy grows most around each of `seconds`: that of differences, for a kick booms up slowly but clicks."""
    reach, span = round(REACH_SECONDS * rate), max(1, round(SPAN_SECONDS * rate))
    found = np.empty(len(seconds))
    for row, guess in enumerate(np.rint(seconds * rate).astype(np.int64)):
        begin = max(0, guess - reach - span - 1)
        heard = samples[begin : guess + reach + span].astype(np.float64)
        sums = np.concatenate([[0.0], np.cumsum(np.square(np.diff(heard, prepend=heard[:1])))])
        places = np.arange(max(0, guess - reach), min(guess + reach, begin + len(heard) - 1) + 1) - begin
        before = sums[places] - sums[np.maximum(0, places - span)]
        after = sums[np.minimum(len(heard), places + span)] - sums[places]
        floor = FLOOR * after.max() + np.finfo(np.float64).tiny
        found[row] = (begin + places[np.argmax((after + floor) / (before + floor))]) / rate
    return found
