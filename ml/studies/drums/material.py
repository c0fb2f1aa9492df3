"""What there is to learn from and be judged by: every hit as a place in the store, and whole songs with their hits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from ml.data.components import COMPONENTS
from ml.data.split import PARTS
from ml.features.hit_config import HitPictureConfig
from ml.features.waveforms import WaveformStore
from ml.studies.drums.cutting import begin_in
from ml.studies.drums.hits import is_single, places_of
from ml.studies.drums.overlapping import sounding

TOGETHER_MS = 20
"""Hits that lie no further apart are one moment: they sound at once."""
BEGINS = 0.1
"""A one-shot begins where it first reaches this share of its peak."""


@dataclass(frozen=True)
class Hits:
    """The hits of a split, one entry each, in its order."""

    start: np.ndarray
    """int64: the sample of the store at which it begins."""
    first: np.ndarray
    """int64: the first sample of its recording; nothing outside of it is seen."""
    last: np.ndarray
    """int64: the sample behind the last one of its recording."""
    label: np.ndarray
    """int64: its component, an index into COMPONENTS."""
    part: np.ndarray
    """int8: an index into PARTS."""
    song: np.ndarray
    """int64: the song or sample pack it belongs to, an index into `groups`."""
    together: np.ndarray
    """bool (n, 12): the components of its moment, its own among them."""
    companions: np.ndarray
    """bool (n, 12): other components that are hit within its window."""
    paths: list[str]
    """Its name in the split."""
    groups: list[str]
    """All songs and sample packs."""

    def __len__(self) -> int:
        return len(self.start)


@dataclass(frozen=True)
class Song:
    """A whole song and what is played in it."""

    path: str
    """Of its sound, inside the source."""
    group: str
    content_hash: str
    samples: np.ndarray
    """float16 of (samples,), mapped and not read."""
    rate: int
    reference: dict[str, np.ndarray]
    """Component to the times of its hits in seconds, ascending; only what is played."""


def hits_of(store: WaveformStore, split: pd.DataFrame, picture: HitPictureConfig) -> Hits:
    """Every hit of `split`, which must lie in `store` as a whole."""
    places = places_of(split["path"])
    first, count = _recordings(store, split["content_hash"])
    start = np.rint(places["seconds"].to_numpy() * store.config.sample_rate)
    for row in np.flatnonzero(np.isnan(start)):
        start[row] = begin_in(store.samples[first[row] : first[row] + count[row]], BEGINS)
    label = split["label"].map({name: place for place, name in enumerate(COMPONENTS)}).to_numpy(np.int64)
    recording = first  # no two recordings begin at the same sample
    milliseconds = places["seconds"].fillna(0.0).to_numpy() * 1000
    song, groups = pd.factorize(split["group"], sort=True)
    own = np.zeros((len(split), len(COMPONENTS)), dtype=bool)
    own[np.arange(len(split)), label] = True
    near = sounding(recording, milliseconds, label, picture.before_ms, picture.after_ms)
    return Hits(
        start=first + np.minimum(start.astype(np.int64), count - 1),
        first=first,
        last=first + count,
        label=label,
        part=split["part"].map({name: place for place, name in enumerate(PARTS)}).to_numpy(np.int8),
        song=song.astype(np.int64),
        together=own | sounding(recording, milliseconds, label, TOGETHER_MS, TOGETHER_MS),
        companions=near & ~own,
        paths=split["path"].tolist(),
        groups=list(groups),
    )


def songs_of(store: WaveformStore, split: pd.DataFrame, part: str) -> list[Song]:
    """The songs of `part` in the order of their paths; single hits that were cut out of songs are none."""
    rows = split[split["part"] == part].reset_index(drop=True)
    rows = rows.assign(**places_of(rows["path"]))
    rows = rows[rows["seconds"].notna()]
    songs = []
    for audio, hits in rows.groupby("audio", sort=True):
        if len(hits) == 1 and is_single(audio, hits["label"].iloc[0]):
            continue
        row = hits.iloc[0]
        first, count = store.places[row["content_hash"]]
        reference = {name: np.sort(own["seconds"].to_numpy()) for name, own in hits.groupby("label")}
        songs.append(
            Song(
                path=audio,
                group=row["group"],
                content_hash=row["content_hash"],
                samples=store.samples[first : first + count],
                rate=store.config.sample_rate,
                reference=reference,
            )
        )
    return songs


def _recordings(store: WaveformStore, keys: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """First sample and number of samples of each recording."""
    codes, unique = pd.factorize(keys)
    absent = [key for key in unique if key not in store.places]
    if absent:
        raise ValueError(f"{len(absent)} recordings have no samples in the store; build the features first")
    places = np.array([store.places[key] for key in unique], dtype=np.int64).reshape(-1, 2)[codes]
    return places[:, 0], places[:, 1]
