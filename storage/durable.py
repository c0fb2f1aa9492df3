"""Writing that survives: beside, flushed to the disk, then renamed; and the sentence for a full disk.

Everything here holds against a process killed at any moment and, as far as the disk keeps its word about fsync, against
a power cut. A failed fsync is never tried again on the same file: the pages may be gone while the second call says yes.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import secrets
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil

TEMPORARY = ".nocturne-"
"""How the names of unfinished files begin. Only these are ever swept."""

_FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}
_FULL_TEXTS = ("No space left on device", "File too large", "Disk quota exceeded", "not enough space on the disk")
_AT_ONCE = 8
"""Files that are flushed to the disk beside each other."""
_REPLACE_TRIES = 20
_REPLACE_PAUSE_SECONDS = 0.1


class LabFull(OSError):
    """The disk of the lab is full: where, what is left, what to do. Nothing that was there before is lost."""


class Damaged(ValueError):
    """A file that no longer holds what was written into it: which one, and how that was seen."""


@contextlib.contextmanager
def telling_full(place: Path) -> Iterator[None]:
    """Turns whatever a full disk raises inside (of Python, DuckDB, safetensors) into a `LabFull` about `place`."""
    try:
        yield
    except LabFull:
        raise
    except Exception as problem:
        if not _is_full(problem):
            raise
        raise LabFull(
            f"no room to write {place}: {_free(place)}. What was there before is untouched. "
            "Free some space (or raise the quota), then run again: it goes on where it stopped."
        ) from problem


def _is_full(problem: BaseException | None) -> bool:
    while problem is not None:
        if isinstance(problem, OSError) and problem.errno in _FULL:
            return True
        if any(text in str(problem) for text in _FULL_TEXTS):
            return True
        problem = problem.__cause__ or problem.__context__
    return False


def _free(place: Path) -> str:
    while not place.exists() and place != place.parent:
        place = place.parent
    return f"{shutil.disk_usage(place).free / 1024**2:,.0f} MiB are free on that disk"


def sync_file(path: Path) -> None:
    """Waits until the bytes of `path` are on the disk; raises OSError when they may not be."""
    # Windows flushes only what was opened for writing.
    with path.open("r+b") as file:
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Waits until the names in `path` are on the disk. Windows has no such call and keeps names by itself."""
    if sys.platform == "win32":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def syncing(paths: Iterable[Path]) -> Iterator[None]:
    """Waits, at its end, until these files and folders are on the disk: all at once, and beside what is done within.

    Disks write many things together in hardly more time than one.
    """
    paths = list(paths)
    with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
        waiting = [pool.submit(sync_folder if path.is_dir() else sync_file, path) for path in paths]
        yield
        for each in waiting:
            each.result()


def replace(source: Path, target: Path) -> None:
    """`os.replace`, tried for two seconds where someone (a virus scanner, a reader on Windows) holds the file open."""
    for attempt in range(_REPLACE_TRIES):
        try:
            os.replace(source, target)  # noqa: PTH105 - one call for files and folders on every system
            return
        except PermissionError:
            if attempt == _REPLACE_TRIES - 1:
                raise
            time.sleep(_REPLACE_PAUSE_SECONDS)


def write_beside(path: Path, write: Callable[[Path], object]) -> None:
    """Lets `write` fill a temporary file beside `path`, makes it durable, and puts it in place in one step.

    Readers see the old file or the new one, whole. When this returns the new one is on the disk; when it raises, the
    old one is untouched.
    """
    beside = path.with_name(f"{TEMPORARY}{os.getpid()}-{secrets.token_hex(4)}.tmp")
    with telling_full(path):
        try:
            write(beside)
            sync_file(beside)
            replace(beside, path)
        except BaseException:
            with contextlib.suppress(OSError):
                beside.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def write_sealed(path: Path, body: dict[str, Any]) -> None:
    """`body` as JSON with the SHA-256 of its own text, so that a damaged byte is noticed on reading."""
    text = sealed(body)
    write_beside(path, lambda beside: _write_bytes(beside, text))


def sealed(body: dict[str, Any]) -> bytes:
    """What `write_sealed` writes."""
    body = json.loads(json.dumps(body, default=_plain))
    text = json.dumps({"sha256": _digest(body), "body": body}, ensure_ascii=False, indent=1)
    # A file name on Linux may hold bytes that are no text; Python carries them as lone surrogates.
    return text.encode("utf-8", "surrogatepass")


def read_sealed(path: Path) -> dict[str, Any]:
    """The body that `write_sealed` wrote; `Damaged` when it is not what was written; FileNotFoundError when absent."""
    try:
        said = json.loads(path.read_bytes())
        body, digest = said["body"], said["sha256"]
    except (ValueError, KeyError, TypeError, RecursionError) as problem:
        raise Damaged(f"{path}: not readable as a sealed JSON file: {problem}") from problem
    if not isinstance(body, dict) or _digest(body) != digest:
        raise Damaged(f"{path}: its content does not match its own SHA-256")
    return body


def _digest(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return value.as_posix()
    if hasattr(value, "tolist"):  # numpy's numbers and arrays
        return value.tolist()
    raise TypeError(f"cannot be written as JSON: {value!r}, a {type(value).__name__}")


def _write_bytes(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def sha256_of(path: Path) -> str:
    """SHA-256 of the bytes of a file, 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sweep(folder: Path) -> int:
    """Removes unfinished files of processes that are gone from `folder` itself; how many there were."""
    swept = 0
    for left in folder.glob(f"{TEMPORARY}*.tmp"):
        owner = left.name.removeprefix(TEMPORARY).split("-")[0]
        if owner.isdigit() and psutil.pid_exists(int(owner)):
            continue
        with contextlib.suppress(OSError):
            left.unlink()
            swept += 1
    return swept
