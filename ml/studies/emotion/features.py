"""The emotion study's features: every picture and every clip prepared once, as small square pictures in one map."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ml.data.audio import read_mono
from ml.data.children import map_in_children
from ml.data.pictures import read_picture
from ml.data.windows import WindowConfig, Windows, cut_windows
from ml.features.pictures import PictureStore, build_pictures, open_pictures
from ml.studies.counting import window_counts
from ml.studies.emotion.config import EmotionSettings
from ml.studies.study import Progress
from ml.training.machine import processors


def build(
    folder: Path,
    source: Path,
    files: pd.DataFrame,
    split: pd.DataFrame,
    settings: EmotionSettings,
    reuse: Sequence[Path],
    progress: Progress | None,
) -> dict[str, Any]:
    """Write the pictures of all files of `split`, each content once."""
    known = files[["path", "bytes", "modified_ns", "seconds"]]
    once = split.drop_duplicates("content_hash").merge(known, on="path")
    return build_pictures(
        folder,
        [(row.content_hash, source / row.path, row.seconds) for row in once.itertuples()],
        settings.features,
        read_picture=read_picture,
        read_sound=read_mono,
        run=map_in_children,
        workers=processors(),
        reuse=reuse,
        stamps={row.content_hash: (row.bytes, row.modified_ns) for row in once.itertuples()},
        progress=progress,
    )


def windows_of(store: PictureStore, split: pd.DataFrame, classes: Sequence[str]) -> Windows:
    """One window per prepared picture: a picture has one, a long clip several."""
    seconds = store.config.clip.seconds
    return cut_windows(split, store.rows, WindowConfig(seconds=seconds), 1 / seconds, classes)


def counts(folder: Path, split: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """Prepared pictures per part and class."""
    return window_counts(windows_of(open_pictures(folder), split, classes), classes)
