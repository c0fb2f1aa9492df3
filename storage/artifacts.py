"""Things that are built once and found again by their key: features, models, training states.

`<root>/<kind>/<key>/` holds `manifest.json` and `files/`. It is filled under another name, flushed to the disk, and
appears by one rename, so whoever finds it finds all of it. The manifest holds the SHA-256 of every file: a flipped bit
in weights loads without a complaint everywhere else. It also says whose it is, for whoever tidies up.

Every process reads every file in full before it first uses it. Files of 256 MiB and more are the exception, because one
process per trial would spend minutes of the night on hashing the same features: see `seen_lately.py`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from filelock import BaseFileLock, FileLock, Timeout

from storage import durable, seen_lately
from storage.names import BadName, check_name

MANIFEST = "manifest.json"
BUILDING, DROPPING, DAMAGED = ".building-", ".dropping-", ".damaged-"
"""How the names of folders begin that are not there for others: unfinished, half removed, set aside."""

_verified: set[seen_lately.Identity] = set()
"""Files that this process has read in full, or that another has read lately."""


class Shelf:
    """The artifacts of one kind ("features", "states", "models"); several processes may use it at once."""

    def __init__(self, root: Path, kind: str, of: Mapping[str, Any] | None = None) -> None:
        """`of` says whose it is what is built here: it is noted beside everything, and means nothing here."""
        self._of = {"of": dict(of)} if of else {}
        self.folder = root / check_name(kind, "kind of artifact")
        self._locks = self.folder / ".locks"
        self._claims = self.folder / ".claims"
        self._notes = self.folder / ".notes"
        self._seen = self.folder / ".seen"
        for folder in (self._locks, self._claims, self._notes, self._seen):
            folder.mkdir(parents=True, exist_ok=True)
        self._swept = False

    def note(self, key: str) -> dict[str, Any] | None:
        """What was noted when `key` was built, also after its files were dropped; None when it never was."""
        said = self._said(key)
        return None if said is None else dict(said["note"])

    def owner(self, key: str) -> dict[str, Any]:
        """Whose `key` is, as it was said to the shelf on which it was built; empty where nothing was said."""
        return dict((self._said(key) or {}).get("of", {}))

    def find(self, key: str) -> Path | None:
        """The folder with the files of `key`, every byte checked (once in a process; large files once a day), or None.

        A damaged artifact is moved aside (`.damaged-<key>`, for a person to look at) and is None: it is built again.
        """
        with contextlib.suppress(durable.Damaged):
            return self._healthy(key)
        with self._lock(key):  # what looked damaged may have been dropped and built anew meanwhile: look again, alone
            return self._healthy_or_set_aside(key)

    def build(self, key: str, write: Callable[[Path], dict[str, Any] | None]) -> Path:
        """The files of `key`: found, or made by `write(folder)`, which fills an empty folder and returns the note.

        One process builds while others that want the same key wait for it. Nobody sees the folder before every byte
        is on the disk. Raises `LabFull` when there is no room; then nothing is left behind.
        """
        self._sweep_once()
        with self._lock(key):
            found = self._healthy_or_set_aside(key)
            if found is not None:
                return found
            building = self.folder / f"{BUILDING}{key}"
            place = self._place(key)
            with durable.telling_full(place):
                try:
                    _remove(building)
                    (building / "files").mkdir(parents=True)
                    note = write(building / "files")
                    files = _seal(building, {"key": key, "note": note or {}} | self._of)
                    durable.replace(building, place)
                except BaseException:
                    with contextlib.suppress(OSError):
                        _remove(building)
                    raise
                durable.sync_folder(self.folder)
            read = {seen_lately.identity(place / "files" / name, entry["sha256"]) for name, entry in files.items()}
            _verified.update(read)
            seen_lately.note(self._seen / f"{key}.json", read)
            return place / "files"

    def drop(self, key: str) -> None:
        """Removes the files of `key` and keeps its note. Nothing happens when there are none."""
        if not self._place(key).is_dir():
            return
        with self._lock(key):
            if self._place(key).is_dir():
                self._remove_files(key)

    def discard(self, key: str, *, noted: bool) -> bool:
        """As `drop`, and with `noted` the note goes too: then nothing tells that `key` ever was. Waits for nobody:
        False, and nothing happened, where another process works on it now."""
        try:
            with FileLock(self._claim_file(key), timeout=0), self._lock(key, timeout=0):
                if self._place(key).is_dir():
                    self._remove_files(key)
                gone = [self._notes / f"{key}.json", self._seen / f"{key}.json"] if noted else []
                # Who waits for a lock whose file goes takes a new one (filelock); Windows keeps what is open.
                for path in (*gone, self._claim_file(key), self._locks / f"{key}.lock"):
                    with contextlib.suppress(OSError):
                        path.unlink()
        except Timeout:
            return False
        return True

    def release(self, keys: Iterable[str]) -> int:
        """Drops what is here of `keys` when nobody goes on from them; how many had files."""
        here = set(self.keys()) & set(keys)
        for key in here:
            self.drop(key)
        return len(here)

    def remember(self, key: str, note: dict[str, Any]) -> None:
        """Notes something of `key` though it has no files: that no files came of it, and why."""
        durable.write_sealed(self._notes / f"{check_name(key, 'artifact key')}.json", {"note": note} | self._of)

    @contextlib.contextmanager
    def claim(self, key: str) -> Iterator[None]:
        """Within it this process is the one that works on `key`; while another one is, entering waits for it.

        Longer than `build`, which holds only while files are written. The kernel frees what a killed process claimed.
        """
        with FileLock(self._claim_file(key)):
            yield

    def keys(self) -> list[str]:
        """The keys whose files are here, sorted."""
        return sorted(entry.name for entry in self.folder.iterdir() if not entry.name.startswith("."))

    def bytes(self) -> int:
        """Bytes of disk that this shelf takes, unfinished and damaged artifacts included."""
        return sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())

    def sweep(self) -> int:
        """Removes what killed builders left behind (never what one is building now); how many there were."""
        swept = 0
        for entry in list(self.folder.iterdir()):
            for prefix in (BUILDING, DROPPING):
                if not entry.name.startswith(prefix):
                    continue
                with (
                    contextlib.suppress(Timeout, OSError, BadName),
                    self._lock(entry.name.removeprefix(prefix), timeout=0),
                ):
                    _remove(entry)
                    swept += 1
        return swept + durable.sweep(self._notes) + durable.sweep(self._seen)

    def _said(self, key: str) -> dict[str, Any] | None:
        """What the manifest of `key` says, or what was kept of it."""
        for place in (self._place(key) / MANIFEST, self._notes / f"{key}.json"):
            with contextlib.suppress(FileNotFoundError, NotADirectoryError, durable.Damaged):
                return durable.read_sealed(place)
        return None

    def _healthy(self, key: str) -> Path | None:
        place = self._place(key)
        if not place.is_dir():
            return None
        self._verify(place, self._seen / f"{key}.json")
        return place / "files"

    def _healthy_or_set_aside(self, key: str) -> Path | None:
        try:
            return self._healthy(key)
        except durable.Damaged:
            self._keep_note(key)
            aside = self.folder / f"{DAMAGED}{key}"
            _remove(aside)
            durable.replace(self._place(key), aside)
            return None

    def _place(self, key: str) -> Path:
        return self.folder / check_name(key, "artifact key")

    def _remove_files(self, key: str) -> None:
        """The caller holds the lock of `key`, and there are files."""
        self._keep_note(key)
        dropping = self.folder / f"{DROPPING}{key}"
        _remove(dropping)
        durable.replace(self._place(key), dropping)
        _remove(dropping)

    def _claim_file(self, key: str) -> Path:
        return self._claims / f"{check_name(key, 'artifact key')}.lock"

    @contextlib.contextmanager
    def _lock(self, key: str, timeout: float = -1) -> Iterator[BaseFileLock]:
        # The kernel frees the lock of a killed process; the empty file stays, because removing it would race.
        with FileLock(self._locks / f"{check_name(key, 'artifact key')}.lock", timeout=timeout) as lock:
            yield lock

    def _sweep_once(self) -> None:
        if not self._swept:
            self._swept = True
            self.sweep()

    def _keep_note(self, key: str) -> None:
        manifest, place = self._place(key) / MANIFEST, self._notes / f"{key}.json"
        with contextlib.suppress(FileNotFoundError, durable.Damaged):
            said = durable.read_sealed(manifest)
            # What it says is on the disk already: a second name is enough, where the drive knows such.
            with contextlib.suppress(OSError):
                place.unlink(missing_ok=True)
                os.link(manifest, place)
                durable.sync_folder(self._notes)
                return
            durable.write_sealed(place, {name: said[name] for name in ("note", "of") if name in said})

    def _verify(self, place: Path, seen: Path) -> None:
        try:
            files = durable.read_sealed(place / MANIFEST)["files"]
        except FileNotFoundError as problem:
            raise durable.Damaged(f"{place}: its manifest is gone") from problem
        trusted = _verified | seen_lately.among(seen)
        read = set()
        for name, entry in files.items():
            path = place / "files" / name
            try:
                identity = seen_lately.identity(path, entry["sha256"])
            except FileNotFoundError as problem:
                raise durable.Damaged(f"{path}: gone") from problem
            if identity in trusted:
                continue
            if identity.bytes != entry["bytes"] or durable.sha256_of(path) != entry["sha256"]:
                raise durable.Damaged(f"{path}: does not match the SHA-256 it was built with")
            read.add(identity)
        _verified.update(read)
        seen_lately.note(seen, read)


def _seal(building: Path, about: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Writes the manifest with what it says `about` them, puts all on the disk; SHA-256 and bytes of each file."""
    files = building / "files"
    paths = sorted(path for path in files.rglob("*") if path.is_file())
    with durable.syncing([*paths, *(path for path in files.rglob("*") if path.is_dir()), files]):
        said = {
            path.relative_to(files).as_posix(): {"sha256": durable.sha256_of(path), "bytes": path.stat().st_size}
            for path in paths
        }
        manifest = building / MANIFEST
        manifest.write_bytes(durable.sealed(about | {"files": said}))
        with durable.syncing([manifest, building]):
            pass
    return said


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
