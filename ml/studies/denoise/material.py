"""What each part has to offer: clean recordings, and noise to mix them with or the noisy partner of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ml.data.pairs import pair_name
from ml.features.waveforms import WaveformStore


@dataclass(frozen=True)
class Stretches:
    """Recordings in the store, one array entry each."""

    first: np.ndarray
    """int64: first sample."""
    length: np.ndarray
    """int64: samples."""
    level: np.ndarray
    """float64: root mean square of the whole recording."""

    def __len__(self) -> int:
        return len(self.first)


@dataclass(frozen=True)
class Material:
    """One part's recordings. What is drawn of them depends on their contents alone, never on their names."""

    recordings: pd.DataFrame
    """path and group of each clean recording."""
    clean: Stretches
    other: Stretches
    """Noise; or, where `paired`, beside each clean recording the noisy one: the lengths of the two are then equal."""
    paired: bool

    def __len__(self) -> int:
        return len(self.clean)

    def windows(self, samples: int) -> np.ndarray:
        """Windows of `samples` that each clean recording fills (float64), a short one counts as one."""
        return np.maximum(1.0, self.clean.length / samples)


def material_of(part: str, split: pd.DataFrame, store: WaveformStore) -> Material:
    """The recordings of `part`: pairs where it holds noisy files, clean and noise where it does not."""
    own = split[split["part"] == part].sort_values(["content_hash", "path"])
    clean, noisy = own[own["label"] == "clean"], own[own["label"] == "noisy"]
    if not len(noisy):
        noise = own[own["label"] == "noise"]
        if len(clean) and not len(noise):
            raise ValueError(f"{part} holds clean files and neither noise to mix them with nor noisy partners")
        return Material(_named(clean), _stretches(clean, store), _stretches(noise, store), paired=False)
    partners = dict(zip(noisy["path"].map(pair_name), noisy["content_hash"], strict=True))
    clean = clean[clean["path"].map(pair_name).isin(partners)]
    mine = _stretches(clean, store)
    other = _stretches(noisy, store, [partners[pair_name(path)] for path in clean["path"]])
    length = np.minimum(mine.length, other.length)
    return Material(
        _named(clean), Stretches(mine.first, length, mine.level), Stretches(other.first, length, other.level), True
    )


def _named(clean: pd.DataFrame) -> pd.DataFrame:
    return clean[["path", "group"]].reset_index(drop=True)


def _stretches(rows: pd.DataFrame, store: WaveformStore, hashes: Sequence[str] | None = None) -> Stretches:
    keys = list(rows["content_hash"]) if hashes is None else list(hashes)
    absent = [key for key in keys if key not in store.places]
    if absent:
        raise ValueError(f"{len(absent)} recordings have no samples in the store; build the features first")
    places = np.array([store.places[key] for key in keys], dtype=np.int64).reshape(-1, 2)
    return Stretches(places[:, 0], places[:, 1], np.array([store.levels[key] for key in keys], dtype=np.float64))
