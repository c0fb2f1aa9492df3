"""What is collected of one audio: one folder of the collection, named by the audio and by what is in it.

`NAME-HASH8/NAME-HASH8.EXT` with `NAME-HASH8.bsm` is a whole song with its hits; `NAME-HASH8/COMPONENT/1.234.flac` with
a beatmap of its own is a single hit cut out of an audio. Both count as one song. Every file appears by one rename.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from ml.config import ConfigError
from ml.data.beatmap import (
    DEFAULT_VELOCITY,
    Beatmap,
    BeatmapError,
    DrumKit,
    Hit,
    MapAudio,
    Metadata,
    Timing,
    read_beatmap,
    write_beatmap,
)
from ml.data.beatmap_rules import SAME_MS
from ml.data.components import COMPONENTS
from ml.data.verdict import FileFacts

CLIP = ".flac"
"""The ending of single hits."""
UNFINISHED = ".nocturne-"
"""How the names of unfinished files begin; whoever looks for sound passes over them."""
WAIT_SECONDS = 600.0
BLOCK = 1 << 20

_SINGLE = re.compile(r"(\d+)\.(\d{3})\.flac\Z")
_LONGEST_NAME = 60


class Kept(NamedTuple):
    """One hit as it is collected."""

    ms: int
    component: str
    velocity: float = DEFAULT_VELOCITY


class Song(NamedTuple):
    """A whole song of the collection."""

    beatmap: Beatmap
    hits: list[Kept]


@contextmanager
def alone(collection: Path) -> Iterator[None]:
    """Nobody else adds to the collection meanwhile."""
    from filelock import FileLock, Timeout

    collection.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(collection.with_name(f".{collection.name}.lock"), timeout=WAIT_SECONDS):
            yield
    except Timeout:
        raise ConfigError(f"{collection}: another process has been adding to it for 10 minutes; try again") from None


def folder_of(collection: Path, audio: Path, content_hash: str) -> Path:
    """The folder for this audio; one that was named after another copy of the same audio, where there is one."""
    mark = content_hash[:8]
    there = sorted(path for path in collection.glob(f"*-{mark}") if path.is_dir())
    return there[0] if there else collection / name_of(audio, content_hash)


def name_of(audio: Path, content_hash: str) -> str:
    """NAME-HASH8: what the audio is called, told apart from every other of that name."""
    stem, mark = safe_stem(audio), content_hash[:8]
    return stem if stem.endswith(f"-{mark}") else f"{stem}-{mark}"


def safe_stem(audio: Path) -> str:
    """The name of the audio without its ending, as a name that every system can have."""
    plain = unicodedata.normalize("NFKD", audio.stem).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9._+=-]+", "_", plain).strip("._-")[:_LONGEST_NAME] or "song"


def song_in(folder: Path) -> Song | None:
    """The whole song in `folder`; None where only single hits are collected, or nothing."""
    path = folder / f"{folder.name}.bsm"
    if not path.is_file():
        return None
    try:
        beatmap = read_beatmap(path)
    except BeatmapError as problem:
        raise ConfigError(f"{path}: damaged ({problem}); remove it and collect its hits again") from None
    return Song(beatmap, [Kept(hit.time, hit.component, hit.velocity) for hit in beatmap.hitObjects])


def sound_in(folder: Path) -> Path | None:
    """The audio of the whole song in `folder`."""
    return next((path for path in folder.glob(f"{folder.name}.*") if path.suffix != ".bsm"), None)


def singles_in(folder: Path) -> dict[Kept, Path]:
    """The single hits of `folder` and their files."""
    found = {}
    for component in COMPONENTS:
        for path in sorted((folder / component).glob(f"*{CLIP}")):
            named = _SINGLE.match(path.name)
            if named:
                found[Kept(int(named[1]) * 1000 + int(named[2]), component)] = path
    return found


def is_in(hit: Kept, hits: dict[str, list[int]]) -> bool:
    """Whether a hit of the same component lies at the same time, as far as times are known."""
    return any(abs(ms - hit.ms) <= SAME_MS for ms in hits.get(hit.component, ()))


def times_of(hits: list[Kept]) -> dict[str, list[int]]:
    """Component to the times of its hits."""
    found: dict[str, list[int]] = {}
    for ms, component, _ in hits:
        found.setdefault(component, []).append(ms)
    return found


def joined(there: list[Kept], more: list[Kept]) -> list[Kept]:
    """`there` and those of `more` that are new, by time."""
    known = {(hit.component, hit.ms + shift) for hit in there for shift in range(-SAME_MS, SAME_MS + 1)}
    return sorted([*there, *(hit for hit in more if (hit.component, hit.ms) not in known)])


def write_song(folder: Path, audio: Path, facts: FileFacts, said: Beatmap, hits: list[Kept]) -> None:
    """The audio, where it is not there yet, and then the map with `hits`; `said` is the map that they come from."""
    folder.mkdir(exist_ok=True)
    _sweep(folder)
    copy = sound_in(folder)
    if copy is None:
        copy = folder / f"{folder.name}{audio.suffix.lower()}"
        _copy(audio, copy, facts.content_hash)
    path = folder / f"{folder.name}.bsm"
    write_beatmap(path, _beatmap(copy.name, facts.content_hash, facts, hits, said.metadata, said.timing))
    for single, clip in singles_in(folder).items():
        if is_in(single, times_of(hits)):  # the song holds it now
            clip.with_suffix(".bsm").unlink(missing_ok=True)
            clip.unlink()
            with contextlib.suppress(OSError):  # it holds others
                clip.parent.rmdir()


def write_single(
    folder: Path, audio: Path, hit: Kept, facts: FileFacts, at_ms: int, write: Callable[[Path], None]
) -> None:
    """A single hit of `audio`, `at_ms` after the beginning of the clip that `write` makes; `facts` are the clip's."""
    place = folder / hit.component
    place.mkdir(parents=True, exist_ok=True)
    _sweep(folder)
    path = place / f"{hit.ms // 1000}.{hit.ms % 1000:03d}{CLIP}"
    with _beside(path) as beside:
        write(beside)
        digest = hashlib.sha256(beside.read_bytes()).hexdigest()
        stem = audio.stem.encode("utf-8", "replace").decode()
        said = Metadata(
            title=f"{stem} at {hit.ms / 1000:.3f} s",
            artist="",
            creator="Nocturne",
            difficulty=0.0,
            beatmapId=digest[:32],
        )
        timing = Timing(bpm=120.0, offset=0, timeSignature="4/4")
        single = [Kept(at_ms, hit.component, hit.velocity)]
        # The map first: a map without its sound is passed over, a clip without its map would begin somewhere else.
        write_beatmap(path.with_suffix(".bsm"), _beatmap(path.name, digest, facts, single, said, timing))


def _sweep(folder: Path) -> None:
    """What a killed process left unfinished; whoever calls is alone here."""
    for left in (*folder.glob(f"{UNFINISHED}*"), *folder.glob(f"*/{UNFINISHED}*")):
        left.unlink(missing_ok=True)
    for single in folder.glob("*/*.bsm"):
        if not single.with_suffix(CLIP).exists():
            single.unlink()


def _beatmap(
    name: str, content_hash: str, facts: FileFacts, hits: list[Kept], metadata: Metadata, timing: Timing
) -> Beatmap:
    played = {hit.component for hit in hits}
    return Beatmap(
        version="1.0.0",
        metadata=metadata,
        audio=MapAudio(
            filename=name,
            hash=f"sha256:{content_hash}",
            duration=round(facts.seconds * 1000),
            sampleRate=facts.rate,
        ),
        timing=timing,
        drumKit=DrumKit(components=[name for name in COMPONENTS if name in played]),
        hitObjects=[Hit(time=ms, component=component, velocity=velocity) for ms, component, velocity in hits],
    )


def _copy(audio: Path, target: Path, content_hash: str) -> None:
    """The bytes of `audio`, if they still are those that were listened to."""
    digest = hashlib.sha256()
    with _beside(target) as beside, audio.open("rb") as source, beside.open("xb") as copy:
        while block := source.read(BLOCK):
            digest.update(block)
            copy.write(block)
        if digest.hexdigest() != content_hash:
            raise ConfigError(f"{audio}: it changed while it was read; collect it when it has been copied completely")


@contextmanager
def _beside(target: Path) -> Iterator[Path]:
    """A file beside `target` that takes its place at the end, on the disk by then; nothing stays where that fails."""
    beside = target.with_name(f"{UNFINISHED}{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        yield beside
        with beside.open("r+b") as written:
            os.fsync(written.fileno())
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)
