"""Songs and sample packs into train, validation and test: a song is never divided, and nothing placed ever moves."""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING

import pandas as pd

from ml.data.components import COMPONENTS
from ml.data.given import leaking_rows
from ml.data.leakage import leaks as leaks_of_files
from ml.data.split import COLUMNS, PARTS, SplitConfig, TooFewRecordings, accepted, place_recordings
from ml.studies.drums.finding import part_of
from ml.studies.drums.hits import is_single, place_of, places_of

if TYPE_CHECKING:
    from ml.studies.drums.config import DrumsSettings

log = logging.getLogger(__name__)

SONG = "a whole song"
"""Stands as a class for every song while places are found, so that whole songs can be validated and tested on."""


def divide(files: pd.DataFrame, settings: DrumsSettings, frozen: pd.DataFrame | None) -> pd.DataFrame:
    """The part of every usable hit: as the folders say, else by song and sample pack.

    A component that is in one song alone cannot be both learned and judged by: its hits are left out. One that is in
    two is trained and validated on, and not tested.
    """
    kept = accepted(files)
    lone = alone(kept)
    if lone:
        log.warning("left out of the split, because each is in one song or sample pack alone: %s", ", ".join(lone))
        kept = kept[~kept["label"].isin(lone)].reset_index(drop=True)
    _require_enough(kept, lone)
    if has_given_parts(kept):
        split = _as_given(kept, settings, frozen)
    else:
        shares = {part: getattr(settings.split, part) for part in PARTS}
        split = _placed(kept, shares, settings.split, frozen)
    return _judged_and_trained(split)


def alone(kept: pd.DataFrame) -> list[str]:
    """Components that are in no two songs or sample packs, in the order of the network's outputs."""
    counts = songs_per_component(kept)
    return [name for name in COMPONENTS if counts[name] == 1]


def songs_per_component(kept: pd.DataFrame) -> Counter[str]:
    """In how many songs and sample packs each component is; what shares its sound counts as one."""
    rows = kept.assign(recording=_recordings(kept))
    return Counter(rows.groupby("label")["recording"].nunique().to_dict())


def has_given_parts(files: pd.DataFrame) -> bool:
    """Whether all usable sounds lie in folders train, val and test, and are divided so."""
    used = files[files["state"] != "rejected"]
    return len(used) > 0 and all(part_of(path) is not None for path in used["path"])


def leaks(files: pd.DataFrame, split: pd.DataFrame) -> pd.DataFrame:
    """Songs, packs and sounds that lie in more than one part, by the names of the sounds: their hits go with them."""
    found = leaks_of_files(files, split)
    return found.assign(paths=[sorted({place_of(path).audio for path in paths}) for paths in found["paths"]])


def _recordings(kept: pd.DataFrame) -> pd.Series:
    """A number per row: rows that share their group, content or sound have the same."""
    columns = ["group", "content_hash", "sound_hash"]
    which = kept.groupby(columns, sort=False).ngroup()
    parent = list(range(int(which.max()) + 1)) if len(kept) else []

    def root(one: int) -> int:
        while parent[one] != one:
            parent[one] = parent[parent[one]]
            one = parent[one]
        return one

    known = kept[columns].drop_duplicates()
    for column in columns:
        first: dict[str, int] = {}
        for place, value in enumerate(known[column]):
            if value:
                parent[root(place)] = root(first.setdefault(value, place))
    roots = [root(place) for place in range(len(parent))]
    return which.map(dict(enumerate(roots)))


def _placed(
    kept: pd.DataFrame, shares: dict[str, float], said: SplitConfig, frozen: pd.DataFrame | None
) -> pd.DataFrame:
    """The part of every hit; among `shares`, so that each has whole songs where there are enough."""
    songs = _songs(kept).assign(label=SONG)
    both = pd.concat([kept, songs], ignore_index=True) if len(songs) >= len(shares) else kept
    placed = place_recordings(both, shares, said.seed, frozen, every_part=False)
    return placed.iloc[: len(kept)].reset_index(drop=True)


def _songs(kept: pd.DataFrame) -> pd.DataFrame:
    """One row for every whole song."""
    counts = kept["content_hash"].value_counts()
    rows = kept.drop_duplicates("content_hash")
    rows = rows.assign(**places_of(rows["path"]), hits=rows["content_hash"].map(counts))
    rows = rows[rows["seconds"].notna()]
    single = [row.hits == 1 and is_single(row.audio, row.label) for row in rows.itertuples()]
    return rows.loc[[not one for one in single], kept.columns]


def _as_given(kept: pd.DataFrame, settings: DrumsSettings, frozen: pd.DataFrame | None) -> pd.DataFrame:
    """The part whose folder each hit lies in; without a val folder, validation is cut from train."""
    given = kept.assign(part=kept["path"].map(part_of))
    leaking = leaking_rows(given)
    if len(leaking):
        said = "%d hits lie in two parts of the source (the same song, sample pack or sound)"
        if settings.leave_out_leaks:
            log.warning(f"{said}: left out where they would be trained on or chosen by", len(leaking))
            given = given.drop(leaking.index)
        else:
            log.warning(f"{said}: results would look better than they are", len(leaking))
    split = given[COLUMNS]
    if not (split["part"] == "validation").any():
        together = settings.split.train + settings.split.validation
        shares = {part: getattr(settings.split, part) / together for part in PARTS[:2]}
        training = (given["part"] == "train").to_numpy()
        cut = _placed(given[training].reset_index(drop=True), shares, settings.split, frozen)
        split = pd.concat([cut, split[~training]], ignore_index=True)
    return split.sort_values("path", ignore_index=True)


def _judged_and_trained(split: pd.DataFrame) -> pd.DataFrame:
    """Without components that no part trains; a person is told which parts lack one."""
    have = split.groupby("label")["part"].agg(set).to_dict()
    untrained = [name for name in COMPONENTS if name in have and "train" not in have[name]]
    if untrained:
        log.warning("left out of the split, because no song of train has them: %s", ", ".join(untrained))
        split = split[~split["label"].isin(untrained)].reset_index(drop=True)
    for part in PARTS[1:]:
        without = [name for name in COMPONENTS if name in have and name not in untrained and part not in have[name]]
        if without and (split["part"] == part).any():
            log.warning("%s has no hit of: %s", part, ", ".join(without))
    for part in PARTS[:2]:
        if not (split["part"] == part).any():
            raise TooFewRecordings(
                f"no song or sample pack is left for {part}; what was placed earlier is never moved: add more of them"
            )
    return split


def _require_enough(kept: pd.DataFrame, lone: list[str]) -> None:
    counts = songs_per_component(kept) if len(kept) else Counter[str]()
    if len(counts) >= 2:
        return
    have = [f"{name} in {counts[name]}" for name in COMPONENTS if counts[name]] + [f"{name} in 1" for name in lone]
    raise TooFewRecordings(
        "at least two components are needed, each in two songs or sample packs: one to train on and one to validate "
        f"on; there are: {', '.join(have) or 'none'}. Add songs with their beatmaps or packs of one-shots; where one "
        "folder holds several packs, `inventory: {group_pattern: …}` tells them apart by their names"
    )
