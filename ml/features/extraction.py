"""One file of the source, in a child process: content in, a file of rows out, in bounded memory however long it is."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np


class KnownFile(NamedTuple):
    """A file and what the inventory knew: sha256 of its bytes, (bytes, modified_ns) if told, how long it plays."""

    content_hash: str
    path: Path
    stamp: tuple[int, int] | None = None
    seconds: float = 0.0

    def __str__(self) -> str:
        return str(self.path)


class Decode(Protocol):
    """A top-level function (children import it): the sound of a file in float32 blocks (n,), mono, at `rate` Hz."""

    def __call__(self, path: Path, rate: int, /) -> Iterator[np.ndarray]: ...


class RowsOf(Protocol):
    """The rows of a file in blocks (n, *row), ready to be written; picklable, because children call it."""

    def __call__(self, file: KnownFile, /) -> Iterator[np.ndarray]: ...


class NoRows(ValueError):
    """A file that can be read but gives no rows; says in a sentence why."""


@dataclass(frozen=True)
class Extracted:
    """A child's answer: `rows` rows lie in the file `part`; or a `problem`; or the number of a failed write."""

    part: str
    rows: int
    problem: str = ""
    write_error: int = 0


def extract(file: KnownFile, *, folder: Path, rows_of: RowsOf) -> Extracted:
    """Write the rows of `file` into a file of its own in `folder`.

    The store speaks of content, so the content is proven first, unless the file's stamp is the inventory's. System
    errors of reading (a drive that went away) are raised as they are: a reason to try again later.
    """
    part = f"{file.content_hash}.{os.getpid()}.part"
    before = _stamp(file.path)
    if before != file.stamp and _content_hash(file.path) != file.content_hash:
        return Extracted(part, 0, "its content is another")
    rows = 0
    blocks = rows_of(file)
    try:
        with (folder / part).open("wb") as target:
            while (block := _next(blocks, file.path)) is not None:
                if isinstance(block, str):
                    return Extracted(part, rows, block)
                target.write(np.ascontiguousarray(block).data)
                rows += len(block)
    except _ReadFailed as failure:
        raise failure.error from None
    except OSError as failure:
        return Extracted(part, rows, write_error=failure.errno or 1)
    if _stamp(file.path) != before:
        return Extracted(part, rows, "it was written to while it was read")
    return Extracted(part, rows)


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
    """The next rows, None at the end, or a sentence when the decoder gave up on the file."""
    try:
        return next(blocks, None)
    except NoRows as problem:
        return str(problem)
    except Exception as problem:
        if isinstance(problem, OSError) and problem.errno is not None:
            raise _ReadFailed(problem) from problem
        try:  # a decoder says "system error" of a drive that went away; the drive itself says more
            with path.open("rb") as file:
                file.read(1)
        except OSError as gone:
            raise _ReadFailed(gone) from problem
        return f"it cannot be decoded any more ({problem})"
