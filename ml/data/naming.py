"""What the folders of a source mean: which class a name stands for, and which part of data divided before."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

PART_FOLDERS = {
    "train": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
}
"""The folders, in any case, of data that somebody has divided already, and the part that each holds."""


def given_part(path: str) -> str | None:
    """The part that the first folder of `path` (PART/CLASS/…/file) stands for; None where it stands for none."""
    parts = PurePosixPath(path).parts
    return PART_FOLDERS.get(parts[0].casefold()) if len(parts) > 2 else None


@dataclass(frozen=True)
class ClassNames:
    """The classes, the names their folders may have, and whether capital and small letters differ."""

    classes: tuple[str, ...] = ()
    aliases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    any_case: bool = False

    def means(self, folder: str) -> str | None:
        """The class that a folder of this name holds; None for no class. Without any classes each folder is its own."""
        found = self._meanings().get(self._folded(folder))
        return found if found is not None or self.classes else folder

    def nearly(self, folder: str) -> str | None:
        """The class that was probably meant by a name that differs from it in capital and small letters."""
        return next((name for name in self.classes if name.casefold() == folder.casefold()), None)

    def ambiguous(self) -> list[str]:
        """Sentences on names that cannot be used as they are: an alias of nothing, or of two classes."""
        said = [
            f"`aliases` names {name}, which is no class; the classes are {', '.join(self.classes)}"
            for name in self.aliases
            if self.classes and name not in self.classes
        ]
        seen: dict[str, str] = {}
        for name, folded in self._pairs():
            if seen.setdefault(folded, name) != name:
                said.append(f"a folder {folded!r} would mean both {seen[folded]} and {name}; correct `aliases`")
        return said

    def _pairs(self) -> Iterable[tuple[str, str]]:
        for name in dict.fromkeys([*self.classes, *self.aliases]):
            for other in (name, *self.aliases.get(name, ())):
                yield name, self._folded(other)

    def _meanings(self) -> dict[str, str]:
        return {folded: name for name, folded in self._pairs()}

    def _folded(self, name: str) -> str:
        return unicodedata.normalize("NFC", name).casefold().strip() if self.any_case else name
