"""What rules of thumb make of the same single hits that a network is judged by: what its training is worth.

Rules know how loud a hit is beside the others of its song or sample pack, and as the network they are told which other
components sound with it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ml.config import fingerprint
from ml.data.components import COMPONENTS
from ml.data.split import PARTS
from ml.features.hit_config import HitPictureConfig
from ml.features.waveforms import WaveformStore
from ml.inference.heuristics import Bands, bands_of, told_by_bands
from ml.metrics.classification import class_scores, confusion_counts, overall_scores
from ml.metrics.uncertainty import recording_bootstrap
from ml.studies.drums.judging import HEURISTICS, METRICS
from ml.studies.drums.material import Hits
from ml.studies.study import TrialJob


def judge_rules(job: TrialJob, store: WaveformStore, hits: Hits, picture: HitPictureConfig) -> pd.DataFrame:
    """`METRICS` of the hits of validation and test told by rules, named as the network's with `HEURISTICS` behind.

    All trials of a lab share it: `picture` says which hits are companions, and no weights have a part in it.
    """

    def write(_: Any) -> dict[str, Any]:
        rows: list[list[Any]] = []
        for part in ("validation", "test"):
            own = np.flatnonzero(hits.part == PARTS.index(part))
            if len(own):
                job.say(f"naming the {len(own):,} hits of {part} by heuristics, to compare with")
                rows += _rows(part, told_by_rules(store, hits, own), hits, own)
        return {"rows": rows}

    key = fingerprint("hits named by heuristics", job.origin, picture)
    job.evaluations.build(key, write)
    said = job.evaluations.note(key)
    assert said is not None
    found = pd.DataFrame(said["rows"], columns=METRICS)
    return found.assign(**{name: found[name].astype(float) for name in ("value", "low", "high")})


def told_by_rules(store: WaveformStore, hits: Hits, own: np.ndarray) -> np.ndarray:
    """The component of each of the hits `own`, an index into COMPONENTS; companions are not asked for."""
    found = np.zeros(len(own), dtype=np.int64)
    for song in np.unique(hits.song[own]):
        rows = np.flatnonzero(hits.song[own] == song)
        chances = told_by_bands(_bands(store, hits, own[rows]))
        found[rows] = np.where(hits.companions[own[rows]], -1.0, chances).argmax(axis=1)
    return found


def _bands(store: WaveformStore, hits: Hits, own: np.ndarray) -> Bands:
    """Of hits of one song or pack, recording by recording: nothing of a neighbour in the store is heard."""
    rate, count = store.config.sample_rate, 0
    parts: list[Bands] = []
    order = np.zeros(len(own), dtype=np.int64)
    for first in np.unique(hits.first[own]):
        rows = np.flatnonzero(hits.first[own] == first)
        last = int(hits.last[own[rows[0]]])
        onsets = (hits.start[own[rows]] - first) / rate
        parts.append(bands_of(store.samples[first:last], rate, onsets))
        order[rows] = count + np.arange(len(rows))
        count += len(rows)
    joined = [np.concatenate([getattr(part, name) for part in parts])[order] for name in ("early", "late", "before")]
    return Bands(*joined)


def _rows(part: str, said: np.ndarray, hits: Hits, own: np.ndarray) -> list[list[Any]]:
    label = hits.label[own]
    counts = confusion_counts(label, said, len(COMPONENTS))
    right = (label == said).astype(float)
    _, song = np.unique(hits.song[own], return_inverse=True)
    interval = recording_bootstrap(np.bincount(song, weights=right), np.bincount(song).astype(float))
    overall = overall_scores(counts)
    rows: list[list[Any]] = [
        [part, "window", f"accuracy{HEURISTICS}", None, overall["accuracy"], *interval],
        [part, "window", f"macro_f1{HEURISTICS}", None, overall["macro_f1"], None, None],
    ]
    for name, value in zip(COMPONENTS, class_scores(counts)["f1"], strict=True):
        if np.isfinite(value):
            rows.append([part, "window", f"f1{HEURISTICS}", name, float(value), None, None])
    return rows
