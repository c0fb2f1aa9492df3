"""The inventory of a source folder: one row per file with a verdict, and unchanged files are not read again."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd
from pydantic import Field, model_validator

from ml.config import Config
from ml.data.children import ChildFailure, map_in_children
from ml.data.duplicates import mark_duplicates, own_verdict
from ml.data.examination import AudioLimits
from ml.data.grouping import compiled, group_of
from ml.data.listing import Entry, Listing, list_source, meant_instead, require_present
from ml.data.media import Medium, called, endings, examine_file
from ml.data.naming import ClassNames
from ml.data.pictures import PICTURE_SUFFIXES, PictureLimits
from ml.data.source import SourceError, SourceVanished
from ml.data.verdict import FileFacts

__all__ = ["Inventory", "InventoryConfig", "SourceError", "SourceVanished", "facts_of", "take_inventory"]
COLUMNS = {
    "path": "str",
    "label": "str",
    "group": "str",
    "seconds": "float64",
    "rate": "int64",
    "channels": "int64",
    "format": "str",
    "bytes": "int64",
    "modified_ns": "int64",
    "content_hash": "str",
    "sound_hash": "str",
    "peak": "float64",
    "state": "str",
    "problem": "str",
}
"""Of `Inventory.files`: path is POSIX and relative to the source; hashes are sha256 in hexadecimal, or ""."""

SECONDS_PER_FILE, SECONDS_PER_MB = 30.0, 1.0
"""How long reading a file may take: a network drive may crawl at 1 MB/s; what takes longer hangs."""


class InventoryConfig(Config):
    """What is looked for in the source, and when to stop on purpose."""

    media: tuple[Medium, ...] = Field(default=("audio",), min_length=1)
    """What is read: "audio", "picture" or both; files of other kinds are counted and left alone."""
    classes: tuple[str, ...] = ()
    """Class folders that must be there; empty = every folder of the source is a class."""
    aliases: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Class to other names that its folder may have."""
    any_case: bool = False
    """Whether capital and small letters are the same in the names of class folders."""
    all_classes: bool = True
    """Whether every class must have a usable file; false: the study goes on with the others, at least two."""
    given_parts: bool = False
    """Whether the class folders may lie in train/, val/ (valid, validation, dev) and test/, and are then divided so."""
    group_pattern: str | None = None
    """Regular expression with (?P<group>…), searched in the path below the class folder, that names the recording a
    file was cut from (or who is in it); null = see part_numbers."""
    part_numbers: bool = True
    """Without a group_pattern: names that differ in a trailing part number are one recording; false: none are."""
    min_seconds: float = Field(default=0.05, ge=0)
    """Shorter files are rejected."""
    max_seconds_per_file: float = Field(default=12 * 3600.0, gt=0)
    """Longer files are rejected."""
    max_rejected_share: float = Field(default=0.5, ge=0, le=1)
    """With a larger share of rejected files something is wrong with the source: stop on purpose."""

    @property
    def names(self) -> ClassNames:
        """What the names of folders mean."""
        return ClassNames(self.classes, self.aliases, self.any_case)

    @model_validator(mode="after")
    def _names_are_clear(self) -> InventoryConfig:
        said = self.names.ambiguous()
        if said:
            raise ValueError("; ".join(said))
        return self


@dataclass(frozen=True)
class Inventory:
    """One row per file, sorted by path, and sentences about everything else that was found."""

    files: pd.DataFrame
    notes: list[str]


def take_inventory(
    source: Path,
    config: InventoryConfig,
    known: pd.DataFrame | None,
    *,
    workers: int,
    progress: Callable[[float, str], None] | None = None,
) -> Inventory:
    """Look at every file of `source` (CLASS/**/file) that is not in `known`, an earlier inventory, unchanged.

    With `given_parts` also of PART/CLASS/**/file. The label of a file is its class, whatever the folder is called.

    Raises `SourceError` when a person has to do something about the source, `SourceVanished` when it went away while
    it was read: an inventory is whole or it is not made.
    """
    pattern = compiled(config.group_pattern)
    listing = list_source(source, config.names, endings(config.media), given_parts=config.given_parts)
    if not listing.entries:
        require_present(source, listing.folders)
        raise SourceError(_nothing_found(source, config, listing.notes))

    facts = facts_of(source, listing.entries, listing.folders, config, known, workers=workers, progress=progress)
    files = mark_duplicates(_table(facts, listing, pattern, config))
    notes = listing.notes + _notes_on_groups(files, listing, pattern)
    _require_usable(source, files, config, notes)
    return Inventory(files, notes + _notes_on_classes(files, config))


def facts_of(
    source: Path,
    entries: Sequence[Entry],
    folders: Sequence[str],
    config: InventoryConfig,
    known: pd.DataFrame | None,
    *,
    workers: int,
    progress: Callable[[float, str], None] | None = None,
) -> dict[str, FileFacts]:
    """The verdict on each of the `entries` by its path; one that `known` has unchanged is not opened again.

    Raises `SourceVanished` when the source, or one of its `folders`, went away while it was read.
    """
    remembered = _remembered(known, config)
    facts: dict[str, FileFacts] = {}
    unread: list[Entry] = []
    for entry in entries:
        row = remembered.get((entry.path, entry.bytes, entry.modified_ns))
        if entry.refusal:
            facts[entry.path] = FileFacts(state="rejected", problem=entry.refusal)
        elif row is not None:
            facts[entry.path] = row
        else:
            unread.append(entry)
    try:
        facts |= _examined(source, unread, config, workers, progress)
    except SourceVanished as problem:
        require_present(source, folders)
        raise SourceVanished(problem.errno, f"{problem.strerror}; {source} went away while it was read") from problem
    require_present(source, folders)
    return facts


def _remembered(known: pd.DataFrame | None, config: InventoryConfig) -> dict[tuple[str, int, int], FileFacts]:
    """What earlier looks found, by (path, bytes, modified_ns). Only verdicts on the bytes themselves are kept."""
    if known is None or known.empty:
        return {}
    names = [name for name in COLUMNS if name not in ("path", "label", "group")]
    kept: dict[tuple[str, int, int], FileFacts] = {}
    for path, *values in known[["path", *names]].itertuples(index=False, name=None):
        row = dict(zip(names, values, strict=True))
        row["state"], row["problem"] = own_verdict(row["state"], row["problem"])
        is_picture = PurePosixPath(path).suffix.lower() in PICTURE_SUFFIXES
        within = is_picture or config.min_seconds <= row["seconds"] <= config.max_seconds_per_file
        if row["content_hash"] and (within or row["state"] == "rejected"):
            kept[path, row["bytes"], row["modified_ns"]] = FileFacts(**row)
    return kept


def _examined(
    source: Path,
    unread: list[Entry],
    config: InventoryConfig,
    workers: int,
    progress: Callable[[float, str], None] | None,
) -> dict[str, FileFacts]:
    """Verdicts on the files that have to be read, the largest first so that no long one is left for the end."""
    entries = {source / entry.path: entry for entry in sorted(unread, key=lambda entry: -entry.bytes)}
    limits = AudioLimits(min_seconds=config.min_seconds, max_seconds=config.max_seconds_per_file)
    facts: dict[str, FileFacts] = {}
    total, read, began = sum(entry.bytes for entry in unread), 0, time.monotonic()
    for path, found in map_in_children(
        partial(examine_file, sound=limits, picture=PictureLimits()),
        entries,
        workers=workers,
        seconds_allowed=lambda path: SECONDS_PER_FILE + SECONDS_PER_MB * entries[path].bytes / 1e6,
    ):
        entry = entries[path]
        if isinstance(found, ChildFailure):
            why = found.reason if found.kind != "raised" else f"cannot be read: {found.reason}"
            found = FileFacts(bytes=entry.bytes, modified_ns=entry.modified_ns, state="rejected", problem=why)
        facts[entry.path] = found
        read += entry.bytes
        if progress is not None:
            share = read / total if total else len(facts) / len(unread)
            left = (time.monotonic() - began) * (1 - share) / share if share else 0.0
            progress(share, f"{len(facts)} of {len(unread)} files, {_duration(left)} left")
    return facts


def _duration(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"


def _table(
    facts: dict[str, FileFacts], listing: Listing, pattern: re.Pattern[str] | None, config: InventoryConfig
) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    for entry in listing.entries:
        group = group_of(
            PurePosixPath(entry.path),
            pattern,
            part_numbers=config.part_numbers,
            given_parts=listing.given_parts,
        )
        rows.append({"path": entry.path, "label": entry.label, "group": group, **vars(facts[entry.path])})
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)


def _notes_on_groups(files: pd.DataFrame, listing: Listing, pattern: re.Pattern[str] | None) -> list[str]:
    """Groups that swallow a class, usually names whose number is the recording; a pattern that does not fit."""
    notes = []
    used = files[files["state"] != "rejected"]
    for label, rows in used.groupby("label"):
        group, count = Counter(rows["group"]).most_common(1)[0]
        if len(rows) >= 10 and count > len(rows) / 2:
            notes.append(
                f"{label}: {count} of {len(rows)} files count as one recording, {group!r}; "
                f"if they are several, {'set' if pattern is None else 'change'} `group_pattern`"
            )
    below = used["path"].str.split("/", n=2 if listing.given_parts else 1).str[-1]
    folders = below[below.str.contains("/")].str.split("/").str[0].unique()
    if pattern is None and len(folders) > 1 and used["group"].nunique() == len(used):
        notes.append(
            f"there are sub-folders ({', '.join(sorted(folders)[:3])}{', …' if len(folders) > 3 else ''}), and every "
            "file counts as a recording of its own. If a folder is one person or song, set `inventory: "
            "{group_pattern: '^(?P<group>[^/]+)/'}` in studies.yaml: then none is both learned from and judged by"
        )
    if pattern is not None:
        strangers = used.loc[[not ((found := pattern.search(name)) and found["group"]) for name in below], "path"]
        if len(strangers):
            notes.append(
                f"`group_pattern` finds nothing in {len(strangers)} of {len(used)} names, such as "
                f"{strangers.iloc[0]!r}: each of these files counts as a recording of its own"
            )
    return notes


def _notes_on_classes(files: pd.DataFrame, config: InventoryConfig) -> list[str]:
    without = _classes_without(files, config)
    return [f"{name}: no usable file; the study goes on without this class" for name in without]


def _classes_without(files: pd.DataFrame, config: InventoryConfig) -> list[str]:
    usable = set(files.loc[files["state"] != "rejected", "label"])
    return [name for name in config.classes if name not in usable]


def _require_usable(source: Path, files: pd.DataFrame, config: InventoryConfig, notes: list[str]) -> None:
    rejected = files[files["state"] == "rejected"]
    if len(rejected) > config.max_rejected_share * len(files):
        first = "; ".join(f"{row.path!r}: {row.problem}" for row in rejected.head(3).itertuples())
        raise SourceError(
            f"{source}: {len(rejected)} of {len(files)} files cannot be used, more than the share of "
            f"{config.max_rejected_share:g} at which it stops on purpose (`max_rejected_share`). The first: {first}"
        )
    without = _classes_without(files, config)
    if without and (config.all_classes or len(config.classes) - len(without) < 2):
        sentence = _without_files(source, without, files, config, notes)
        raise SourceError(sentence if config.all_classes else f"{sentence}. At least two classes must have some")


def _without_files(
    source: Path, without: list[str], files: pd.DataFrame, config: InventoryConfig, notes: list[str]
) -> str:
    counts = Counter(files["label"])
    said = ", ".join(
        f"{name} (all {counts[name]} rejected)" if counts[name] else f"{name} (no {called(config.media)} found)"
        for name in without
    )
    about = [note for note in notes if note.startswith(tuple(without)) or "meant as" in note]
    return f"{source}: no usable file for the class {said}" + (f". {'; '.join(about)}" if about else "")


def _nothing_found(source: Path, config: InventoryConfig, notes: list[str]) -> str:
    expected = ", ".join(config.classes) or "one folder per class"
    within = " (or these in train/, val/ and test/)" if config.given_parts else ""
    inner = [str(source / name) for name in meant_instead(source, config.names, given_parts=config.given_parts)]
    hint = f". Name {' or '.join(inner)} as the source?" if inner else ""
    return f"{source}: no {called(config.media)}s found; expected {expected}, with files in them{within}{hint}" + (
        f". Found: {'; '.join(notes)}" if notes else "; the folder is empty"
    )
