"""How a file is looked at, whatever is in it: without waiting, in bounded memory, not fooled by a copy in progress."""

from __future__ import annotations

import hashlib
import io
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SMALL_BYTES = 64 * 1024**2
"""Files up to here are read once into memory, then hashed and decoded there; larger ones are read twice."""


@dataclass(frozen=True)
class FileFacts:
    """What one look at a file found. `state` is "ok", "warned" or "rejected"; `problem` says why, "" when ok.

    `content_hash` is the sha256 of the bytes, "" when the verdict rests on circumstances and not on the bytes (no
    permission, changed while it was read, refused by a limit): such a verdict is not to be remembered. `sound_hash` is
    the sha256 of what was decoded: a WAV and a FLAC of the same sound agree, a PNG and a BMP of the same picture too.
    `peak`: full scale = 1. A picture has no seconds, no rate and no peak (0); its channels are its bands.
    """

    seconds: float = 0.0
    rate: int = 0
    channels: int = 0
    format: str = ""
    bytes: int = 0
    modified_ns: int = 0
    content_hash: str = ""
    sound_hash: str = ""
    peak: float = 0.0
    state: str = "ok"
    problem: str = ""


class Rejected(Exception):
    """The sentence of a verdict, on its way out of the examination."""


Decode = Callable[[io.BufferedIOBase, dict[str, Any], list[str]], None]
"""Reads the open file to its end, fills in what it finds and what it warns of, raises `Rejected`."""


def judge(path: Path, decode: Decode) -> FileFacts:
    """The verdict of `decode` on one file, and on the file as such: its bytes, its hash, whether it is a file at all.

    Never waits on a pipe or a device and never holds more than a small file in memory; what `decode` holds is its own
    affair. Errors of the drive itself are raised as OSError.
    """
    found: dict[str, Any] = {}
    warnings: list[str] = []
    try:
        _judge(path, decode, found, warnings)
    except Rejected as verdict:
        return FileFacts(**found, state="rejected", problem=str(verdict))
    return FileFacts(**found, state="warned" if warnings else "ok", problem="; ".join(warnings))


def _judge(path: Path, decode: Decode, found: dict[str, Any], warnings: list[str]) -> None:
    try:
        # Opening a named pipe without O_NONBLOCK waits for a writer, for ever.
        number = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except PermissionError:
        raise Rejected("not readable: permission denied; give this user the right to read it") from None
    with os.fdopen(number, "rb") as file:
        before = os.fstat(number)
        found |= {"bytes": before.st_size, "modified_ns": before.st_mtime_ns}
        if not stat.S_ISREG(before.st_mode):
            raise Rejected("not a regular file")
        if before.st_size == 0:
            raise Rejected("empty: 0 bytes")
        opened: io.BufferedIOBase = file
        if before.st_size <= SMALL_BYTES:
            content = file.read()
            found["content_hash"] = hashlib.sha256(content).hexdigest()
            opened = io.BytesIO(content)
        verdict = None
        try:
            decode(opened, found, warnings)
        except Rejected as rejected:
            verdict = rejected
        if not _identity(before) == _identity(os.fstat(number)) == _identity(path.stat()):
            found["content_hash"] = ""
            verdict = Rejected("it changed while it was read; look again when it has been copied completely")
    if verdict is not None:
        raise verdict


def hash_large(file: io.BufferedIOBase, found: dict[str, Any]) -> None:
    """The hash of a file that was too large to be held in memory, once it is known to be worth reading."""
    if "content_hash" not in found:
        file.seek(0)
        found["content_hash"] = hashlib.file_digest(file, "sha256").hexdigest()


def _identity(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_size, status.st_mtime_ns, status.st_ino
