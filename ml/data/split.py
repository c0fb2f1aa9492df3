"""Recordings into train, validation and test: by group, class by class, and never moved again.

What was cut from one recording stays on one side: a group, and everything that shares its bytes or its sound with it,
is assigned as a whole.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pandas as pd
from pydantic import Field, model_validator

from ml.config import Config
from ml.data.leakage import data_fingerprint, leaks

__all__ = [
    "COLUMNS",
    "PARTS",
    "SplitConfig",
    "TooFewRecordings",
    "accepted",
    "data_fingerprint",
    "leaks",
    "place_recordings",
    "split_recordings",
]

PARTS = ("train", "validation", "test")
COLUMNS = ["path", "label", "group", "content_hash", "part"]


class SplitConfig(Config):
    """How many of the files of each class go into which part."""

    train: float = Field(default=0.8, gt=0, lt=1)
    """Share that is trained on."""
    validation: float = Field(default=0.1, gt=0, lt=1)
    """Share on which epochs and trials are compared."""
    test: float = Field(default=0.1, gt=0, lt=1)
    """Share that is opened once per trial."""
    seed: int = 42
    """Another seed, another split."""

    @model_validator(mode="after")
    def _is_whole(self) -> SplitConfig:
        if abs(self.train + self.validation + self.test - 1) > 1e-9:
            raise ValueError(
                f"train, validation and test add up to {self.train + self.validation + self.test:g}, not 1"
            )
        return self


class TooFewRecordings(ValueError):
    """A class that cannot be trained, validated and tested on."""


@dataclass(frozen=True)
class _Recording:
    """Files that must stay together: the files of one group, and of every group that shares a file with it."""

    rows: tuple[int, ...]
    key: str
    classes: Counter[str]


def split_recordings(files: pd.DataFrame, config: SplitConfig, frozen: pd.DataFrame | None = None) -> pd.DataFrame:
    """The accepted `files` of an inventory with their part: path, label, group, content_hash, part.

    `frozen` is an earlier result: none of its groups moves, and new recordings go where their class lacks most. A
    pure function of its arguments, whatever the order of the rows.
    """
    return place_recordings(accepted(files), {part: getattr(config, part) for part in PARTS}, config.seed, frozen)


def accepted(files: pd.DataFrame) -> pd.DataFrame:
    """The files of an inventory that can be used, in the order of their paths."""
    return files[files["state"] != "rejected"].sort_values("path").reset_index(drop=True)


def place_recordings(
    kept: pd.DataFrame,
    shares: Mapping[str, float],
    seed: int,
    frozen: pd.DataFrame | None,
    *,
    every_part: bool = True,
) -> pd.DataFrame:
    """Accepted files into the parts that have `shares`; what `frozen` placed in another part is placed anew.

    Without `every_part` a class may have too few recordings for all parts: train has them first, then validation.
    """
    parts = tuple(shares)
    recordings = _recordings(kept)
    if every_part:
        _require_enough(recordings, kept, parts)

    earlier = None if frozen is None else frozen[frozen["part"].isin(parts)]
    settled = {} if earlier is None else dict(zip(earlier["group"], earlier["part"], strict=True))
    heard = {} if earlier is None else dict(zip(earlier["content_hash"], earlier["part"], strict=True))
    part_of_row: dict[int, str] = {}
    fresh: list[_Recording] = []
    have: dict[str, Counter[str]] = defaultdict(Counter)
    labels, groups, hashes = (kept[name].tolist() for name in ("label", "group", "content_hash"))
    for recording in recordings:
        known = _settle(recording, groups, hashes, settled, heard)
        if known is None:
            fresh.append(recording)
            continue
        part_of_row |= known
        for row, part in known.items():
            have[labels[row]][part] += 1

    totals = Counter(labels)
    targets = {name: {part: count * share for part, share in shares.items()} for name, count in totals.items()}
    left = Counter(name for recording in fresh for name in recording.classes)
    for recording, name in _in_order(fresh, targets, seed):
        part = _part_for(targets[name], have[name], left[name])
        left.subtract(list(recording.classes))
        part_of_row |= dict.fromkeys(recording.rows, part)
        for label, count in recording.classes.items():
            have[label][part] += count

    if every_part:
        _require_every_part(have, parts)
    split = kept.assign(part=[part_of_row[row] for row in range(len(kept))])
    return split[COLUMNS]


def _recordings(kept: pd.DataFrame) -> list[_Recording]:
    """Files joined by group, by bytes and by sound, in the order of their names."""
    parent = list(range(len(kept)))

    def root(row: int) -> int:
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    for column in ("group", "content_hash", "sound_hash"):
        first: dict[str, int] = {}
        for row, value in enumerate(kept[column]):
            if value:
                parent[root(row)] = root(first.setdefault(value, row))
    members: dict[int, list[int]] = defaultdict(list)
    for row in range(len(kept)):
        members[root(row)].append(row)
    labels, groups = kept["label"].tolist(), kept["group"].tolist()
    return [
        _Recording(tuple(rows), min(groups[row] for row in rows), Counter(labels[row] for row in rows))
        for rows in members.values()
    ]


def _settle(
    recording: _Recording, groups: list[str], hashes: list[str], settled: dict[str, str], heard: dict[str, str]
) -> dict[int, str] | None:
    """Part of each file of a recording that was seen before; None for a new one.

    A new copy can tie two groups together that already lie in different parts. Neither moves: each file stays with its
    own group, and the check for leaks names the copy.
    """
    known = {row: settled.get(groups[row]) or heard.get(hashes[row]) for row in recording.rows}
    parts = [part for part in known.values() if part is not None]
    if not parts:
        return None
    return {row: part or parts[0] for row, part in known.items()}


def _in_order(
    fresh: list[_Recording], targets: dict[str, dict[str, float]], seed: int
) -> Iterable[tuple[_Recording, str]]:
    """Each recording once, with the class for which it is placed: the class with fewest recordings first.

    Within a class the order is random. Only recordings that would overfill a small part alone go first, to where
    there is room for them.
    """
    often = Counter(name for recording in fresh for name in recording.classes)
    done: set[str] = set()
    for name in sorted(often, key=lambda label: (often[label], label)):
        room = min(targets[name].values())

        def rank(recording: _Recording, name: str = name, room: float = room) -> tuple[int, str]:
            size = recording.classes[name]
            chance = hashlib.sha256(f"{seed},{recording.key}".encode()).hexdigest()
            return (-size if size > max(1.0, room) else 0, chance)

        for recording in sorted((one for one in fresh if name in one.classes and one.key not in done), key=rank):
            done.add(recording.key)
            yield recording, name


def _part_for(target: dict[str, float], have: Counter[str], left: int) -> str:
    """The part that lacks most files; with only as many recordings `left` as parts are empty, an empty one."""
    empty = [part for part in target if not have[part]]
    return max(empty if left <= len(empty) else target, key=lambda part: target[part] - have[part])


def _require_enough(recordings: list[_Recording], kept: pd.DataFrame, parts: tuple[str, ...]) -> None:
    often = Counter(name for recording in recordings for name in recording.classes)
    if not often:
        raise TooFewRecordings("there is no usable file to split")
    if min(often.values()) >= len(parts):
        return
    uses = [{"validation": "validate"}.get(part, part) for part in parts]
    files = Counter(kept["label"])
    counts = ", ".join(f"{name} {often[name]} ({files[name]} files)" for name in sorted(often))
    raise TooFewRecordings(
        f"every class needs at least {len(parts)} recordings, one each to {', '.join(uses[:-1])} and {uses[-1]} on; "
        f"there are: {counts}. Files of one group count as one recording: if they are several, set `group_pattern`"
    )


def _require_every_part(have: dict[str, Counter[str]], parts: tuple[str, ...]) -> None:
    lacking = [f"{name} has none in {part}" for name in sorted(have) for part in parts if not have[name][part]]
    if lacking:
        raise TooFewRecordings(
            f"every class needs a recording in each part: {', '.join(lacking)}. "
            "What was assigned earlier is never moved: add recordings of that class"
        )
