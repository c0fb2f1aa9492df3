"""Sound out of an audio file, block by block: however long the file, memory stays at one block."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

FORMATS = {
    "WAV": (".wav", ".wave"),
    "WAVEX": (".wav", ".wave"),
    "RF64": (".wav", ".wave", ".rf64"),
    "FLAC": (".flac",),
    "OGG": (".ogg", ".oga", ".opus"),
    "MP3": (".mp3",),
    "AIFF": (".aif", ".aiff"),
}
"""What is read: libsndfile's name of each format, and the endings that its files have. Everything else is refused."""
SUFFIXES = frozenset(suffix for suffixes in FORMATS.values() for suffix in suffixes)


def open_stream(file: Path | BinaryIO | SourceFile) -> Any:
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


def read_mono(path: Path, rate: int, block_seconds: float = 2.0) -> Iterator[np.ndarray]:
    """The sound of a file as consecutive blocks of float32 `(samples,)` at `rate` Hz, the mean of its channels.

    The blocks together are what decoding and resampling the whole file at once would give (soxr, high quality).
    """
    import soxr

    with open_stream(path) as sound:
        length = max(1, round(block_seconds * sound.samplerate))
        # numpy's mean over two channels takes four times as long as all the rest; 16-bit samples are scaled by it too.
        kind, scale = ("int16", 2.0**-15) if sound.subtype == "PCM_16" else ("float32", 1.0)
        weights = np.full(sound.channels, scale / sound.channels, np.float32)
        resampler = None
        if sound.samplerate != rate:
            resampler = soxr.ResampleStream(sound.samplerate, rate, 1, dtype="float32", quality="HQ")
        while True:
            block = sound.read(length, dtype=kind, always_2d=True)
            mono = block.astype(np.float32, copy=False) @ weights
            last = len(block) == 0
            if resampler is not None:
                mono = resampler.resample_chunk(mono, last=last)
            if len(mono):
                yield mono
            if last:
                return


class SourceFile:
    """An open file that remembers why reading it failed.

    The decoder reads through callbacks in which an error would be lost, and a dead drive would look like a short file.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.problem: OSError | None = None

    def readinto(self, buffer: Any) -> int:
        try:
            return self._file.readinto(buffer)  # type: ignore[attr-defined]
        except OSError as problem:
            self.problem = problem
            return 0

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()
