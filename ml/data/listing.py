"""What lies in a source folder, from its directory entries alone: no file is opened here."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ml.data.audio import SUFFIXES
from ml.data.source import SourceError, SourceVanished, has_vanished


@dataclass(frozen=True)
class Entry:
    """One file with an audio ending below a class folder. `refusal` says why it must not even be opened, or is ""."""

    path: str
    """POSIX, relative to the source."""
    bytes: int
    modified_ns: int
    refusal: str = ""


@dataclass
class Listing:
    """The entries by path, the class folders they are in, and what a person should know about the rest."""

    entries: list[Entry] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def list_source(source: Path, classes: Sequence[str]) -> Listing:
    """Everything below the class folders of `source`; with no `classes`, every folder is one."""
    root = _root(source)
    listing = Listing()
    present: dict[str, os.DirEntry[str]] = {}
    loose = 0
    with _watching(root), os.scandir(root) as entries:
        for entry in sorted(entries, key=lambda one: one.name):
            if entry.name.startswith("."):
                continue
            if entry.is_symlink() and entry.is_dir():
                listing.notes.append(f"{entry.name}: a link to a folder, not followed")
            elif entry.is_dir(follow_symlinks=False):
                present[entry.name] = entry
            else:
                loose += 1
    if loose:
        listing.notes.append(f"{loose} files lie beside the class folders and are ignored")
    wanted = list(classes) or sorted(present)
    for name in sorted(set(present) - set(wanted)):
        meant = next((one for one in wanted if one.casefold() == name.casefold() and one not in present), None)
        hint = f" (meant as {meant}? upper and lower case count)" if meant else ""
        listing.notes.append(f"{name}: not a class of this study, ignored{hint}")
    for name in wanted:
        if name in present:
            listing.folders.append(name)
            _list_class(root, name, listing)
        else:
            listing.notes.append(f"{name}: the class has no folder in {source}")
    listing.entries.sort(key=lambda entry: entry.path)
    return listing


def require_present(source: Path, folders: Sequence[str]) -> None:
    """Raise `SourceVanished` when the source or a class folder that was listed is not there any more."""
    for folder in (source, *(source / name for name in folders)):
        try:
            there = folder.is_dir()
        except OSError:
            there = False
        if not there:
            raise SourceVanished(f"{folder} was there and is gone: has the drive been disconnected?")


def _root(source: Path) -> Path:
    try:
        status = source.stat()
    except FileNotFoundError:
        raise SourceError(f"{source}: no such folder; connect the drive or correct the path") from None
    except PermissionError:
        raise SourceError(f"{source}: permission denied; give this user the right to read it") from None
    except OSError as problem:
        if has_vanished(problem):
            raise SourceVanished(problem.errno, f"{source}: {problem.strerror}") from problem
        raise SourceError(f"{source}: cannot be used: {problem.strerror}") from problem
    if not stat.S_ISDIR(status.st_mode):
        raise SourceError(f"{source}: not a folder; name the folder that holds the class folders")
    return source.resolve()


class _watching:
    """Turn the errors of looking into a folder into the two that callers know."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, problem: BaseException | None, trace: object) -> None:
        if isinstance(problem, OSError):
            raise _as_source_problem(problem, self.folder) from problem


def _as_source_problem(problem: OSError, folder: Path | str) -> Exception:
    if isinstance(problem, SourceVanished):
        return problem
    where = problem.filename or folder
    if has_vanished(problem):
        return SourceVanished(problem.errno, f"{where}: {problem.strerror}; has the drive been disconnected?")
    return SourceError(f"{where}: {problem.strerror}; what lies in it would be missing unnoticed")


def _list_class(root: Path, name: str, listing: Listing) -> None:
    others: Counter[str] = Counter()
    hidden = 0

    def stop(problem: OSError) -> None:
        raise _as_source_problem(problem, root / name)

    for folder, folders, files in os.walk(root / name, onerror=stop, followlinks=False):
        for below in list(folders):
            if below.startswith("."):
                folders.remove(below)
            elif (Path(folder) / below).is_symlink():
                listing.notes.append(
                    f"{(Path(folder) / below).relative_to(root).as_posix()}: a link to a folder, not followed"
                )
        for file in files:
            suffix = os.path.splitext(file)[1].lower()  # noqa: PTH122 - a Path for each name is slow
            if file.startswith("."):
                hidden += 1
            elif suffix not in SUFFIXES:
                others[suffix or "no ending"] += 1
            elif not _is_text(os.path.join(folder, file)):  # noqa: PTH118
                shown = os.fsencode(file).decode("utf-8", "backslashreplace")
                listing.notes.append(f"{name}: the name {shown} is not valid text; rename the file to use it")
            else:
                listing.entries.append(_entry(root, os.path.join(folder, file)))  # noqa: PTH118
    if hidden:
        listing.notes.append(f"{name}: {hidden} hidden files ignored")
    if others:
        counts = ", ".join(f"{count} {suffix}" for suffix, count in sorted(others.items()))
        listing.notes.append(f"{name}: files that are not read, by their ending: {counts}")


def _is_text(path: str) -> bool:
    """Whether the name can be written down; bytes that are no UTF-8 reach Python as lone surrogates."""
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _entry(root: Path, path: str) -> Entry:
    relative = os.path.relpath(path, root).replace(os.sep, "/")
    with _watching(root):
        status = os.lstat(path)
        if stat.S_ISLNK(status.st_mode):
            target = os.path.realpath(path)
            if not Path(target).is_relative_to(root):
                return Entry(relative, 0, 0, "a link that leads out of the source; copy the file itself")
            try:
                status = os.stat(target)  # noqa: PTH116
            except OSError:  # nowhere, or round in a loop
                return Entry(relative, 0, 0, "a link that leads nowhere")
    if not stat.S_ISREG(status.st_mode):
        return Entry(relative, 0, 0, f"not a regular file but a {_kind(status.st_mode)}; never opened")
    return Entry(relative, status.st_size, status.st_mtime_ns)


def _kind(mode: int) -> str:
    if stat.S_ISFIFO(mode):
        return "named pipe"
    if stat.S_ISSOCK(mode):
        return "socket"
    return "folder" if stat.S_ISDIR(mode) else "device"
