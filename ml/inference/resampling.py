"""Another sample rate for sound that comes in as it likes and cannot wait.

soxr's streams answer in bursts: 48 to 44.1 kHz and back they hold sound for 40 ms, 8 kHz and back for 214 ms. A
windowed sinc, taken phase by phase, waits for half its length: 2 ms and 12 ms.
"""

from __future__ import annotations

from math import gcd

import numpy as np

ZERO_CROSSINGS = 48
"""Of the sinc on each side of its middle."""
BETA = 9.0
"""Of the Kaiser window: what is folded back is 90 dB down."""
PASSED = 0.94
"""Where the filter is down to a half, as a share of half the lower rate: up to 0.88 of it nothing is changed."""
COMPUTED_AT_ONCE = 2**15
"""Samples that go out; bounds the memory of a long block."""


class Resampler:
    """Float32 `(channels, samples)` from one rate (Hz) to another: nothing is moved in time, around it is silence."""

    def __init__(self, rate: int, to: int, *, channels: int = 1) -> None:
        shared = gcd(rate, to)
        self._up, self._down = to // shared, rate // shared
        self._bank = _phases(self._up, self._down)
        self.half = self._bank.shape[1] // 2
        """Samples that have to come in after the place of a sample before it goes out."""
        self.delay_seconds = self.half / rate
        self._heard = np.zeros((channels, self.half - 1), np.float32)
        self._first = 1 - self.half
        """Place of `_heard[:, 0]` in what came in."""
        self._said = 0

    def push(self, samples: np.ndarray) -> np.ndarray:
        """Takes `(channels, n)`, any n; gives `(channels, m)`, the samples that are ready after it."""
        self._heard = np.concatenate([self._heard, samples.astype(np.float32, copy=False)], axis=1)
        came = self._first + self._heard.shape[1]
        # The sample m lies at m * down / up; it needs the half that follows its place rounded down.
        ready = max(self._said, -(-(came - self.half) * self._up // self._down))
        return self._until(ready)

    def finish(self, total: int | None = None) -> np.ndarray:
        """The samples that are left when nothing more comes in: `total` went out then, or as much as came in."""
        came = self._first + self._heard.shape[1]
        total = -(-came * self._up // self._down) if total is None else total
        short = (max(0, total - 1) * self._down // self._up) + self.half + 1 - came
        self._heard = np.pad(self._heard, ((0, 0), (0, max(0, short))))
        return self._until(max(self._said, total))

    def _until(self, end: int) -> np.ndarray:
        parts = [
            self._between(begin, min(end, begin + COMPUTED_AT_ONCE))
            for begin in range(self._said, end, COMPUTED_AT_ONCE)
        ]
        self._said = end
        unneeded = self._said * self._down // self._up - self.half + 1 - self._first
        if unneeded > 0:
            self._heard, self._first = self._heard[:, unneeded:].copy(), self._first + unneeded
        return np.concatenate([self._heard[:, :0], *parts], axis=1)

    def _between(self, begin: int, end: int) -> np.ndarray:
        places = np.arange(begin, end, dtype=np.int64) * self._down
        windows = np.lib.stride_tricks.sliding_window_view(self._heard, 2 * self.half, axis=1)
        heard = windows[:, places // self._up - self.half + 1 - self._first]
        said: np.ndarray = np.einsum("cnt,nt->cn", heard, self._bank[places % self._up])
        return said


class PatientResampler:
    """soxr's, high quality, as the network learned it: for sound that can wait, such as that of a file."""

    def __init__(self, rate: int, to: int, *, channels: int = 1) -> None:
        import soxr

        self._soxr = soxr.ResampleStream(rate, to, channels, dtype="float32", quality="HQ")
        self._channels, self._said = channels, 0

    def push(self, samples: np.ndarray) -> np.ndarray:
        """Takes `(channels, n)`, any n; gives `(channels, m)`, the samples that are ready after it."""
        said = self._resampled(samples)
        self._said += said.shape[1]
        return said

    def finish(self, total: int | None = None) -> np.ndarray:
        """The samples that are left when nothing more comes in: `total` went out then, or as much as came in."""
        rest = self._resampled(np.zeros((self._channels, 0), np.float32), last=True)
        if total is not None:  # there and back may round to a sample less
            left = max(0, total - self._said)
            rest = np.pad(rest[:, :left], ((0, 0), (0, max(0, left - rest.shape[1]))))
        return rest

    def _resampled(self, samples: np.ndarray, *, last: bool = False) -> np.ndarray:
        turned = np.ascontiguousarray(samples.T, dtype=np.float32)
        said: np.ndarray = self._soxr.resample_chunk(turned, last=last)
        return said.reshape(-1, self._channels).T


def _phases(up: int, down: int) -> np.ndarray:
    """The filter `(phases, taps)`: row p gives what lies p / up after a sample, from the taps around it."""
    narrow = min(1.0, up / down)
    half = int(np.ceil(ZERO_CROSSINGS / narrow))
    after = np.arange(up, dtype=np.float64)[:, None] / up
    away = np.arange(1 - half, half + 1)[None] - after
    window = np.i0(BETA * np.sqrt(np.clip(1 - (away / half) ** 2, 0, None))) / np.i0(BETA)
    bank = PASSED * narrow * np.sinc(PASSED * narrow * away) * window
    return (bank / bank.sum(axis=1, keepdims=True)).astype(np.float32)
