"""Which large files were read in full within the last day, so that the next process need not read them again.

The trade: a file of 256 MiB or more whose size, modification time and inode are those it was last read with is taken to
be whole for 24 hours. Whatever a program does to it is noticed at once, since writing changes the modification time. A
bit that flips on the disk itself changes none of the three: it is found by the first process that comes a day after the
last reading, and until then trials may train on it. Smaller files (training states) are read by every process.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from storage import durable

LARGE_BYTES = 256 * 1024**2
_TRUSTED_SECONDS = 24 * 3600


class Identity(NamedTuple):
    """A file as it was when it was looked at."""

    path: str
    sha256: str
    bytes: int
    modified_ns: int
    inode: int


def identity(path: Path, sha256: str) -> Identity:
    """The file as it is now; `sha256` is what it should hold."""
    facts = path.stat()
    return Identity(str(path), sha256, facts.st_size, facts.st_mtime_ns, facts.st_ino)


def among(place: Path) -> set[Identity]:
    """The files that the note `place` says were read within the last day; none where it is missing or damaged."""
    with contextlib.suppress(OSError, durable.Damaged):
        seen = durable.read_sealed(place)["files"]
        return {Identity(*file) for file, when in seen if 0 <= time.time() - when < _TRUSTED_SECONDS}
    return set()


def note(place: Path, read: Iterable[Identity]) -> None:
    """Adds the large files among those that were just read in full to the note `place`."""
    large = {file for file in read if file.bytes >= LARGE_BYTES}
    if not large:
        return
    # Those of before keep their time: only reading makes a file trusted longer.
    with contextlib.suppress(OSError):  # without the note they are read again, which is only slow
        kept = []
        with contextlib.suppress(FileNotFoundError, durable.Damaged):
            kept = [
                entry for entry in durable.read_sealed(place)["files"] if entry[0][0] not in {f.path for f in large}
            ]
        durable.write_sealed(place, {"files": kept + [[list(file), time.time()] for file in sorted(large)]})
