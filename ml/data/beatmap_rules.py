"""What holds between a beatmap and its audio: where the audio lies, whether it is the one, which hits can be used."""

from __future__ import annotations

import re
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from ml.data.audio import SUFFIXES
from ml.data.beatmap import Beatmap, BeatmapError
from ml.data.components import COMPONENTS, component_named

DURATION_SECONDS, DURATION_SHARE = 0.05, 0.001
"""By how much the duration of the audio may differ from what the map says, whichever is more."""
SAME_MS = 1
"""Hits of one component so close to each other are one: two maps of a song may have rounded differently."""
SHOWN = 5
"""Unknown components that are named; the others are counted."""

_DRIVE = re.compile(r"[A-Za-z]:")


def audio_of(map_path: Path, beatmap: Beatmap, root: Path) -> Path:
    """The audio of a beatmap: what `audio.filename` names, else the same stem; `BeatmapError` where there is neither.

    Never outside the folder of the map, and that folder never outside `root`: not by `..`, an absolute path, a drive,
    a backslash or a link.
    """
    name = beatmap.audio.filename
    _refuse_escape(name)
    folder = map_path.parent
    if not folder.resolve().is_relative_to(root.resolve()):
        raise BeatmapError(f"it lies outside {root}, behind a link; copy it there")
    for candidate in (folder / name, *_same_stem(map_path)):
        if _is_there(candidate):
            return _within(candidate, folder)
    raise BeatmapError(
        f"audio.filename: {name!r} is not in {folder}, and no sound is called {map_path.stem!r} there; "
        "put the song beside its map"
    )


def is_beside(name: str) -> bool:
    """Whether this, said by a map, is the name of a file on any system, and no place of its own."""
    return not ("\\" in name or "\0" in name or _DRIVE.match(name) or PurePosixPath(name).is_absolute())


def _refuse_escape(name: str) -> None:
    if not is_beside(name):
        raise BeatmapError(f"audio.filename: {name!r} is no name of a file beside the map")
    if ".." in PurePosixPath(name).parts:
        raise BeatmapError(f"audio.filename: {name!r} leads out of the folder of the map; put the song beside its map")


def _same_stem(map_path: Path) -> Iterator[Path]:
    for suffix in sorted(SUFFIXES):
        yield map_path.with_suffix(suffix)
        yield map_path.with_suffix(suffix.upper())


def _is_there(path: Path) -> bool:
    try:
        return path.is_symlink() or path.exists()
    except (OSError, ValueError):  # a name that no file can have
        return False


def _within(path: Path, folder: Path) -> Path:
    try:
        found = path.resolve(strict=True)
    except (OSError, RuntimeError):  # nowhere, or round in a loop
        raise BeatmapError(f"audio.filename: {path.name!r} is a link that leads nowhere") from None
    if not found.is_relative_to(folder.resolve()):
        raise BeatmapError(
            f"audio.filename: {path.name!r} is a link out of the folder of the map; copy the file itself"
        )
    if not stat.S_ISREG(found.stat().st_mode):
        raise BeatmapError(f"audio.filename: {path.name!r} is not a regular file")
    if found.suffix.lower() not in SUFFIXES:
        raise BeatmapError(f"audio.filename: {path.name!r} is no sound that is read ({', '.join(sorted(SUFFIXES))})")
    return path


def mismatches(beatmap: Beatmap, content_hash: str, seconds: float) -> list[str]:
    """Why this audio is not the one that the map was made for, in sentences; `content_hash` is the sha256 of its bytes.

    A map that says no hash ("") or no duration (0) is not compared by it.
    """
    found = []
    said = beatmap.audio.hash.strip().casefold().removeprefix("sha256:")
    if said and said != content_hash:
        found.append(f"audio.hash: the audio is another file than the map says ({content_hash[:8]}…, not {said[:8]}…)")
    promised = beatmap.audio.duration / 1000
    if promised and abs(promised - seconds) > max(DURATION_SECONDS, DURATION_SHARE * promised):
        found.append(f"audio.duration: the audio lasts {seconds:.2f} s, the map says {promised:.2f} s")
    return found


@dataclass
class UsableHits:
    """The hits of one map that can be used, sorted by time, and how many were left out for what."""

    hits: list[tuple[int, str, float]] = field(default_factory=list)
    """Milliseconds, component (of COMPONENTS), velocity."""
    unknown: Counter[str] = field(default_factory=Counter)
    """Components that are none of the twelve, as the map has them."""
    beyond: int = 0
    """Hits after the end of the audio."""
    doubled: int = 0
    """Hits that are there already."""

    def sentences(self) -> list[str]:
        """What was left out, for a person."""
        said = []
        if self.unknown:
            named = ", ".join(f"{count} {name!r}" for name, count in self.unknown.most_common(SHOWN))
            others = len(self.unknown) - SHOWN
            also = f" and of {others} further names" if others > 0 else ""
            said.append(f"hits of components that are not learned, left out: {named}{also}")
        if self.beyond:
            said.append(f"{_hits(self.beyond)} after the end of the audio, left out")
        if self.doubled:
            said.append(f"{_hits(self.doubled)} there twice, left out")
        return said


def usable_hits(beatmap: Beatmap, seconds: float) -> UsableHits:
    """The hits of `beatmap` in an audio of so many seconds that a network can learn from."""
    found = UsableHits()
    last = dict.fromkeys(COMPONENTS, -SAME_MS - 1)
    meant: dict[str, str | None] = {}
    for hit in beatmap.hitObjects:
        if hit.component not in meant:
            meant[hit.component] = component_named(hit.component)
        component = meant[hit.component]
        if component is None:
            found.unknown[hit.component] += 1
        elif hit.time >= seconds * 1000:
            found.beyond += 1
        elif hit.time - last[component] <= SAME_MS:
            found.doubled += 1
        else:
            last[component] = hit.time
            found.hits.append((hit.time, component, hit.velocity))
    return found


def _hits(count: int) -> str:
    return "1 hit" if count == 1 else f"{count} hits"
