"""Log-mel filter bank energies as Kaldi computes them and as the Audio Spectrogram Transformer was trained on them.

Per frame: subtract its mean, pre-emphasis of 0.97, symmetric Hann window, power spectrum, triangular filters that are
equally spaced in mel (1127 ln(1 + f / 700)), natural logarithm. Gong, Chung, Glass, "AST: Audio Spectrogram
Transformer", Interspeech 2021.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np
from pydantic import model_validator

from ml.config import Config

if TYPE_CHECKING:
    from numpy.typing import NDArray

PREEMPHASIS = 0.97
FLOOR = float(np.finfo(np.float32).eps)
"""Energies below this are raised to it before the logarithm: silence reads -15.9."""

BLOCK_FRAMES = 512
"""Frames that are computed together: enough to spread the cost of each call, few enough to stay in the caches."""

BAND_MELS = 16
"""Filters that are applied in one multiplication: a band of 16 touches few bins, the whole bank touches all of them."""


class FbankConfig(Config):
    """How sound becomes a picture. The defaults are those that the AudioSet weights of AST expect."""

    sample_rate: int = 16000
    """Hz; every recording is resampled to it first."""
    mels: int = 128
    """Filters, hence columns of a frame."""
    window_ms: float = 25.0
    """Length of one frame in milliseconds."""
    hop_ms: float = 10.0
    """Distance between the beginnings of two frames in milliseconds."""
    low_hz: float = 20.0
    """Lower edge of the lowest filter, in Hz."""
    high_hz: float | None = None
    """Upper edge of the highest filter, in Hz; null stands for half the sample rate."""

    @model_validator(mode="after")
    def _possible(self) -> FbankConfig:
        half = self.sample_rate / 2
        if not 0 <= self.low_hz < self.upper_hz <= half:
            raise ValueError(
                f"the filters must lie between 0 and {half:g} Hz, not {self.low_hz:g} to {self.upper_hz:g}"
            )
        if self.window_samples < 3 or self.hop_samples < 1:
            raise ValueError(f"window_ms {self.window_ms:g} or hop_ms {self.hop_ms:g} is shorter than a few samples")
        if self.mels < 4:
            raise ValueError(f"mels is {self.mels}; four filters are the least")
        return self

    @property
    def upper_hz(self) -> float:
        return self.sample_rate / 2 if self.high_hz is None else self.high_hz

    @property
    def window_samples(self) -> int:
        return int(self.sample_rate * self.window_ms / 1000)

    @property
    def hop_samples(self) -> int:
        return int(self.sample_rate * self.hop_ms / 1000)

    @property
    def frames_per_second(self) -> float:
        return self.sample_rate / self.hop_samples


class Fbank:
    """Computes frames; holds the window and the filters, so make one and use it often.

    The Fourier transform of the short, batched, single precision frames is scipy's: a multiplication by a DFT matrix,
    even with the symmetry of the window used, takes three times as long.

    With `gapless` the window is padded with zeros until the narrowest filter is as wide as two bins: many narrow
    filters would else fall between the bins of a short window and read nothing, a black line in a picture.
    """

    def __init__(self, config: FbankConfig, *, gapless: bool = False) -> None:
        self.config = config
        samples = max(config.window_samples, _gapless_samples(config) if gapless else 0)
        self._size = 1 << (samples - 1).bit_length()
        self._window = np.hanning(config.window_samples).astype(np.float32)
        self._bands = _bands(_mel_filters(config, self._size))

    def frames_of(self, samples: int) -> int:
        """Frames that fit wholly into so many samples."""
        beyond = samples - self.config.window_samples
        return 0 if beyond < 0 else 1 + beyond // self.config.hop_samples

    def __call__(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Samples (n,) of -1 to 1 at `sample_rate` to natural log energies (frames, mels)."""
        found = list(self.stream([samples]))
        return np.concatenate(found) if found else np.empty((0, self.config.mels), np.float32)

    def stream(self, blocks: Iterable[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
        """The frames of a sound that arrives in blocks (n,) of any sizes, in arrays (up to BLOCK_FRAMES, mels).

        However the sound is cut into blocks, the frames are computed in the same groups: bit for bit the same.
        """
        hop, group = self.config.hop_samples, BLOCK_FRAMES * self.config.hop_samples
        needed = group - hop + self.config.window_samples
        spectrum_in = np.zeros((BLOCK_FRAMES, self._size), np.float32)
        left = np.empty(0, np.float32)
        for block in blocks:
            samples = np.concatenate([left, block]) if len(left) else np.asarray(block, np.float32)
            start = 0
            while len(samples) - start >= needed:
                yield self._frames(samples[start : start + needed], spectrum_in)
                start += group
            left = samples[start:].copy()
        if self.frames_of(len(left)):
            yield self._frames(left, spectrum_in)

    def _frames(self, samples: NDArray[np.float32], spectrum_in: NDArray[np.float32]) -> NDArray[np.float32]:
        """All frames of at most BLOCK_FRAMES; `spectrum_in` is zero beyond the window and is written over."""
        from scipy.fft import rfft

        count, length = self.frames_of(len(samples)), self.config.window_samples
        emphasized = np.empty_like(samples)
        # Kaldi repeats the first sample of each frame to emphasize it. The window is zero there, so any value will do,
        # and the whole stretch is emphasized at once instead of frame by frame.
        emphasized[0] = 0
        np.multiply(samples[:-1], np.float32(-PREEMPHASIS), out=emphasized[1:])
        emphasized[1:] += samples[1:]

        frames = spectrum_in[:count]
        # What pre-emphasis leaves of the mean of a frame is subtracted after it instead of the mean before it.
        np.subtract(self._cut(emphasized), self._means(samples) * np.float32(1 - PREEMPHASIS), out=frames[:, :length])
        frames[:, :length] *= self._window

        spectrum = rfft(frames)
        power = np.square(spectrum.real)
        power += np.square(spectrum.imag)

        energies = np.empty((count, self.config.mels), np.float32)
        for mels, bins, weights in self._bands:
            np.matmul(power[:, bins], weights, out=energies[:, mels])
        np.maximum(energies, np.float32(FLOOR), out=energies)
        return np.log(energies, out=energies)

    def _means(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """The mean of each frame (frames, 1), out of sums over the longest stretches that all frames are made of."""
        stretch = math.gcd(self.config.window_samples, self.config.hop_samples)
        whole = len(samples) // stretch
        sums = samples[: whole * stretch].reshape(whole, stretch) @ np.ones(stretch, np.float32)
        in_frames = np.lib.stride_tricks.sliding_window_view(sums, self.config.window_samples // stretch)
        return in_frames[:: self.config.hop_samples // stretch].mean(axis=1, keepdims=True) / np.float32(stretch)

    def _cut(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """The overlapping frames (frames, window_samples) as a view."""
        windows = np.lib.stride_tricks.sliding_window_view(samples, self.config.window_samples)
        return windows[:: self.config.hop_samples]


def _mel(hz: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1127.0 * np.log(1.0 + hz / 700.0)


def _edges(config: FbankConfig) -> NDArray[np.float64]:
    """Where the filters begin, peak and end, in mel."""
    low, high = _mel(np.array([config.low_hz, config.upper_hz]))
    return np.linspace(low, high, config.mels + 2)


def _gapless_samples(config: FbankConfig) -> int:
    """The shortest transform with a bin in each half of each filter; the lowest filter is the narrowest."""
    low, peak = 700.0 * (np.exp(_edges(config)[:2] / 1127.0) - 1.0)
    return math.ceil(config.sample_rate / (peak - low))


def _mel_filters(config: FbankConfig, size: int) -> NDArray[np.float32]:
    """Triangles of height one (bins, mels) for the bins of a transform of `size` samples, the last bin left out."""
    edges = _edges(config)
    width = edges[1] - edges[0]
    bins = _mel(np.arange(size // 2) * config.sample_rate / size)[:, None]
    rising, falling = (bins - edges[:-2]) / width, (edges[2:] - bins) / width
    return np.maximum(0.0, np.minimum(rising, falling)).astype(np.float32)


def _bands(filters: NDArray[np.float32]) -> list[tuple[slice, slice, NDArray[np.float32]]]:
    """Neighbouring filters with just the bins that any of them touches: (mels, bins, weights)."""
    bands = []
    for first in range(0, filters.shape[1], BAND_MELS):
        mels = slice(first, min(first + BAND_MELS, filters.shape[1]))
        touched = np.flatnonzero(filters[:, mels].any(axis=1))
        bins = slice(int(touched[0]), int(touched[-1]) + 1) if len(touched) else slice(0, 1)
        bands.append((mels, bins, np.ascontiguousarray(filters[bins, mels])))
    return bands
