"""Raw PCM, as `rtl_fm`, `sox` and `aplay` speak it: bytes through pipes, samples of all channels in turn."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

FORMATS: dict[str, np.dtype[Any]] = {"s16le": np.dtype("<i2"), "f32le": np.dtype("<f4")}
FULL_SCALE = 2**15
"""Of s16le: what 1.0 is."""


class Samples:
    """Bytes that come in as they like, as whole samples; a sample that was cut in two waits for its other half."""

    def __init__(self, name: str, channels: int = 1) -> None:
        self._kind, self.channels = FORMATS[name], channels
        self._frame = self._kind.itemsize * channels
        self.left = b""
        """Bytes of the last sample that is not whole yet."""
        self.bad = 0
        """Values that were no numbers (NaN, infinite); they are silence."""
        self.clipped = 0
        """Values that went out at full scale, for they were louder."""

    def whole(self, said: bytes) -> bytes:
        """The bytes that are whole samples of all channels by now."""
        said = self.left + said
        cut = len(said) - len(said) % self._frame
        self.left = said[cut:]
        return said[:cut]

    def numbers(self, whole: bytes) -> np.ndarray:
        """Whole samples as float32 `(channels, samples)`, full scale = 1."""
        values = np.frombuffer(whole, self._kind).reshape(-1, self.channels).T
        if self._kind.kind == "i":
            return values.astype(np.float32) / FULL_SCALE
        good = np.isfinite(values)
        self.bad += good.size - int(np.count_nonzero(good))
        return np.where(good, values, np.float32(0)).astype(np.float32, copy=False)

    def bytes_of(self, numbers: np.ndarray) -> bytes:
        """What `numbers` takes, undone."""
        if self._kind.kind == "i":
            scaled = np.rint(numbers * FULL_SCALE)
            values = scaled.clip(-FULL_SCALE, FULL_SCALE - 1)
            self.clipped += int(np.count_nonzero(values != scaled))
            numbers = values
        return np.ascontiguousarray(numbers.T.astype(self._kind)).tobytes()


def arriving(source: int, at_once: int) -> Iterator[bytes]:
    """What comes through the pipe `source` as soon as it is there; at most `at_once` bytes each time, until it ends."""
    while said := os.read(source, at_once):
        yield said


def sender(sink: int) -> Callable[[bytes], None]:
    """Writes all of what it is given into the pipe `sink`; `BrokenPipeError` when nobody reads any more."""

    def send(said: bytes) -> None:
        left = memoryview(said)
        while left:
            left = left[os.write(sink, left) :]

    return send
