"""A song as a transcriber hears it: decoded once, mono, and kept as the sound that networks learn from is kept."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ml.data.audio import read_mono
from ml.inference.files import Unreadable, check_length, readable

LONGEST_SECONDS = 2 * 3600.0
"""A longer file is no song; an hour takes 320 MB of memory, and 50 more while it is heard."""


@dataclass(frozen=True)
class SongSound:
    """The sound of a song, and what a beatmap says of its file."""

    samples: NDArray[np.float16]
    """(n,), mono."""
    rate: int
    """Hz of `samples`."""
    content_hash: str
    """sha256 of the bytes of the file."""
    seconds: float
    own_rate: int
    """Hz of the file."""
    tags: Mapping[str, str]
    """What the file says of itself, such as title and artist."""

    def forgotten(self) -> SongSound:
        """The same without its samples, which are most of what a song takes of memory."""
        return replace(self, samples=np.empty(0, dtype=np.float16))


def read_song(path: Path, rate: int) -> SongSound:
    """The song in a file, at `rate` Hz. Raises `Unreadable` with a sentence; errors of the drive are OSErrors."""
    import soundfile

    with readable(path) as (sound, promised):
        own_rate, tags = sound.samplerate, sound.copy_metadata()
        if promised > LONGEST_SECONDS * own_rate:
            raise Unreadable(_too_long(promised / own_rate))
        with path.open("rb") as file:
            content_hash = hashlib.file_digest(file, "sha256").hexdigest()
        # As long as the file promises, so that the sound is not held twice; an untrue promise costs nothing.
        samples, length = np.empty(round(promised / own_rate * rate) + 1, dtype=np.float16), 0
        try:
            for block in read_mono(path, rate):
                if length + len(block) > LONGEST_SECONDS * rate:
                    raise Unreadable(_too_long((length + len(block)) / rate))
                if length + len(block) > len(samples):
                    samples = np.concatenate([samples[:length], np.empty(length + rate * 60, dtype=np.float16)])
                with np.errstate(over="ignore"):  # what is beyond a float16 becomes infinite, and is refused
                    samples[length : length + len(block)] = block
                length += len(block)
                if not np.isfinite(samples[length - len(block) : length]).all():
                    raise Unreadable("it holds values that are no numbers (NaN or infinite)")
        except soundfile.LibsndfileError as problem:
            reason = str(getattr(problem, "error_string", problem)).strip().rstrip(".")
            raise Unreadable(f"damaged: reading fails after {length / rate:.2f} s: {reason}") from None
        seconds = length / rate
        check_length(round(seconds * own_rate) + 1, promised, sound)  # resampling may round a sample away
    return SongSound(samples[:length], rate, content_hash, seconds, own_rate, tags)


def _too_long(seconds: float) -> str:
    return f"{seconds / 3600:.1f} hours long; songs of up to {LONGEST_SECONDS / 3600:.0f} hours are transcribed"
