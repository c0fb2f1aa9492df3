"""The smallest real shelf: folders on the disk, seen whole or not at all."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from filelock import BaseFileLock, FileLock


class FolderShelf:
    """`<root>/<key>/` with files/ and note.json; the notes of dropped states are in `<root>/.notes`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.notes = root / ".notes"
        self.notes.mkdir(parents=True, exist_ok=True)

    def note(self, key: str) -> dict[str, Any] | None:
        for place in (self.root / key / "note.json", self.notes / f"{key}.json"):
            if place.is_file():
                return dict(json.loads(place.read_text()))
        return None

    def find(self, key: str) -> Path | None:
        return self.root / key / "files" if (self.root / key).is_dir() else None

    def build(self, key: str, write: Callable[[Path], dict[str, Any] | None]) -> Path:
        if (found := self.find(key)) is not None:
            return found
        building = self.root / f".building-{key}"
        shutil.rmtree(building, ignore_errors=True)
        (building / "files").mkdir(parents=True)
        note = write(building / "files")
        (building / "note.json").write_text(json.dumps(note))
        building.replace(self.root / key)
        return self.root / key / "files"

    def drop(self, key: str) -> None:
        if (self.root / key).is_dir():
            (self.notes / f"{key}.json").write_bytes((self.root / key / "note.json").read_bytes())
            shutil.rmtree(self.root / key)

    def remember(self, key: str, note: dict[str, Any]) -> None:
        (self.notes / f"{key}.json").write_text(json.dumps(note))

    def claim(self, key: str) -> BaseFileLock:
        return FileLock(self.notes / f"{key}.claim")

    def keys(self) -> set[str]:
        return {place.name for place in self.root.iterdir() if not place.name.startswith(".")}
