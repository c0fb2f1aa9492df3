"""Every hit of a source as a file of its own: a folder per part and component, and a table of what is in them.

`DIR/train/kick/NAME_1.234.wav` is exactly what a network sees of the hit. Songs and sample packs lie in one part each.
"""

from __future__ import annotations

import csv
import os
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ml.config import ConfigError
from ml.data.split import PARTS
from ml.studies.drums.cutting import begin_of, cut, write_wav
from ml.studies.drums.hits import places_of
from ml.studies.drums.material import BEGINS
from ml.studies.drums.pieces import COLUMNS, LABELS
from ml.studies.drums.songfolder import name_of

if TYPE_CHECKING:
    import pandas as pd

    from ml.studies.drums.config import DrumsSettings
    from ml.studies.study import Progress


@dataclass(frozen=True)
class Exported:
    """What was written, and what a person should know of it."""

    hits: int
    notes: list[str]


def export(
    source: Path,
    settings: DrumsSettings,
    out: Path,
    *,
    known: pd.DataFrame | None = None,
    progress: Progress | None = None,
) -> Exported:
    """Writes every usable hit of `source` to the folder `out`, which is new, empty or an earlier export.

    An earlier export is replaced as a whole at the end. `known` is an earlier inventory of the source.
    """
    from ml.studies.drums.dividing import divide
    from ml.studies.drums.sources import take

    _refuse(source, out)
    inventory = take(source, settings, known, progress)
    split = divide(inventory.files, settings, None)
    overlaps = inventory.files.drop_duplicates("path").set_index("path")["overlaps"]
    hits = split.assign(overlaps=split["path"].map(overlaps), **places_of(split["path"]))
    beside = out.resolve().with_name(f".nocturne-{os.getpid()}-{secrets.token_hex(4)}")
    try:
        beside.mkdir(parents=True)
        _write(beside, source, hits, settings, progress)
        _put(beside, out)
    except OSError as problem:
        raise ConfigError(f"{problem.filename or out}: {problem.strerror or problem}; nothing was exported") from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return Exported(len(hits), inventory.notes)


def _write(folder: Path, source: Path, hits: pd.DataFrame, settings: DrumsSettings, progress: Progress | None) -> None:
    rows: list[list[Any]] = []
    for part, label in sorted(set(zip(hits["part"], hits["label"], strict=True))):
        (folder / part / label).mkdir(parents=True)
    for number, (audio, own) in enumerate(hits.groupby("audio", sort=True), 1):
        rows += write_hits(folder, source / audio, own, settings)
        if progress is not None:
            progress(number / hits["audio"].nunique(), f"cut: {audio}")
    with (folder / LABELS).open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(COLUMNS)
        table.writerows(sorted(rows))


def write_hits(folder: Path, audio: Path, hits: pd.DataFrame, settings: DrumsSettings) -> list[list[Any]]:
    """The hits of one sound, which is decoded once (a one-shot twice, to find where it begins)."""
    rate, picture = settings.features.sample_rate, settings.trial.picture
    before, after = (round(ms * rate / 1000) for ms in (picture.before_ms, picture.after_ms))
    hits = hits.sort_values("seconds")
    begins = [
        begin_of(audio, rate, BEGINS) if np.isnan(seconds) else round(seconds * rate) for seconds in hits["seconds"]
    ]
    rows: list[list[Any]] = []
    pieces = cut(audio, rate, np.array(begins, np.int64) - before, before + after)
    for hit, piece in zip(hits.itertuples(), pieces, strict=True):
        whole = np.isnan(hit.seconds)
        name = f"{name_of(audio, hit.content_hash)}{'' if whole else f'_{hit.seconds:.3f}'}.wav"
        path = f"{hit.part}/{hit.label}/{name}"
        write_wav(folder / path, piece, rate)
        overlaps = hit.overlaps if isinstance(hit.overlaps, str) else ""
        seconds = "" if whole else f"{hit.seconds:.3f}"
        at = f"{before / rate:.3f}"
        rows.append([path, hit.label, hit.part, hit.group, seconds, at, overlaps, hit.audio])
    return rows


def _refuse(source: Path, out: Path) -> None:
    """What is not ours is not written over."""
    inner, outer = out.resolve(), source.resolve()
    if inner == outer or inner.is_relative_to(outer) or outer.is_relative_to(inner):
        raise ConfigError(f"{out}: lies in the source {source}, or around it; name another folder")
    if not out.exists():
        return
    if not out.is_dir():
        raise ConfigError(f"{out}: is a file; name a folder")
    there = {path.relative_to(out).as_posix() for path in out.rglob("*") if not path.is_dir()}
    if there - _exported(out):
        first = min(there - _exported(out))
        raise ConfigError(f"{out}: holds files that no export wrote, such as {first}; name a new or an empty folder")


def _exported(out: Path) -> set[str]:
    """The files of an earlier export, by its table."""
    try:
        with (out / LABELS).open(encoding="utf-8", newline="") as file:
            table = csv.reader(file)
            if tuple(next(table, ())) != COLUMNS:
                return set()
            return {LABELS, *(row[0] for row in table if row and row[0].split("/")[0] in PARTS)}
    except (OSError, ValueError, csv.Error):
        return set()


def _put(beside: Path, out: Path) -> None:
    """The new export in the place of what was there."""
    if out.exists():
        old = beside.with_name(f"{beside.name}-old")
        out.resolve().rename(old)
        beside.rename(out.resolve())
        shutil.rmtree(old, ignore_errors=True)
    else:
        beside.rename(out.resolve())
