"""The drums study's features: every sound decoded once, whatever its hits; pictures are made as they are seen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from ml.data.audio import read_mono
from ml.data.children import map_in_children
from ml.data.components import COMPONENTS
from ml.data.split import PARTS
from ml.features.waveforms import build_waveforms
from ml.studies.drums.hits import places_of
from ml.studies.study import Progress
from ml.training.machine import processors

if TYPE_CHECKING:
    from ml.studies.drums.config import DrumsSettings


def build(
    folder: Path,
    source: Path,
    files: pd.DataFrame,
    split: pd.DataFrame,
    settings: DrumsSettings,
    reuse: Sequence[Path],
    progress: Progress | None,
) -> dict[str, Any]:
    """Write the samples of all sounds that hits of `split` are in, each content once."""
    once = split.drop_duplicates("content_hash").merge(files[["path", "bytes", "modified_ns"]], on="path")
    once = once.assign(audio=places_of(once["path"])["audio"])
    account = build_waveforms(
        folder,
        [(row.content_hash, source / row.audio) for row in once.itertuples()],
        settings.features,
        decode=read_mono,
        run=map_in_children,
        workers=processors(),
        reuse=reuse,
        stamps={row.content_hash: (row.bytes, row.modified_ns) for row in once.itertuples()},
        progress=progress,
    )
    return account | {"hits": len(split)}


def counts(folder: Path, split: pd.DataFrame, settings: DrumsSettings) -> pd.DataFrame:
    """Columns part, class, windows: how many hits of each component each part has."""
    found = split.groupby(["part", "label"], as_index=False).size()
    found = found.rename(columns={"label": "class", "size": "windows"})
    order = found.assign(part_place=found["part"].map(PARTS.index), place=found["class"].map(COMPONENTS.index))
    return order.sort_values(["part_place", "place"], ignore_index=True)[["part", "class", "windows"]]
