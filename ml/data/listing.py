"""What lies in a source folder, from its directory entries alone: no file is opened here."""

from __future__ import annotations

import contextlib
import os
import stat
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ml.data.naming import PART_FOLDERS, ClassNames
from ml.data.source import SourceError, SourceVanished, has_vanished


@dataclass(frozen=True)
class Entry:
    """One file with a fitting ending below a class folder. `refusal` says why it must not even be opened, or is ""."""

    path: str
    """POSIX, relative to the source."""
    bytes: int
    modified_ns: int
    refusal: str = ""
    label: str = ""
    """The class that its folder stands for."""


@dataclass
class Listing:
    """The entries by path, the class folders they are in, and what a person should know about the rest."""

    entries: list[Entry] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    """Relative to the source: CLASS, or PART/CLASS where the source is divided already."""
    notes: list[str] = field(default_factory=list)
    given_parts: bool = False
    """Whether it is divided already: PART/CLASS/file."""


def list_source(source: Path, names: ClassNames, endings: Collection[str], *, given_parts: bool = False) -> Listing:
    """Everything with one of the `endings` below the class folders of `source`; without classes, every folder is one.

    With `given_parts` the class folders may lie in folders named train, val (valid, validation, dev) and test instead.
    """
    root = _root(source)
    listing = Listing()
    present = _folders(root, "", listing)
    if given_parts:
        _list_parts(root, present, names, endings, listing)
    if not listing.given_parts:
        _list_classes(root, "", present, names, endings, listing)
    listing.entries.sort(key=lambda entry: entry.path)
    return listing


def list_everything(source: Path, endings: Collection[str]) -> Listing:
    """Every file of `source` with one of the `endings`, however deep it lies; none has a class.

    Links to folders are not followed, and hidden files passed over: a lab's own folders have some.
    """
    root = _root(source)
    listing = Listing()
    _list_class(root, "", "", endings, listing)
    listing.entries.sort(key=lambda entry: entry.path)
    return listing


def _list_parts(root: Path, present: list[str], names: ClassNames, endings: Collection[str], listing: Listing) -> None:
    """List `root` as PART/CLASS/file, if it is so; a part folder without class folders is none."""
    classes_of: dict[str, list[str]] = {}
    silent = Listing()
    for name in present:
        if name.casefold() in PART_FOLDERS and not (names.classes and names.means(name)):
            folders = _folders(root, name, silent)
            if any(names.means(folder) is not None for folder in folders):
                classes_of[name] = folders
    if not classes_of:
        return
    listing.given_parts = True
    parts = ", ".join(f"{name}/" for name in classes_of)
    beside = [name for name in present if name not in classes_of]
    classes = [name for name in beside if names.classes and names.means(name)]
    if classes:
        raise SourceError(
            f"{root}: class folders ({', '.join(classes)}) lie beside {parts}: what is in them belongs to no part; "
            f"move them into {parts.split(', ')[0]}, or all classes out of {parts}"
        )
    listing.notes += [f"{name}: lies beside {parts} and holds no class folders, ignored" for name in beside]
    listing.notes += silent.notes
    for name, folders in classes_of.items():
        _list_classes(root, name, folders, names, endings, listing)
    held = {PART_FOLDERS[name.casefold()] for name in classes_of}
    if "validation" not in held:
        listing.notes.append("there is no val/: validation is cut from train/")
    if "test" not in held:
        listing.notes.append("there is no test/: no part is held back for a test, and none will be reported")
    for part, doubled in _grouped((PART_FOLDERS[name.casefold()], name) for name in classes_of).items():
        if len(doubled) > 1:
            listing.notes.append(f"{' and '.join(doubled)}: both hold the part {part}, both are read")


def _list_classes(
    root: Path, below: str, present: list[str], names: ClassNames, endings: Collection[str], listing: Listing
) -> None:
    """List the class folders among the folders `present` in `below` ("" for the root itself)."""
    at = f"{below}/" if below else ""
    meant = _grouped((label, name) for name in present if (label := names.means(name)) is not None)
    known = {name for folders in meant.values() for name in folders}
    for name in (name for name in present if name not in known):
        near = names.nearly(name)
        hint = f" (meant as {near}? upper and lower case count)" if near is not None and near not in meant else ""
        listing.notes.append(
            f"{at}{name}: not a class of this study, ignored{hint}; the classes are {', '.join(names.classes)}: "
            "rename the folder, or name it in `inventory.aliases`"
        )
    for label in names.classes or sorted(meant):
        folders = meant.get(label, [])
        if not folders:
            listing.notes.append(f"{label}: the class has no folder in {root / below if below else root}")
        if len(folders) > 1:
            every = ", ".join(at + name for name in folders)
            listing.notes.append(f"{label}: {len(folders)} folders mean this class, all are read: {every}")
        for name in folders:
            listing.folders.append(at + name)
            _list_class(root, at + name, label, endings, listing)


def _folders(root: Path, below: str, listing: Listing) -> list[str]:
    """The names of the folders in `below`; what else lies there is noted."""
    found: list[str] = []
    loose = 0
    at = f"{below}/" if below else ""
    with _watching(root), os.scandir(root / below) as entries:
        for entry in sorted(entries, key=lambda one: one.name):
            if entry.name.startswith("."):
                continue
            if entry.is_symlink() and entry.is_dir():
                listing.notes.append(f"{at}{entry.name}: a link to a folder, not followed")
            elif entry.is_dir(follow_symlinks=False):
                found.append(entry.name)
            else:
                loose += 1
    if loose:
        where = f" in {below}" if below else ""
        listing.notes.append(f"{loose} files{where} lie beside the class folders and are ignored")
    return found


def _grouped(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for key, value in pairs:
        found[key].append(value)
    return found


def meant_instead(source: Path, names: ClassNames, *, given_parts: bool) -> list[str]:
    """Folders directly in `source` that look like the source itself: class folders (or parts) lie in them."""
    found = []
    with contextlib.suppress(OSError, SourceError):
        for name in _folders(source, "", Listing()):
            below = _folders(source, name, Listing())
            parts = given_parts and any(one.casefold() in PART_FOLDERS for one in below)
            if parts or (names.classes and any(names.means(one) for one in below)):
                found.append(name)
    return found


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


def _list_class(root: Path, name: str, label: str, endings: Collection[str], listing: Listing) -> None:
    others: Counter[str] = Counter()
    hidden = 0
    at = f"{name}: " if name else ""

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
            elif suffix not in endings:
                others[suffix or "no ending"] += 1
            elif not _is_text(os.path.join(folder, file)):  # noqa: PTH118
                shown = os.fsencode(file).decode("utf-8", "backslashreplace")
                listing.notes.append(f"{at}the name {shown} is not valid text; rename the file to use it")
            else:
                listing.entries.append(replace(_entry(root, os.path.join(folder, file)), label=label))  # noqa: PTH118
    if hidden and name:
        listing.notes.append(f"{name}: {hidden} hidden files ignored")
    if others:
        counts = ", ".join(f"{count} {suffix}" for suffix, count in sorted(others.items()))
        listing.notes.append(f"{at}files that are not read, by their ending: {counts}")


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
