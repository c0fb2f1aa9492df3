"""How many hits there are of each component, how many are wanted, and what is missing, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from ml.data.components import COMPONENTS, WANTED

if TYPE_CHECKING:
    import pandas as pd

    from ml.studies.drums.finding import Found

LEAST_SONGS, SPLIT_SONGS = 2, 3
"""Songs or sample packs of a component to learn it and choose by it; and to have it tested too."""


@dataclass
class Counts:
    """Hits of each component, and the songs and sample packs that they are of."""

    hits: Counter[str] = field(default_factory=Counter)
    songs: dict[str, set[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    """What could not be counted."""

    def add(self, component: str, song: str, hits: int = 1) -> None:
        """So many hits more."""
        self.hits[component] += hits
        self.songs.setdefault(component, set()).add(song)

    def all_songs(self) -> set[str]:
        """Every song and sample pack."""
        return set().union(*self.songs.values())


def count_files(files: pd.DataFrame) -> Counts:
    """What the inventory of a source holds that can be used."""
    counts = Counts()
    used = files[(files["state"] != "rejected") & files["label"].isin(COMPONENTS)]
    for (component, song), rows in used.groupby(["label", "group"]):
        counts.add(component, song, len(rows))
    return counts


def count_folder(folder: Path) -> Counts:
    """What lies in a collection (or another source) by its beatmaps and folders; no sound is opened for it."""
    from ml.studies.drums.finding import look

    return _count_found(look(folder))


def count_source(source: Path, files: pd.DataFrame | None) -> tuple[Counts, bool]:
    """What a source holds, and whether it was listened to: by its inventory `files`, where that is of this source.

    An inventory of another source, or of this one without a sound that has come since, counts nothing.
    """
    from ml.studies.drums.finding import look

    found = look(source)
    if files is None or not _is_of(files, found):
        return _count_found(found), False
    return count_files(files), True


def _is_of(files: pd.DataFrame, found: Found) -> bool:
    from ml.studies.drums.hits import places_of

    known = set(places_of(files["path"])["audio"])
    maps = {one.entry.path: one.audio for one in found.maps}
    refused = {entry.path for entry, _ in found.refused}
    gone = known - found.sounds.keys() - maps.keys() - refused
    new = [path for path, audio in maps.items() if path not in known and audio not in known]
    return not gone and not new and known >= found.one_shots.keys() | refused


def _count_found(found: Found) -> Counts:
    from ml.studies.drums.finding import pack_of, song_of
    from ml.studies.drums.hits import is_single

    counts = Counts(notes=[f"{entry.path}: {problem}" for entry, problem in found.refused])
    among = Counter(PurePosixPath(audio).parent.as_posix() for audio in {one.audio for one in found.maps})
    once: set[tuple[str, int, int]] = set()
    for one in found.maps:
        single = len(one.components) == 1 and is_single(one.audio, COMPONENTS[one.components[0]])
        song = pack_of(one.audio) if single else song_of(one.audio, among, ())
        for ms, number in zip(one.milliseconds.tolist(), one.components.tolist(), strict=True):
            if (one.audio, ms, number) not in once:  # another difficulty of the song has it too
                once.add((one.audio, ms, number))
                counts.add(COMPONENTS[number], song)
    for path, component in found.one_shots.items():
        piece = found.pieces.get(path)
        counts.add(component, piece.song if piece is not None else pack_of(path))
    return counts


def shortage(component: str, hits: int) -> str | None:
    """What is missing of a component, such as `56 of at least 100 (recommended 500): 44 more needed`; None: nothing."""
    wanted = WANTED.get(component)
    if wanted is None or hits >= wanted.recommended:
        return None
    if hits < wanted.least:
        return (
            f"{hits:,} of at least {wanted.least} (recommended {wanted.recommended}): {wanted.least - hits} more needed"
        )
    return f"{hits:,}, enough to begin with; {wanted.recommended - hits} more are recommended"


def sentences(counts: Counts, components: Iterable[str] = COMPONENTS) -> list[str]:
    """A line for each component: how many hits, of how many songs, and what is missing."""
    lines = []
    for component in components:
        hits = counts.hits[component]
        if hits or component in WANTED:
            said = shortage(component, hits) or f"{hits:,}, enough"
            songs = len(counts.songs.get(component, ()))
            few = f"; {_too_few(songs)}" if hits and songs < SPLIT_SONGS else ""
            lines.append(f"{component}: {said}{few}")
    return lines


def _too_few(songs: int) -> str:
    if songs < LEAST_SONGS:
        return "of 1 song, left out until there are 2"
    return f"of {songs} songs, not tested until there are {SPLIT_SONGS}"
