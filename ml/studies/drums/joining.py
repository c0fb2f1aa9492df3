"""Beatmaps and the sounds they name become songs: each sound once, with the hits of all of its maps."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ml.data.beatmap_rules import SAME_MS, mismatches
from ml.data.verdict import FileFacts
from ml.studies.drums.finding import Map, part_of

FORCED = "used although "
"""Begins, in the problem of a hit, what is wrong with the beatmap of its song."""


@dataclass(frozen=True)
class Played:
    """One sound and all hits in it that its beatmaps know."""

    audio: str
    facts: FileFacts
    milliseconds: np.ndarray
    """int64, ascending."""
    components: np.ndarray
    """int64: indices into COMPONENTS."""
    forced: str = ""
    """Why its maps are not made for it; they are used all the same."""


@dataclass
class Joined:
    """Songs, what cannot be one, and what was left out of them."""

    songs: list[Played] = field(default_factory=list)
    unusable: list[tuple[Map, str]] = field(default_factory=list)
    """Beatmaps without a single hit that can be used, and why."""
    copies: list[tuple[str, str]] = field(default_factory=list)
    """A sound that is the same as another, whose song has its hits too; and that other."""
    beyond: dict[str, int] = field(default_factory=dict)
    """Beatmap to its hits after the end of the sound."""
    unknown: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    """Component that is none of the twelve, to the hits of it in each beatmap."""
    doubled: dict[str, int] = field(default_factory=dict)
    """Beatmap to its hits that were there already."""
    shared: int = 0
    """Songs that have more than one beatmap."""


def join(maps: Sequence[Map], facts: Mapping[str, FileFacts], *, force: bool) -> Joined:
    """The songs of `maps`, whose sounds have these `facts`; a map whose sound was rejected is passed over.

    With `force` a map is used although its sound is not the one that it says.
    """
    joined = Joined()
    usable: dict[tuple[str | None, str], list[tuple[Map, str]]] = defaultdict(list)
    for one in maps:
        sound = facts[one.audio]
        if sound.state == "rejected":
            continue
        wrong = "; ".join(mismatches(one.head, sound.content_hash, sound.seconds))
        if wrong and not force:
            remedy = "correct it, or set `inventory: {force: true}` to use it all the same"
            joined.unusable.append((one, f"{one.audio!r} is not what this map was made for: {wrong}; {remedy}"))
            continue
        _count(joined, one, sound)
        if not _within(one, sound).any():
            joined.unusable.append((one, _why_none(one, sound)))
            continue
        # What somebody has put into two parts stays there, for the check for leaks to find.
        usable[part_of(one.audio), sound.sound_hash].append((one, wrong))
    for together in usable.values():
        joined.songs.append(_played(together, facts))
        joined.shared += len(together) > 1
        others = sorted({one.audio for one, _ in together})[1:]
        joined.copies += [(other, joined.songs[-1].audio) for other in others]
    joined.songs.sort(key=lambda song: song.audio)
    return joined


def _within(one: Map, sound: FileFacts) -> np.ndarray:
    """Which hits begin before the sound ends."""
    within: np.ndarray = one.milliseconds < sound.seconds * 1000
    return within


def _count(joined: Joined, one: Map, sound: FileFacts) -> None:
    beyond = len(one.milliseconds) - int(_within(one, sound).sum())
    if beyond:
        joined.beyond[one.entry.path] = beyond
    if one.doubled:
        joined.doubled[one.entry.path] = one.doubled
    for name, count in one.unknown.items():
        joined.unknown[name][one.entry.path] += count


def _why_none(one: Map, sound: FileFacts) -> str:
    if len(one.milliseconds):
        return f"all of its {len(one.milliseconds)} hits lie after the end of {one.audio!r} ({sound.seconds:.2f} s)"
    if one.unknown:
        names = ", ".join(sorted(one.unknown)[:5])
        return f"none of its {one.unknown.total()} hits has a component that is learned (they have {names})"
    return "it has no hits"


def _played(together: Sequence[tuple[Map, str]], facts: Mapping[str, FileFacts]) -> Played:
    """One sound with the hits of several maps: what two of them have is one hit."""
    audio = min(one.audio for one, _ in together)
    sound = facts[audio]
    within = [_within(one, sound) for one, _ in together]
    times = np.concatenate([one.milliseconds[seen] for (one, _), seen in zip(together, within, strict=True)])
    components = np.concatenate([one.components[seen] for (one, _), seen in zip(together, within, strict=True)])
    if len(together) > 1:
        order = np.lexsort((times, components))
        times, components = times[order], components[order]
        new = np.ones(len(times), dtype=bool)
        new[1:] = (components[1:] != components[:-1]) | (times[1:] - times[:-1] > SAME_MS)
        times, components = times[new], components[new]
    order = np.lexsort((components, times))
    wrong = sorted({sentence for _, sentence in together if sentence})
    return Played(audio, sound, times[order], components[order], "; ".join(wrong))
