"""Sound at any sample rate on its way through a denoiser: as much goes out as came in, at the rate it came with."""

from __future__ import annotations

import time
from typing import Protocol

import numpy as np

from ml.inference.pieces import Stream


class Resampling(Protocol):
    """Another sample rate for float32 `(channels, samples)` that comes bit by bit."""

    def push(self, samples: np.ndarray) -> np.ndarray: ...

    def finish(self, total: int | None = None) -> np.ndarray: ...


class Passage:
    """Takes sound as it comes, gives what can be said by now, and keeps count."""

    def __init__(self, stream: Stream, rate: int, around: tuple[Resampling, Resampling] | None = None) -> None:
        """`around`: from `rate` Hz to the network's rate, and back; None where they are the same."""
        self._stream, self._rate, self._around = stream, rate, around
        self.came = self.went = 0
        """Samples so far, of each channel."""
        self.computing_seconds = 0.0
        """Spent so far."""

    @property
    def sound_seconds(self) -> float:
        """What came in so far."""
        return self.came / self._rate

    def push(self, samples: np.ndarray) -> np.ndarray:
        """Takes float32 `(channels, n)`, any n; gives `(channels, m)`, the samples that are ready after it."""
        began = time.perf_counter()
        self.came += samples.shape[1]
        if self._around is None:
            said = self._stream.push(samples)
        else:
            before, after = self._around
            said = after.push(self._stream.push(before.push(samples)))
        return self._counted(said, began)

    def finish(self) -> np.ndarray:
        """The samples that are left when nothing more comes in."""
        began = time.perf_counter()
        if self._around is None:
            return self._counted(self._stream.finish(), began)
        before, after = self._around
        rest = np.concatenate([self._stream.push(before.finish()), self._stream.finish()], axis=1)
        return self._counted(np.concatenate([after.push(rest), after.finish(self.came)], axis=1), began)

    def _counted(self, said: np.ndarray, began: float) -> np.ndarray:
        said = said[:, : self.came - self.went]  # rates that do not divide each other leave a sample too much
        self.went += said.shape[1]
        self.computing_seconds += time.perf_counter() - began
        return said
