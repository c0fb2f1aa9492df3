"""What lies on a shelf and whose it is; what is set aside there; locks that nobody holds."""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from filelock import FileLock, Timeout

from storage.artifacts import BUILDING, DAMAGED, DROPPING, MANIFEST, Shelf
from storage.names import BadName


@dataclass(frozen=True)
class Lying:
    """One key of a shelf: its files, or only the note of what it was."""

    key: str
    bytes: int
    """Of its files; 0 where only the note is there."""
    since: float
    """When it was built, seconds since 1970."""
    owner: dict[str, Any]
    """What was said to the shelf on which it was built; empty where that was nothing."""
    note: dict[str, Any]
    has_files: bool


def lying(shelf: Shelf, since: float = 0.0) -> list[Lying]:
    """Everything on the shelf that was built `since` then (seconds since 1970), what is only noted included; nothing
    that is being built now."""
    here = {key for key in shelf.keys() if (shelf.folder / key / MANIFEST).is_file()}  # noqa: SIM118 - no mapping
    noted = {path.stem for path in shelf._notes.glob("[!.]*.json")}
    found = []
    for key in sorted(here | noted):
        with contextlib.suppress(FileNotFoundError, BadName):  # dropped at this moment; put there by a person
            place = shelf._place(key) / MANIFEST if key in here else shelf._notes / f"{key}.json"
            built = place.stat().st_mtime
            if built < since:
                continue
            said = shelf._said(key) or {}
            taken = bytes_of(place.parent) if key in here else 0
            owner, note = dict(said.get("of", {})), dict(said.get("note", {}))
            found.append(Lying(key, taken, built, owner, note, key in here))
    return found


def unfinished(shelf: Shelf) -> list[tuple[int, int, float]]:
    """What builders and cleaners left half done, or do now: how many, their bytes, since when; empty where none."""
    places = [place for prefix in (BUILDING, DROPPING) for place in shelf.folder.glob(f"{prefix}*")]
    facts = [(bytes_of(place), place.stat().st_ctime) for place in places if place.exists()]
    return [(len(facts), sum(taken for taken, _ in facts), max(since for _, since in facts))] if facts else []


def set_aside(shelf: Shelf) -> list[tuple[Path, int, float]]:
    """What was found damaged: its folder, the bytes in it, and when it was set aside."""
    return [(place, bytes_of(place), place.stat().st_ctime) for place in sorted(shelf.folder.glob(f"{DAMAGED}*"))]


def remove_set_aside(place: Path) -> bool:
    """Removes a folder that `set_aside` told of; False where it was gone already."""
    if not place.name.startswith(DAMAGED) or not place.is_dir():
        return False
    shutil.rmtree(place)
    return True


def idle_locks(shelf: Shelf, before: float) -> list[Path]:
    """The empty files of locks of what has no files any more; those made before then, seconds since 1970."""
    here = set(shelf.keys())
    return [
        path
        for folder in (shelf._locks, shelf._claims)
        for path in sorted(folder.glob("*.lock"))
        if path.stem not in here and path.stat().st_mtime < before
    ]


def remove_lock(path: Path) -> bool:
    """Removes the file of a lock that nobody holds; who waits for it at this moment takes a new one."""
    # Whoever opened the file before it went and gets the lock on it after that sees that it has no name any more, and
    # begins anew (filelock). Windows removes no file that is open.
    with contextlib.suppress(Timeout, OSError), FileLock(path, timeout=0):
        path.unlink()
        return True
    return False


def builders(shelf: Shelf) -> set[int]:
    """The processes that hold a lock of the shelf; one that waits for it is taken for one for moments only."""
    folder, found = shelf._locks.resolve(), set()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if any(Path(file.path).parent == folder for file in process.open_files()):
                found.add(process.pid)
    return found


def bytes_of(folder: Path) -> int:
    """Bytes of all files below; what goes away meanwhile is not counted."""
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            total += path.stat().st_size if path.is_file() else 0
    return total
