"""The denoise study's features: every recording decoded and resampled once, into one store of samples."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ml.data.audio import read_mono
from ml.data.children import map_in_children
from ml.data.split import PARTS
from ml.features.waveforms import build_waveforms, open_waveforms
from ml.studies.study import Progress
from ml.training.machine import processors

if TYPE_CHECKING:
    from ml.studies.denoise.config import DenoiseSettings


def build(
    folder: Path,
    source: Path,
    files: pd.DataFrame,
    split: pd.DataFrame,
    settings: DenoiseSettings,
    reuse: Sequence[Path],
    progress: Progress | None,
) -> dict[str, Any]:
    """Write the samples of all recordings of `split`, each content once."""
    once = split.drop_duplicates("content_hash").merge(files[["path", "bytes", "modified_ns"]], on="path")
    return build_waveforms(
        folder,
        [(row.content_hash, source / row.path) for row in once.itertuples()],
        settings.features,
        decode=read_mono,
        run=map_in_children,
        workers=processors(),
        reuse=reuse,
        stamps={row.content_hash: (row.bytes, row.modified_ns) for row in once.itertuples()},
        progress=progress,
    )


def counts(folder: Path, split: pd.DataFrame, settings: DenoiseSettings) -> pd.DataFrame:
    """Columns part, class, windows: how many windows the recordings of each class fill; a shorter one counts as one."""
    store = open_waveforms(folder)
    window = settings.trial.mix.samples(store.config.sample_rate)
    lengths = np.array([store.places[key][1] for key in split["content_hash"]], dtype=np.float64)
    windows = np.maximum(1, np.floor(lengths / window + 0.5)).astype(np.int64)
    found = split.assign(windows=windows).groupby(["part", "label"], as_index=False)["windows"].sum()
    in_order = found["part"].map(PARTS.index)
    found = found.rename(columns={"label": "class"}).loc[in_order.sort_values(kind="stable").index]
    return found.reset_index(drop=True)[["part", "class", "windows"]]
