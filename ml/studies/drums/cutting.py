"""Hits cut out of sound: many out of one audio that is decoded once, whatever its length."""

from __future__ import annotations

import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ml.data.audio import open_stream, read_mono

FLAC_CHANNELS = 8
"""A FLAC holds no more; what has more is mixed."""


def cut(path: Path, rate: int, begins: np.ndarray, length: int) -> Iterator[np.ndarray]:
    """Pieces of `length` samples at `rate` Hz, mono, that begin at the samples `begins` (ascending; may be negative).

    Before the beginning and after the end there is silence. Held are one block and what the next piece needs of the
    blocks before it.
    """
    held = np.zeros(0, np.float32)
    offset = 0  # of the first sample that is held
    waiting = iter(np.asarray(begins, dtype=np.int64).tolist())
    begin = next(waiting, None)
    for block in read_mono(path, rate):
        held = np.concatenate([held, block])
        while begin is not None and begin + length <= offset + len(held):
            yield _piece(held, begin - offset, length)
            begin = next(waiting, None)
        if begin is None:
            return
        gone = min(max(begin - offset, 0), len(held))
        held, offset = held[gone:], offset + gone
    while begin is not None:
        yield _piece(held, begin - offset, length)
        begin = next(waiting, None)


def begin_of(path: Path, rate: int, share: float) -> int:
    """The sample at `rate` Hz where a one-shot begins: the first that reaches a `share` of its peak."""
    return begin_in(np.concatenate([np.zeros(0, np.float32), *read_mono(path, rate)]), share)


def begin_in(samples: np.ndarray, share: float) -> int:
    """The sample of a one-shot (n,) that `begin_of` a file tells."""
    loudness = np.abs(samples)
    return int(np.argmax(loudness >= share * loudness.max())) if len(loudness) else 0


def read_piece(path: Path, ms: int, before_ms: int, after_ms: int) -> tuple[np.ndarray, int, int]:
    """The sound from `before_ms` before `ms` to `after_ms` after it, as far as there is any: samples (n, channels),
    their rate in Hz, and which of them lies at `ms`. Read from the beginning on: no format seeks exactly."""
    with path.open("rb") as file, open_stream(file) as sound:  # by file: its name may be no text
        rate = sound.samplerate
        at = round(ms * rate / 1000)
        first, end = max(0, at - round(before_ms * rate / 1000)), at + round(after_ms * rate / 1000)
        pieces, offset = [], 0
        while offset < end:
            block = sound.read(min(rate, end - offset), dtype="float32", always_2d=True)
            if not len(block):
                break
            pieces.append(block[max(0, first - offset) :])
            offset += len(block)
    return np.concatenate(pieces), rate, at - first


def write_flac(path: Path, samples: np.ndarray, rate: int) -> None:
    """Writes samples (n, channels) as a FLAC of 24 bit, whatever the name says."""
    import soundfile

    if samples.shape[1] > FLAC_CHANNELS:
        samples = samples.mean(axis=1)
    soundfile.write(str(path), samples, rate, format="FLAC", subtype="PCM_24")


def write_wav(path: Path, samples: np.ndarray, rate: int) -> None:
    """Writes mono samples as a WAV of 24 bit. soundfile waits for the disk after each file: thousands took minutes."""
    whole = np.rint(samples.clip(-1, 1 - 2.0**-23) * 2.0**23).astype("<i4")
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 3, rate, len(whole), "NONE", ""))
        file.writeframes(whole.view(np.uint8).reshape(-1, 4)[:, :3].tobytes())


def _piece(held: np.ndarray, begin: int, length: int) -> np.ndarray:
    """`length` samples of `held` from `begin` on, with silence where there is none."""
    piece = np.zeros(length, np.float32)
    first, last = max(begin, 0), min(begin + length, len(held))
    if last > first:
        piece[first - begin : last - begin] = held[first:last]
    return piece
