"""Samples out of an audio file, block by block: however long the file, memory stays at one block."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np


def read_mono(path: Path, rate: int, block_seconds: float = 30.0) -> Iterator[np.ndarray]:
    """The sound of a file as consecutive blocks of float32 `(samples,)` at `rate` Hz, the mean of its channels.

    The blocks together are what resampling the whole file at once would give (soxr, high quality, streaming).
    """
    import soundfile
    import soxr

    with soundfile.SoundFile(str(path)) as sound:
        length = max(1, round(block_seconds * sound.samplerate))
        resampler = None
        if sound.samplerate != rate:
            resampler = soxr.ResampleStream(sound.samplerate, rate, 1, dtype="float32", quality="HQ")
        while True:
            block = sound.read(length, dtype="float32", always_2d=True)
            mono = block[:, 0] if block.shape[1] == 1 else block.mean(axis=1, dtype=np.float32)
            last = len(block) < length
            if resampler is not None:
                mono = resampler.resample_chunk(mono, last=last)
            if len(mono):
                yield mono
            if last:
                return
