"""Collecting hits: single ones, those of a beatmap, those of a folder of beatmaps. Nothing that was there is changed.

The collection is a source like any other: songs with their beatmaps. The same hit collected twice is there once.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from ml.config import ConfigError
from ml.data.audio import SUFFIXES
from ml.data.beatmap import MAP_SUFFIXES, Beatmap, BeatmapError, read_beatmap
from ml.data.beatmap_rules import audio_of, mismatches, usable_hits
from ml.data.children import ChildFailure, map_in_children
from ml.data.components import COMPONENTS, component_named
from ml.data.examination import AudioLimits, examine
from ml.data.inventory import SECONDS_PER_FILE, SECONDS_PER_MB
from ml.data.levels import SILENT_SPAN
from ml.data.source import SourceVanished, has_vanished
from ml.data.verdict import FileFacts
from ml.studies.drums import songfolder
from ml.studies.drums.cutting import read_piece, write_flac
from ml.studies.drums.songfolder import Kept

BEFORE_MS, AFTER_MS = 50, 400
"""What is kept of a single hit: more than a network sees, for the day that it is to see more."""
LIMITS = AudioLimits(max_seconds=3600.0)

Tell = Callable[[str], None]


@dataclass
class Collected:
    """What came of one request."""

    added: int = 0
    known: int = 0
    """Hits that were collected before."""
    notes: list[str] = field(default_factory=list)
    """What was left out and why, in sentences."""
    failed: list[str] = field(default_factory=list)
    """Beatmaps of a folder of which nothing could be taken, in sentences."""
    folder: Path | None = None
    """Where the hits lie."""


def add_sample(collection: Path, audio: Path, seconds: float, component: str) -> Collected:
    """Collects the hit of `component` that begins at `seconds` of `audio`; ConfigError says what is wrong."""
    meant = component_named(component)
    if meant is None:
        raise ConfigError(f"{component!r} is no component; there are {', '.join(COMPONENTS)}")
    if not math.isfinite(seconds) or seconds < 0:
        raise ConfigError(f"{seconds:g} s is no time in a file; count from its beginning, in seconds")
    facts = _listen(audio)
    if seconds >= facts.seconds or (ms := round(seconds * 1000)) >= facts.seconds * 1000:
        raise ConfigError(f"{audio}: lasts {facts.seconds:.3f} s; there is nothing at {seconds:g} s")
    hit = Kept(ms, meant)
    with _telling(collection), songfolder.alone(collection):
        folder = songfolder.folder_of(collection, audio, facts.content_hash)
        there, singles = songfolder.song_in(folder), songfolder.singles_in(folder)
        if songfolder.is_in(hit, songfolder.times_of([*(there.hits if there else []), *singles])):
            return Collected(known=1, folder=folder)
        if there is not None:
            songfolder.write_song(folder, audio, facts, there.beatmap, songfolder.joined(there.hits, [hit]))
        else:
            samples, rate, at = read_piece(audio, hit.ms, BEFORE_MS, AFTER_MS)
            if not len(samples[at:]) or np.ptp(samples[at:]) <= SILENT_SPAN:
                raise ConfigError(f"{audio}: there is silence at {seconds:g} s")
            clip = FileFacts(seconds=len(samples) / rate, rate=rate)
            write = partial(write_flac, samples=samples, rate=rate)
            songfolder.write_single(folder, audio, hit, clip, round(at / rate * 1000), write)
    return Collected(added=1, folder=folder)


def extract(collection: Path, beatmap: Path, audio: Path | None, *, force: bool = False) -> Collected:
    """Collects the hits of a beatmap; without `audio`, of the audio that it names. ConfigError says what is wrong.

    With `force` also where the audio is not the one that the beatmap was made for.
    """
    with _telling(beatmap):
        said = read_beatmap(beatmap)
        found = audio if audio is not None else audio_of(beatmap, said, beatmap.parent)
    return _take(collection, beatmap, said, found, _listen(found), force)


def extract_folder(
    collection: Path, folder: Path, *, force: bool = False, tell: Tell = lambda sentence: None
) -> Collected:
    """Collects the hits of all beatmaps below `folder`; those that fail are said at the end and stop nothing."""
    maps = list(maps_below(folder, but=collection))
    if not maps:
        raise ConfigError(f"{folder}: no beatmaps in it ({', '.join(sorted(MAP_SUFFIXES))})")
    whole = Collected(folder=collection)
    sounds: dict[Path, list[Path]] = {}
    for path in maps:
        try:
            sounds.setdefault(audio_of(path, read_beatmap(path), folder), []).append(path)
        except (BeatmapError, OSError) as problem:
            _require(folder, problem)
            whole.failed.append(f"{path}: {_words(problem)}")
    for number, (audio, facts) in enumerate(_examined(sounds), 1):
        for path in sounds[audio]:
            try:
                # Read again: all maps of a large folder at once would be too much to hold.
                came = _take(collection, path, read_beatmap(path), audio, facts, force)
            except (ConfigError, BeatmapError, OSError) as problem:
                _require(folder, problem)
                words = _words(problem)
                whole.failed.append(words if isinstance(problem, ConfigError) else f"{path}: {words}")
                tell(f"{number} of {len(sounds)}: {path}: FAILED")
                continue
            whole.added += came.added
            whole.known += came.known
            whole.notes += [f"{path}: {note}" for note in came.notes]
            tell(f"{number} of {len(sounds)}: {path}: {came.added} added, {came.known} known")
    return whole


def maps_below(folder: Path, but: Path) -> Iterator[Path]:
    """Beatmaps below `folder`, in order, without those that lie in `but`; links to folders are not followed."""

    def stop(problem: OSError) -> None:
        raise problem

    avoided = but.resolve()
    for root, folders, names in os.walk(folder, onerror=stop):
        here = Path(root)
        folders[:] = sorted(name for name in folders if not name.startswith(".") and (here / name).resolve() != avoided)
        for name in sorted(names):
            path = here / name
            if path.suffix.lower() in MAP_SUFFIXES and not name.startswith(".") and path.is_file():
                yield path


def _take(collection: Path, path: Path, beatmap: Beatmap, audio: Path, facts: FileFacts, force: bool) -> Collected:
    if facts.state == "rejected":
        raise ConfigError(f"{path}: its audio {audio.name} cannot be used: {facts.problem}")
    wrong = mismatches(beatmap, facts.content_hash, facts.seconds)
    if wrong and not force:
        raise ConfigError(f"{path}: {'; '.join(wrong)}. If it is the right one all the same, say --force")
    usable = usable_hits(beatmap, facts.seconds)
    notes = [*beatmap.notes, *wrong, *usable.sentences()]
    if not usable.hits:
        raise ConfigError("; ".join([f"{path}: no hit in it that can be used", *notes]))
    hits = [Kept(*hit) for hit in usable.hits]
    with _telling(collection), songfolder.alone(collection):
        folder = songfolder.folder_of(collection, audio, facts.content_hash)
        there = songfolder.song_in(folder)
        before = there.hits if there is not None else []
        after = songfolder.joined(before, hits)
        singles = songfolder.times_of(list(songfolder.singles_in(folder)))
        known = len(hits) - (len(after) - len(before))
        known += sum(songfolder.is_in(hit, singles) for hit in hits)
        if len(after) > len(before) or songfolder.sound_in(folder) is None:
            songfolder.write_song(folder, audio, facts, there.beatmap if there else beatmap, after)
    return Collected(added=len(hits) - known, known=known, notes=notes, folder=folder)


def _listen(audio: Path) -> FileFacts:
    if audio.suffix.lower() not in SUFFIXES:
        raise ConfigError(f"{audio}: is no sound that is read ({', '.join(sorted(SUFFIXES))})")
    if not audio.is_file():
        raise ConfigError(f"{audio}: {'not a regular file' if audio.exists() else 'no such file'}")
    ((_, facts),) = _examined([audio])
    if facts.state == "rejected":
        raise ConfigError(f"{audio}: {facts.problem}")
    return facts


def _examined(sounds: Iterable[Path]) -> Iterator[tuple[Path, FileFacts]]:
    """Each sound decoded once, in child processes: what crashes a decoder costs one song."""
    try:
        for path, found in map_in_children(
            partial(examine, limits=LIMITS),
            sounds,
            workers=max(1, min(4, (os.cpu_count() or 2) // 2)),
            seconds_allowed=_seconds_allowed,
        ):
            yield path, FileFacts(state="rejected", problem=found.reason) if isinstance(found, ChildFailure) else found
    except SourceVanished as problem:
        raise ConfigError(f"{problem.strerror}; has the drive been disconnected?") from None


def _seconds_allowed(sound: Path) -> float:
    with contextlib.suppress(OSError):  # it is gone: the child will say so
        return SECONDS_PER_FILE + SECONDS_PER_MB * sound.stat().st_size / 1e6
    return SECONDS_PER_FILE


@contextlib.contextmanager
def _telling(path: Path) -> Iterator[None]:
    """Turns what a drive or a beatmap says into a sentence about `path`."""
    try:
        yield
    except OSError as problem:
        raise ConfigError(f"{problem.filename or path}: {_words(problem)}") from None
    except BeatmapError as problem:
        raise ConfigError(f"{path}: {problem}") from None


def _words(problem: Exception) -> str:
    return (problem.strerror or str(problem)) if isinstance(problem, OSError) else str(problem)


def _require(folder: Path, problem: Exception) -> None:
    """A drive that went away fails every file of it: say so once."""
    if has_vanished(problem) and not folder.is_dir():
        raise ConfigError(f"{folder}: was there and is gone: has the drive been disconnected?") from None
