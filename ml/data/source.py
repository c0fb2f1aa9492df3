"""What can go wrong with a source folder as a whole, as two errors that ask for two different reactions."""

from __future__ import annotations

import errno

GONE = frozenset(
    getattr(errno, name)
    for name in ("ESTALE", "EIO", "ENOENT", "ENODEV", "EHOSTDOWN", "ENOTCONN", "ENXIO", "ETIMEDOUT")
    if hasattr(errno, name)
)
"""Error numbers of a drive that went away, as against a file that is bad."""


class SourceError(ValueError):
    """A source folder that cannot be used as it is: trying again changes nothing, a person has to."""


class SourceVanished(OSError):
    """A source that was there and is not now (a network drive, usually): trying again later may well work."""


def has_vanished(problem: BaseException) -> bool:
    """Whether this error speaks of the drive rather than of the file."""
    return isinstance(problem, OSError) and problem.errno in GONE
