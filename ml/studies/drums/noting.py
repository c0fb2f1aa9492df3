"""What a person should know about a source of drums, in sentences: what was left out, how often, and where first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from ml.data.components import COMPONENTS
from ml.data.inventory import SourceError
from ml.data.split import accepted
from ml.studies.drums.dividing import songs_per_component
from ml.studies.drums.finding import Found
from ml.studies.drums.joining import Joined
from ml.studies.words import counted

SHOWN = 5
"""Names of which there may be many: so many are told, the others are counted."""


def notes_on(files: pd.DataFrame, found: Found, joined: Joined) -> list[str]:
    """Sentences on the hits `files` of a source in which `found` lay, and of which songs were `joined`."""
    notes = list(found.notes)
    unused = found.unused()
    if unused:
        notes.append(
            f"{counted(len(unused), 'sound')} not used, such as {unused[0]!r}: no beatmap names it, and no folder "
            "around it is named as a component"
        )
    notes += [
        f"{name}: {counted(maps.total(), 'hit')} in {counted(len(maps), 'beatmap')}, such as {_most(maps)!r}, left "
        "out: not one of the components that are learned"
        for name, maps in _first(joined.unknown)
    ]
    if len(joined.unknown) > SHOWN:
        notes.append(f"{len(joined.unknown) - SHOWN} further names of components that are not learned are left out")
    notes += _left_out(joined.beyond, "after the end of the sound")
    notes += _left_out(joined.doubled, "that are there already")
    mended = [one for one in found.maps if one.mended]
    if mended:
        first = mended[0]
        notes.append(f"{counted(len(mended), 'beatmap')} mended, such as {first.entry.path!r}: {first.mended[0]}")
    if joined.shared:
        notes.append(f"{counted(joined.shared, 'song')} with more than one beatmap: their hits are joined")
    forced = [song for song in joined.songs if song.forced]
    if forced:
        first_song = forced[0]
        notes.append(
            f"{counted(len(forced), 'song')} used although their beatmaps are made for another sound, such as "
            f"{first_song.audio!r}: {first_song.forced}"
        )
    return notes + _on_components(files)


def require_usable(source: Path, files: pd.DataFrame, joined: Joined, share: float, notes: list[str]) -> None:
    """Raise `SourceError` where there is nothing to learn from, or where more than `share` of it is unusable."""
    copies = {path for path, _ in joined.copies}
    rejected = files[(files["state"] == "rejected") & ~files["path"].isin(copies)]
    used = files.loc[files["state"] != "rejected", "content_hash"].nunique()
    first = "; ".join(f"{row.path!r}: {row.problem}" for row in rejected.head(3).itertuples())
    if used + len(rejected) == 0:
        raise SourceError(
            f"{source}: no drums found; expected beatmaps (.bsm, .bs) beside their songs, or one-shots in folders "
            f"named as components ({', '.join(COMPONENTS)}), with the folder of their sample pack around them"
            + (f". Found: {'; '.join(notes)}" if notes else "; the folder is empty")
        )
    if not used:
        raise SourceError(f"{source}: none of {len(rejected)} songs and one-shots can be used. The first: {first}")
    if len(rejected) > share * (used + len(rejected)):
        raise SourceError(
            f"{source}: {len(rejected)} of {used + len(rejected)} songs and one-shots cannot be used, more than the "
            f"share of {share:g} at which it stops on purpose (`max_rejected_share`). The first: {first}"
        )


def _on_components(files: pd.DataFrame) -> list[str]:
    """Which components are in too few songs to be divided."""
    kept = accepted(files)
    hits, songs = Counter(kept["label"]), songs_per_component(kept)
    lone = [f"{name} ({counted(hits[name], 'hit')})" for name in COMPONENTS if songs[name] == 1]
    few = [name for name in COMPONENTS if songs[name] == 2]
    notes = []
    if lone:
        notes.append(
            f"in one song or sample pack alone: {', '.join(lone)}: they cannot be divided and are left out; one more "
            "song or pack with them is enough to learn them"
        )
    if few:
        notes.append(
            f"in two songs or sample packs only: {', '.join(few)}: they are trained and validated on, and not tested"
        )
    return notes


def _left_out(counts: Mapping[str, int], what: str) -> list[str]:
    if not counts:
        return []
    maps = Counter(counts)
    return [
        f"{counted(maps.total(), 'hit')} {what} left out, in {counted(len(maps), 'beatmap')}, such as "
        f"{_most(maps)!r} ({maps[_most(maps)]})"
    ]


def _first(unknown: Mapping[str, Counter[str]]) -> list[tuple[str, Counter[str]]]:
    return sorted(unknown.items(), key=lambda item: (-item[1].total(), item[0]))[:SHOWN]


def _most(maps: Counter[str]) -> str:
    return min(maps, key=lambda path: (-maps[path], path))
