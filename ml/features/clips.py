"""Sound as grey pictures: log-mel energies, time from left to right, low frequencies at the bottom."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from ml.config import Config
from ml.features.fbank import FLOOR, Fbank, FbankConfig

if TYPE_CHECKING:
    from numpy.typing import NDArray

AT_ONCE = 64
"""Pictures of one clip that are held until its loudest moment is known; what comes after them is decoded again."""


class ClipConfig(Config):
    """How sound becomes pictures."""

    sample_rate: int = Field(default=16000, ge=1000)
    """Hz; every clip is resampled to it first."""
    seconds: float = Field(default=4.0, gt=0)
    """What one picture spans; a longer clip becomes several pictures."""
    window_ms: float = Field(default=40.0, gt=0)
    """Length of the stretch of sound behind one column, in milliseconds."""
    low_hz: float = 50.0
    """Lower edge of the lowest row, in Hz."""
    high_hz: float | None = None
    """Upper edge of the highest row, in Hz; null stands for half the sample rate."""
    span_db: float = Field(default=80.0, gt=0)
    """White is the loudest moment of the clip, black is so many dB below it."""

    @property
    def samples(self) -> int:
        """Of one picture."""
        return round(self.seconds * self.sample_rate)

    def fbank(self, side: int) -> FbankConfig:
        """Frames of `side` mels of which `side` span one picture."""
        hop = (self.samples - int(self.sample_rate * self.window_ms / 1000)) // (side - 1)
        if hop < 1:
            raise ValueError(f"{self.seconds:g} s are too short for {side} columns of {self.window_ms:g} ms")
        return FbankConfig(
            sample_rate=self.sample_rate,
            mels=side,
            window_ms=self.window_ms,
            hop_ms=(hop + 0.5) * 1000 / self.sample_rate,  # rounded down again: exactly `hop` samples
            low_hz=self.low_hz,
            high_hz=self.high_hz,
        )


class ClipPictures:
    """Makes pictures; holds the window and the filters, so make one and use it often."""

    def __init__(self, config: ClipConfig, side: int) -> None:
        self.config, self.side = config, side
        self._fbank = Fbank(config.fbank(side), gapless=True)
        self._span = config.span_db * math.log(10) / 10

    def __call__(self, decode: Callable[[], Iterable[NDArray[np.float32]]]) -> Iterator[NDArray[np.uint8]]:
        """The pictures (1, side, side, 3) of the clip that `decode` gives in blocks (n,), one per `seconds`.

        A last stretch is kept where it fills at least half a picture, or is all there is; the rest of it is black.
        """
        begun = self._energies(decode())
        early = list(islice(begun, AT_ONCE))
        loudest = max((float(energies.max()) for energies in chain(early, begun)), default=0.0)
        late = islice(self._energies(decode()), AT_ONCE, None) if len(early) == AT_ONCE else ()
        for energies in chain(early, late):
            yield self._picture(energies, loudest)

    def _energies(self, blocks: Iterable[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
        """The energies (frames, mels) of one picture after the other."""
        first = True
        for stretch in _stretches(blocks, self.config.samples):
            if first or 2 * len(stretch) >= self.config.samples:
                lacking = self._fbank.config.window_samples - len(stretch)
                yield self._fbank(np.pad(stretch, (0, max(0, lacking))))[: self.side]
            first = False

    def _picture(self, energies: NDArray[np.float32], loudest: float) -> NDArray[np.uint8]:
        picture = np.zeros((1, self.side, self.side, 3), np.uint8)
        if loudest > math.log(FLOOR) + 1e-3:  # silence is black
            grey = np.clip((energies - (loudest - self._span)) * (255 / self._span), 0, 255)
            picture[0, :, : len(grey)] = np.rint(grey).astype(np.uint8).T[::-1, :, None]
        return picture


def _stretches(blocks: Iterable[NDArray[np.float32]], length: int) -> Iterator[NDArray[np.float32]]:
    """The same samples in arrays (length,), the last one shorter."""
    left = np.empty(0, np.float32)
    for block in blocks:
        left = np.concatenate([left, block])
        whole = len(left) // length * length
        yield from left[:whole].reshape(-1, length)
        left = left[whole:]
    if len(left):
        yield left
