"""Samples out of an audio file, block by block: however long the file, memory stays at one block."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np


def open_stream(file: Path | BinaryIO) -> Any:
    """A `soundfile.SoundFile` that is read from its beginning to its end.

    soundfile seeks after every read, and an MP3 decoder loses what it has borrowed from earlier frames with each seek:
    the first milliseconds of every block were then wrong (by up to 0.1 of full scale). A stream that says it cannot
    seek is read on.
    """
    import soundfile

    class Stream(soundfile.SoundFile):
        def seekable(self) -> bool:
            return False

    return Stream(str(file) if isinstance(file, Path) else file)


def read_mono(path: Path, rate: int, block_seconds: float = 30.0) -> Iterator[np.ndarray]:
    """The sound of a file as consecutive blocks of float32 `(samples,)` at `rate` Hz, the mean of its channels.

    The blocks together are what decoding and resampling the whole file at once would give (soxr, high quality).
    """
    import soxr

    with open_stream(path) as sound:
        length = max(1, round(block_seconds * sound.samplerate))
        resampler = None
        if sound.samplerate != rate:
            resampler = soxr.ResampleStream(sound.samplerate, rate, 1, dtype="float32", quality="HQ")
        while True:
            block = sound.read(length, dtype="float32", always_2d=True)
            mono = block[:, 0] if block.shape[1] == 1 else block.mean(axis=1, dtype=np.float32)
            last = len(block) == 0
            if resampler is not None:
                mono = resampler.resample_chunk(mono, last=last)
            if len(mono):
                yield mono
            if last:
                return
