"""Windows over recordings, as rows of the frame store: nothing is copied, a window is where it begins.

All windows of all recordings are described by a few arrays; which of them one epoch trains on is drawn by a pure
function, so that nothing hidden connects one epoch with the next.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from pydantic import Field

from ml.config import Config
from ml.data.split import PARTS

LONGEST_SECONDS = 60.0
"""Of a window. Frame stores keep so many rows free behind the last recording, so that a window may begin anywhere."""


class WindowConfig(Config):
    """How recordings are cut into windows."""

    seconds: float = Field(default=2.97, gt=0, le=LONGEST_SECONDS)
    """Length of a window in seconds."""
    hop_seconds: float | None = Field(default=None, gt=0)
    """From one window's beginning to the next, in seconds; null = the window's length, so they do not overlap."""
    keep_partial: float = Field(default=0.5, ge=0, le=1)
    """The last window of a recording is kept when at least this share of it is filled."""


@dataclass(frozen=True)
class Windows:
    """Every window of every recording, one array entry each."""

    start: np.ndarray
    """int64: first row in the frame store."""
    valid: np.ndarray
    """int32: frames that are the recording's own, at most `frames`; what follows them belongs to others."""
    label: np.ndarray
    """int64: index of the class."""
    recording: np.ndarray
    """int64: row in `recordings`."""
    part: np.ndarray
    """int8: 0 train, 1 validation, 2 test."""
    start_seconds: np.ndarray
    """float32: where the window begins in its recording."""
    recordings: pd.DataFrame
    """path, group, label, part of each recording."""
    frames: int
    """Length of a window in frames."""

    def __len__(self) -> int:
        return len(self.start)


def cut_windows(
    recordings: pd.DataFrame,
    rows: Mapping[str, tuple[int, int]],
    config: WindowConfig,
    frames_per_second: float,
    classes: Sequence[str],
) -> Windows:
    """The windows of `recordings` (content_hash, label, group, path, part), in their order.

    `rows` says where the frames of each content hash lie: (first row, number of frames). A recording that is shorter
    than a window gives one window, partly filled.
    """
    frames = max(1, round(config.seconds * frames_per_second))
    hop = frames if config.hop_seconds is None else max(1, round(config.hop_seconds * frames_per_second))
    kept = recordings.reset_index(drop=True)
    unknown = sorted(set(kept["label"]) - set(classes))
    if unknown:
        raise ValueError(f"no such class: {', '.join(unknown)}; the classes are {', '.join(classes)}")
    absent = kept.loc[~kept["content_hash"].isin(rows), "path"]
    if len(absent):
        raise ValueError(f"{len(absent)} recordings have no frames, the first is {absent.iloc[0]!r}; build them first")

    places = np.array([rows[key] for key in kept["content_hash"]], dtype=np.int64).reshape(-1, 2)
    first, length = places[:, 0], places[:, 1]
    whole = np.where(length >= frames, 1 + (length - frames) // hop, 0)
    left = length - whole * hop
    partial = (left > 0) & ((whole == 0) | (left >= config.keep_partial * frames)) & (left < frames)
    count = whole + partial

    recording = np.repeat(np.arange(len(kept)), count)
    number = np.arange(len(recording)) - np.repeat(np.cumsum(count) - count, count)
    offset = number * hop
    label = np.array([list(classes).index(name) for name in kept["label"]], dtype=np.int64)
    part = np.array([PARTS.index(name) for name in kept["part"]], dtype=np.int8)
    return Windows(
        start=first[recording] + offset,
        valid=np.minimum(frames, length[recording] - offset).astype(np.int32),
        label=label[recording],
        recording=recording.astype(np.int64),
        part=part[recording],
        start_seconds=(offset / frames_per_second).astype(np.float32),
        recordings=kept[["path", "group", "label", "part"]],
        frames=frames,
    )


def class_weights(counts: np.ndarray, strength: float) -> np.ndarray:
    """Weight of one window of each class, `(N / (C * n_c)) ** strength` with n_c windows in class c.

    0 leaves the natural distribution, 1 draws all classes equally often.
    """
    counts = np.asarray(counts, dtype=np.float64)
    if (counts <= 0).any():
        raise ValueError(f"class {int(np.argmin(counts))} has no windows to draw from; counts per class: {counts}")
    return (counts.sum() / (len(counts) * counts)) ** strength


def draw(weights_per_window: np.ndarray, seed: int, epoch: int, size: int) -> np.ndarray:
    """`size` window indices (int64), drawn with replacement, each with the probability its weight gives it.

    A pure function of its arguments: raw Philox numbers keyed by (seed, epoch), the same on every machine and with
    every version of numpy.
    """
    summed = np.cumsum(np.asarray(weights_per_window, dtype=np.float64))
    if not len(summed) or not np.isfinite(summed[-1]) or summed[-1] <= 0:
        raise ValueError("there is no window to draw: the weights are empty, zero or not finite")
    random = _raw(f"{seed},{epoch}", size) >> np.uint64(11)
    place = random.astype(np.float64) * 2.0**-53 * summed[-1]
    return np.minimum(np.searchsorted(summed, place, side="right"), len(summed) - 1).astype(np.int64)


def shuffled(size: int, seed: int, epoch: int) -> np.ndarray:
    """The numbers from 0 to `size` - 1 (int64) in random order, each once; a pure function like `draw`."""
    return np.argsort(_raw(f"shuffled,{seed},{epoch}", size), kind="stable").astype(np.int64)


def _raw(name: str, size: int) -> np.ndarray:
    """`size` raw Philox numbers (uint64) that belong to `name`."""
    return np.random.Philox(key=int.from_bytes(hashlib.sha256(name.encode()).digest()[:16], "little")).random_raw(size)
