"""One recording, in a child process: sound in, a file of frames out, in bounded memory however long it plays."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from ml.features.fbank import Fbank, FbankConfig

ROW = np.dtype("<f2")
"""A frame on disk is so many little-endian float16: 0.008 apart at the -16 of silence, where nothing is heard."""


class Recording(NamedTuple):
    """A file and what the inventory knew of it: the sha256 of its bytes and, if told, (bytes, modified_ns)."""

    content_hash: str
    path: Path
    bytes: int
    stamp: tuple[int, int] | None

    def __str__(self) -> str:
        return str(self.path)


class Decode(Protocol):
    """A top-level function (children import it): the sound of a file in float32 blocks (n,), mono, at `rate` Hz."""

    def __call__(self, path: Path, rate: int, /) -> Iterator[np.ndarray]: ...


@dataclass(frozen=True)
class Extracted:
    """A child's answer: `frames` rows lie in the file `part`; or a `problem`; or the number of a failed write."""

    part: str
    frames: int
    problem: str = ""
    write_error: int = 0


def extract(recording: Recording, *, folder: Path, config: FbankConfig, decode: Decode) -> Extracted:
    """Write the frames of `recording` into a file of its own in `folder`.

    The store speaks of content, so the content is proven first, unless the file's stamp is the inventory's. System
    errors of reading (a drive that went away) are raised as they are: a reason to try again later.
    """
    part = f"{recording.content_hash}.{os.getpid()}.part"
    before = _stamp(recording.path)
    if before != recording.stamp and _content_hash(recording.path) != recording.content_hash:
        return Extracted(part, 0, "its content is another")
    frames = 0
    blocks = Fbank(config).stream(decode(recording.path, config.sample_rate))
    try:
        with (folder / part).open("wb") as target:
            while (block := _next(blocks, recording.path)) is not None:
                if isinstance(block, str):
                    return Extracted(part, frames, block)
                target.write(block.astype(ROW).data)
                frames += len(block)
    except _ReadFailed as failure:
        raise failure.error from None
    except OSError as failure:
        return Extracted(part, frames, write_error=failure.errno or 1)
    if _stamp(recording.path) != before:
        return Extracted(part, frames, "it was written to while it was read")
    return Extracted(part, frames, "" if frames else f"it is shorter than one frame of {config.window_ms:g} ms")


def _stamp(path: Path) -> tuple[int, int]:
    facts = path.stat()
    return facts.st_size, facts.st_mtime_ns


def _content_hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class _ReadFailed(Exception):
    """Carries a system error of reading past the handler of those of writing."""

    def __init__(self, error: OSError) -> None:
        self.error = error


def _next(blocks: Iterator[np.ndarray], path: Path) -> np.ndarray | str | None:
    """The next frames, None at the end, or a sentence when the decoder gave up on the file."""
    try:
        return next(blocks, None)
    except OSError as problem:
        raise _ReadFailed(problem) from problem
    except Exception as problem:
        try:  # a decoder says "system error" of a drive that went away; the drive itself says more
            with path.open("rb") as file:
                file.read(1)
        except OSError as gone:
            raise _ReadFailed(gone) from problem
        return f"it cannot be decoded any more ({problem})"
