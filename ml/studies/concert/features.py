"""The concert study's features: every recording decoded once into one store of log-mel frames."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ml.data.audio import read_mono
from ml.data.children import map_in_children
from ml.data.windows import LONGEST_SECONDS, cut_windows
from ml.features.frames import build_frames, open_frames
from ml.studies.concert.config import ConcertSettings
from ml.studies.counting import window_counts
from ml.studies.study import Progress
from ml.training.machine import processors


def build(
    folder: Path,
    source: Path,
    files: pd.DataFrame,
    split: pd.DataFrame,
    settings: ConcertSettings,
    reuse: Sequence[Path],
    progress: Progress | None,
) -> dict[str, Any]:
    """Write the frame store of all recordings of `split`, each content once."""
    once = split.drop_duplicates("content_hash").merge(files[["path", "bytes", "modified_ns"]], on="path")
    return build_frames(
        folder,
        [(row.content_hash, source / row.path) for row in once.itertuples()],
        settings.features,
        decode=read_mono,
        run=map_in_children,
        workers=processors(),
        reuse=reuse,
        stamps={row.content_hash: (row.bytes, row.modified_ns) for row in once.itertuples()},
        progress=progress,
        min_tail_rows=math.ceil(LONGEST_SECONDS * settings.features.frames_per_second),
    )


def counts(folder: Path, split: pd.DataFrame, settings: ConcertSettings, classes: list[str]) -> pd.DataFrame:
    """Windows per part and class, as the baseline cuts them."""
    rows = open_frames(folder).rows
    windows = cut_windows(split, rows, settings.trial.window, settings.features.frames_per_second, classes)
    return window_counts(windows, classes)
