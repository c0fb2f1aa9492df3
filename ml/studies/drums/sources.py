"""Where hits come from: songs with their beatmaps, and one-shots in folders of components. One row per hit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ml.config import fingerprint
from ml.data.components import COMPONENTS
from ml.data.duplicates import mark_duplicates
from ml.data.grouping import compiled
from ml.data.inventory import COLUMNS, Inventory, InventoryConfig, facts_of
from ml.data.naming import PART_FOLDERS
from ml.data.verdict import FileFacts
from ml.studies.drums.finding import Found, look, pack_of, song_of
from ml.studies.drums.hits import hit_path, is_single, places_of
from ml.studies.drums.joining import FORCED, Joined, Played, join
from ml.studies.drums.noting import notes_on, require_usable
from ml.studies.drums.overlapping import in_words, sounding
from ml.studies.drums.pieces import Piece
from ml.studies.study import Progress
from ml.training.machine import processors

if TYPE_CHECKING:
    from ml.studies.drums.config import DrumsSettings

__all__ = ["data_fingerprint", "take"]

HIT_COLUMNS = COLUMNS | {"at_seconds": "float64", "overlaps": "str"}
"""What an inventory of hits has: at_seconds is NaN for a one-shot; overlaps is missing where a hit stands alone."""
ONE_SHOT_SECONDS = 30.0
"""What lasts longer is no single hit."""


def take(source: Path, settings: DrumsSettings, known: pd.DataFrame | None, progress: Progress | None) -> Inventory:
    """One row per hit of a song and per one-shot, and one per beatmap and sound that cannot be used, each with why.

    Beatmaps are read each time; a sound that `known` has unchanged is not opened again.
    """
    said = settings.inventory
    found = look(source)
    facts = facts_of(
        source,
        [found.sounds[path] for path in sorted({*(one.audio for one in found.maps), *found.one_shots})],
        found.folders(),
        InventoryConfig(min_seconds=said.min_seconds, max_seconds_per_file=said.max_seconds_per_file),
        _sounds_of(known),
        workers=processors(),
        progress=progress,
    )
    joined = join(found.maps, facts, force=said.force)
    groups = _Groups(found, joined, said.group_pattern)
    single = _one_shots(found, facts, groups)
    failed = _unusable(found, joined, facts)
    files = pd.concat([_hits(joined.songs, groups, settings), single, failed], ignore_index=True)
    files = files.astype(HIT_COLUMNS).sort_values("path", ignore_index=True)
    notes = notes_on(files, found, joined)
    require_usable(source, files, joined, said.max_rejected_share, notes)
    return Inventory(files, notes)


def data_fingerprint(files: pd.DataFrame, split: pd.DataFrame) -> str:
    """Contents, labels and parts, and where in a song each hit is."""
    known = files.drop_duplicates("path").set_index("path")
    hashes = split["path"].map(known["content_hash"])
    when = split["path"].map(known["at_seconds"]).map("{:.3f}".format)
    return fingerprint(sorted(hashes + " " + split["label"] + " " + split["part"] + " " + when))


def _sounds_of(known: pd.DataFrame | None) -> pd.DataFrame | None:
    """What an earlier inventory knew of the sounds themselves, one row each."""
    if known is None or known.empty:
        return None
    sounds = known[known["at_seconds"].isna() | ~known.duplicated(["group", "content_hash"])]
    sounds = sounds.assign(path=places_of(sounds["path"])["audio"]).drop_duplicates("path")
    forced = sounds["problem"].str.contains(FORCED, regex=False)
    own = sounds["problem"].str.split(FORCED, n=1, regex=False).str[0].str.removesuffix("; ")
    state = sounds["state"].mask(forced & (own == ""), "ok")
    return sounds.assign(problem=own, state=state)


class _Groups:
    """What each sound belongs to: a song or a sample pack."""

    def __init__(self, found: Found, joined: Joined, pattern: str | None) -> None:
        self._pattern = compiled(pattern)
        self._songs = Counter(PurePosixPath(song.audio).parent.as_posix() for song in joined.songs)
        self._parts = [path for path in found.folders() if path.casefold() in PART_FOLDERS]

    def of_song(self, song: Played) -> str:
        if len(song.components) == 1 and is_single(song.audio, COMPONENTS[song.components[0]]):
            return self.of_one_shot(song.audio)
        return self._named(song.audio) or song_of(song.audio, self._songs, self._parts)

    def of_one_shot(self, path: str) -> str:
        return self._named(path) or pack_of(path)

    def _named(self, path: str) -> str | None:
        match = self._pattern.search(path) if self._pattern is not None else None
        return match["group"] if match else None


def _hits(songs: Sequence[Played], groups: _Groups, settings: DrumsSettings) -> pd.DataFrame:
    """The rows of all hits of songs."""
    if not songs:
        return pd.DataFrame(columns=list(HIT_COLUMNS))
    times = np.concatenate([song.milliseconds for song in songs])
    components = np.concatenate([song.components for song in songs])
    counts = [len(song.milliseconds) for song in songs]
    which = np.repeat(np.arange(len(songs)), counts)
    window = settings.trial.picture
    near = sounding(which, times, components, window.before_ms, window.after_ms)
    near[np.arange(len(near)), components] = False
    of_song = pd.DataFrame([_row(song.facts, groups.of_song(song), forced=song.forced) for song in songs])
    names = [
        hit_path(song.audio, int(ms), COMPONENTS[component])
        for song in songs
        for ms, component in zip(song.milliseconds, song.components, strict=True)
    ]
    rows = of_song.iloc[which].reset_index(drop=True)
    return rows.assign(
        path=names, label=np.array(COMPONENTS)[components], at_seconds=times / 1000, overlaps=_in_words(near)
    )[list(HIT_COLUMNS)]


def _in_words(near: np.ndarray) -> np.ndarray:
    """What sounds in the window of each hit; None where nothing does. Few of the many combinations occur."""
    codes = near @ (1 << np.arange(near.shape[1]))
    _, first, each = np.unique(codes, return_index=True, return_inverse=True)
    words = np.array([in_words(near[row]) or None for row in first], dtype=object)
    return words[each]


def _row(facts: FileFacts, group: str, *, forced: str = "") -> dict[str, Any]:
    row = {"group": group, **vars(facts)}
    if forced:
        problem = f"{FORCED}{forced}"
        row |= {"state": "warned", "problem": f"{facts.problem}; {problem}" if facts.problem else problem}
    return row


def _one_shots(found: Found, facts: Mapping[str, FileFacts], groups: _Groups) -> pd.DataFrame:
    rows = []
    for path, component in found.one_shots.items():
        row = _row(facts[path], groups.of_one_shot(path)) | {"path": path, "label": component}
        if row["state"] != "rejected" and row["seconds"] > ONE_SHOT_SECONDS:
            problem = f"{row['seconds']:.0f} s long, too long for a single hit; put a beatmap beside a song"
            row |= {"state": "rejected", "problem": problem}
        elif path in found.pieces and found.pieces[path].begins < row["seconds"]:  # a table may say anything
            row |= _of_piece(path, component, found.pieces[path])
        rows.append(row)
    table = _table(rows)
    # Pieces that an export cut at one moment are the same sound, and rightly have several labels.
    cut = table["at_seconds"].notna()
    return pd.concat([mark_duplicates(table[~cut]), table[cut]], ignore_index=True)


def _of_piece(path: str, component: str, piece: Piece) -> dict[str, Any]:
    """What an exported piece has that no one-shot has: a song that it is of, and a known beginning."""
    at = round(piece.begins * 1000)
    name = hit_path(path, at, component)
    return {"path": name, "group": piece.song, "at_seconds": at / 1000, "overlaps": piece.overlaps or None}


def _unusable(found: Found, joined: Joined, facts: Mapping[str, FileFacts]) -> pd.DataFrame:
    """Beatmaps and sounds that give no hit, with the reason."""
    rows = []
    for entry, problem in found.refused:
        rows.append(_of_map(entry.path, entry.bytes, entry.modified_ns, problem))
    for one, problem in joined.unusable:
        rows.append(_of_map(one.entry.path, one.entry.bytes, one.entry.modified_ns, problem))
    maps_of: dict[str, list[str]] = {}
    for one in found.maps:
        maps_of.setdefault(one.audio, []).append(one.entry.path)
    for audio, maps in maps_of.items():
        if facts[audio].state == "rejected":
            rows.append(_row(facts[audio], maps[0]) | {"path": audio})
    for copy, audio in joined.copies:
        # So worded that the next inventory knows the sound again.
        said = [facts[copy].problem, f"the same recording as {audio!r}, where its hits are now"]
        row = _row(facts[copy], audio)
        rows.append(row | {"path": copy, "state": "rejected", "problem": "; ".join(filter(None, said))})
    return _table(rows)


def _of_map(path: str, size: int, modified_ns: int, problem: str) -> dict[str, Any]:
    facts = FileFacts(bytes=size, modified_ns=modified_ns, state="rejected", problem=problem)
    return _row(facts, path) | {"path": path}


def _table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=list(HIT_COLUMNS))
    return table.fillna({"label": ""})
