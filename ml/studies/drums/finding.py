"""What a source of drums holds: beatmaps with the sounds they name, and one-shots in folders named as components."""

from __future__ import annotations

import errno
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np

from ml.data.audio import SUFFIXES
from ml.data.beatmap import MAP_SUFFIXES, Beatmap, BeatmapError, MapAudio, read_beatmap
from ml.data.beatmap_rules import audio_of, usable_hits
from ml.data.components import COMPONENTS, component_named
from ml.data.listing import Entry, list_everything
from ml.data.naming import PART_FOLDERS
from ml.data.source import SourceVanished, has_vanished
from ml.studies.drums.pieces import Piece, pieces_of

NUMBERS = {name: number for number, name in enumerate(COMPONENTS)}


@dataclass(frozen=True)
class Map:
    """A beatmap and its hits, small: a source may have thousands."""

    entry: Entry
    audio: str
    """Path of its sound inside the source."""
    head: Beatmap
    """Nothing but what it says of its audio."""
    milliseconds: np.ndarray
    """int64, ascending: when each hit is; beyond the end of the sound too."""
    components: np.ndarray
    """int64: what is hit, indices into COMPONENTS."""
    unknown: Counter[str]
    """Names of components that are none of the twelve, and how often each is hit."""
    doubled: int
    """Hits that were there already."""
    mended: list[str]
    """What was mended while it was read, in sentences."""


@dataclass
class Found:
    """What lies in a source; nothing but beatmaps was opened."""

    maps: list[Map] = field(default_factory=list)
    one_shots: dict[str, str] = field(default_factory=dict)
    """Path of a sound to the component that its folder is named after."""
    pieces: dict[str, Piece] = field(default_factory=dict)
    """Of those that an export wrote: what its table says of them."""
    sounds: dict[str, Entry] = field(default_factory=dict)
    """Every sound by its path, also those that neither a map names nor a folder."""
    refused: list[tuple[Entry, str]] = field(default_factory=list)
    """Beatmaps that cannot be used, and why."""
    notes: list[str] = field(default_factory=list)

    def unused(self) -> list[str]:
        """Sounds that nothing says anything about."""
        named = {one.audio for one in self.maps}
        return [path for path in self.sounds if path not in named and path not in self.one_shots]

    def folders(self) -> list[str]:
        """The uppermost folders that hold any of it: when they go away, the drive did."""
        entries = [*self.sounds, *(one.entry.path for one in self.maps), *(entry.path for entry, _ in self.refused)]
        return sorted({path.split("/", 1)[0] for path in entries if "/" in path})


def look(source: Path) -> Found:
    """Everything of use in `source`, however deep it lies. Links to folders are not followed."""
    listing = list_everything(source, SUFFIXES | MAP_SUFFIXES)
    found = Found(notes=listing.notes, pieces=pieces_of(source))
    maps: list[Entry] = []
    for entry in listing.entries:
        if PurePosixPath(entry.path).suffix.lower() in MAP_SUFFIXES:
            maps.append(entry)
        else:
            found.sounds[entry.path] = entry
    for entry in maps:
        try:
            found.maps.append(_read(source, entry, found.sounds))
        except BeatmapError as problem:
            found.refused.append((entry, str(problem)))
    named = {one.audio for one in found.maps}
    for path in found.sounds:
        component = component_of(path)
        if component is not None and path not in named:
            found.one_shots[path] = component
    return found


def component_of(path: str) -> str | None:
    """The component that the nearest of its folders is named after; None where none is."""
    names = (component_named(folder) for folder in reversed(PurePosixPath(path).parts[:-1]))
    return next((name for name in names if name is not None), None)


def pack_of(path: str) -> str:
    """The folder that the component's folder of a one-shot lies in; "." for the source itself."""
    folders = PurePosixPath(path).parts[:-1]
    place = max(place for place, folder in enumerate(folders) if component_named(folder) is not None)
    return "/".join(folders[:place]) or "."


def song_of(audio: str, among: Counter[str], given_parts: Sequence[str]) -> str:
    """The name of a song: its folder's, where that holds no other song; else its own without the ending.

    `among`: folder to the songs in it. `given_parts`: folders that stand for a part and for nothing else.
    """
    path = PurePosixPath(audio)
    folder = path.parent.as_posix()
    alone = among[folder] == 1 and folder != "." and folder not in given_parts
    return folder if alone else path.with_suffix("").as_posix()


def part_of(path: str) -> str | None:
    """The part that the first folder around a sound, or a hit in it, stands for; None where it stands for none."""
    first, below, _ = path.partition("/")
    return PART_FOLDERS.get(first.casefold()) if below else None


def _read(source: Path, entry: Entry, sounds: dict[str, Entry]) -> Map:
    if entry.refusal:
        raise BeatmapError(entry.refusal)
    where = source / entry.path
    try:
        beatmap = read_beatmap(where)
        audio = audio_of(where, beatmap, source).relative_to(source).as_posix()
    except OSError as problem:
        if has_vanished(problem) and (problem.errno != errno.ENOENT or not where.parent.is_dir()):
            raise SourceVanished(
                problem.errno, f"{where}: {problem.strerror}; has the drive been disconnected?"
            ) from None
        raise BeatmapError(f"cannot be read: {problem.strerror}") from None
    if audio not in sounds:
        raise BeatmapError(f"audio.filename: {audio!r} is hidden, or its name is no text; rename it")
    usable = usable_hits(beatmap, math.inf)
    return Map(
        entry=entry,
        audio=audio,
        head=_head_of(beatmap),
        milliseconds=np.array([hit[0] for hit in usable.hits], dtype=np.int64),
        components=np.array([NUMBERS[hit[1]] for hit in usable.hits], dtype=np.int64),
        unknown=usable.unknown,
        doubled=usable.doubled,
        mended=beatmap.notes,
    )


def _head_of(beatmap: Beatmap) -> Beatmap:
    """What `mismatches` compares; whatever else a map holds, and it may be megabytes, is let go."""
    said = beatmap.audio
    audio = MapAudio(filename=said.filename, hash=said.hash, duration=said.duration, sampleRate=said.sampleRate)
    return Beatmap.model_construct(audio=audio)
