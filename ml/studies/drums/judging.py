"""How well a network does what it is for: whole songs of validation and test transcribed and compared with their maps.

The songs are heard as `nocturne transcribe` hears them. From which probability on a component is heard is chosen on the
songs of validation, for each component alone; test is opened afterwards. Trials that end with the same weights share
what was heard, and all trials of a lab share what heuristics make of the same songs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ml.config import fingerprint
from ml.data.components import COMPONENTS
from ml.inference.transcriber import THRESHOLD, Heard, Transcriber, chosen, times_of
from ml.metrics.events import COUNTS, OVERALL, WINDOW_SECONDS, event_scores, matched_events, pooled
from ml.studies.drums.events import EVENT_F1
from ml.studies.drums.material import Song
from ml.studies.study import TrialJob
from ml.studies.words import counted

VALIDATION = "validation"
THRESHOLDS = np.linspace(0.05, 0.95, 19)
"""Probabilities that are tried."""
HEURISTICS = "_heuristics"
"""How the names of scores end that are not of the network but of the rules of thumb."""
COUNTED = ["part", "group", "path", "class", *COUNTS]
SCORES = ["part", "recording", "path", "metric", "value"]
METRICS = ["part", "level", "metric", "class", "value", "low", "high"]


@dataclass(frozen=True)
class SongScores:
    """What hearing the songs came to."""

    thresholds: np.ndarray
    """(12,): to be saved with the model."""
    scores: pd.DataFrame
    """`SCORES`: event F1 of each song, of all components together and of each."""
    metrics: pd.DataFrame
    """`METRICS`: songs of a part pooled, with the 95 % interval of F1 when songs are drawn again."""


def judge(
    job: TrialJob, weights: str, transcriber: Transcriber, songs: Mapping[str, Sequence[Song]], fallback: np.ndarray
) -> SongScores:
    """Hear `songs` (by part) with the network whose weights have the key `weights`.

    `fallback` (12,) are the thresholds of components that no song of validation holds.
    """
    ours = _shared(job, fingerprint("songs heard", weights), songs, transcriber, fallback)
    rules = _shared(job, fingerprint("songs heard by heuristics", job.origin), songs, _heuristics(transcriber), None)
    found = [_counts(said) for said in (ours, rules)]
    return SongScores(
        thresholds=np.array(ours["thresholds"]),
        scores=pd.concat([_scores(found[0], ""), _scores(found[1], HEURISTICS)], ignore_index=True),
        metrics=pd.concat([_metrics(found[0], ""), _metrics(found[1], HEURISTICS)], ignore_index=True),
    )


def calibrate(
    heard: Sequence[Heard], references: Sequence[Mapping[str, np.ndarray]], fallback: np.ndarray
) -> np.ndarray:
    """The threshold (12,) of each component with which most events of these songs are found (event F1).

    Where several are as good, to half an event, the one nearest to one half: a few songs say no more. A component that
    no reference holds keeps its `fallback`.
    """
    found = np.asarray(fallback, dtype=float).copy()
    for place, name in enumerate(COMPONENTS):
        wanted = [reference.get(name, np.zeros(0)) for reference in references]
        if events := sum(map(len, wanted)):
            own = [
                [song.onsets[chosen(song.onsets, song.probabilities[:, place], threshold)] for song in heard]
                for threshold in THRESHOLDS
            ]
            found[place] = _best([_f1(wanted, said) for said in own], events)
    return found


def calibrate_on_hits(probabilities: np.ndarray, sounding: np.ndarray) -> np.ndarray:
    """Thresholds (12,) by single hits: both (hits, 12), what the network says and which components sound."""
    found = np.full(len(COMPONENTS), THRESHOLD)
    for place in np.flatnonzero(np.asarray(sounding).any(axis=0)):
        truth, said = sounding[:, place].astype(bool), probabilities[:, place, None] >= THRESHOLDS
        right = (said & truth[:, None]).sum(axis=0)
        found[place] = _best(list(2 * right / (said.sum(axis=0) + truth.sum())), int(truth.sum()))
    return found


def _best(values: Sequence[float], events: int) -> float:
    best = THRESHOLDS[np.asarray(values) >= max(values) - 0.5 / events]
    return float(best[np.argmin(np.abs(best - THRESHOLD))])


def _f1(wanted: Sequence[np.ndarray], said: Sequence[np.ndarray]) -> float:
    matched = sum(matched_events(one, other, WINDOW_SECONDS) for one, other in zip(wanted, said, strict=True))
    return 2 * matched / (sum(map(len, wanted)) + sum(map(len, said)))


def _heuristics(like: Transcriber) -> Transcriber:
    """Rules of thumb hear at the same rate: the songs are there at that one."""
    return Transcriber(None, None, rate=like.rate)


def _shared(
    job: TrialJob,
    key: str,
    songs: Mapping[str, Sequence[Song]],
    transcriber: Transcriber,
    fallback: np.ndarray | None,
) -> dict[str, Any]:
    """Thresholds and counts of every song; without `fallback` nothing is calibrated."""

    def write(_: Any) -> dict[str, Any]:
        if any(songs.values()):
            job.say(_hearing(songs) + ("" if transcriber.network else " by heuristics, to compare with"))
        ready = transcriber
        rows: list[list[Any]] = []
        first = songs.get(VALIDATION, [])
        heard = [ready.hear(song.samples, song.rate) for song in first]
        if fallback is not None:
            ready = ready.with_thresholds(calibrate(heard, [song.reference for song in first], fallback))
        for song, own in zip(first, heard, strict=True):
            rows += _compared(VALIDATION, song, ready, own)
        for part in songs:
            if part != VALIDATION:
                for song in songs[part]:
                    rows += _compared(part, song, ready, ready.hear(song.samples, song.rate))
        return {"thresholds": list(ready.thresholds), "rows": rows}

    job.evaluations.build(key, write)
    said = job.evaluations.note(key)
    assert said is not None
    return said


def _compared(part: str, song: Song, transcriber: Transcriber, heard: Heard) -> list[list[Any]]:
    scores = event_scores(song.reference, times_of(transcriber.decide(heard)))
    return [
        [part, song.group, song.path, row["class"], *(int(row[name]) for name in COUNTS)]
        for _, row in scores.iterrows()
        if row["class"] is not OVERALL and row["reference"] + row["estimated"] > 0
    ]


def _counts(said: Mapping[str, Any]) -> pd.DataFrame:
    return pd.DataFrame(said["rows"], columns=COUNTED)


def _rated(rows: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Counts of several songs, each as a song of its own, with a row for all components of each."""
    return pooled([pd.concat([own, _total(own)], ignore_index=True) for own in rows])


def _total(own: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame([[OVERALL, *own[COUNTS].sum()]], columns=["class", *COUNTS])


def _scores(counted: pd.DataFrame, ending: str) -> pd.DataFrame:
    rows = []
    for (part, group, path), own in counted.groupby(["part", "group", "path"], sort=False):
        for name, value in _rated([own])[["class", "f1"]].itertuples(index=False, name=None):
            metric = EVENT_F1 if name is OVERALL else f"{EVENT_F1}_{name}"
            if not ending or name is OVERALL:
                rows.append((part, group, path, metric + ending, float(value)))
    return pd.DataFrame(rows, columns=SCORES)


def _metrics(counted: pd.DataFrame, ending: str) -> pd.DataFrame:
    found = [pd.DataFrame(columns=METRICS)]
    for part, own in counted.groupby("part", sort=False):
        # Songs that belong together are drawn together.
        groups = [songs.groupby("class", sort=False)[COUNTS].sum().reset_index() for _, songs in own.groupby("group")]
        rated = _rated(groups)
        for metric in ("f1", "precision", "recall"):
            rows = rated[["class", metric, "low", "high"]].set_axis(["class", "value", "low", "high"], axis=1)
            if metric != "f1":
                rows = rows.assign(low=np.nan, high=np.nan)
            rows = rows.assign(part=part, level="recording", metric=f"event_{metric}{ending}")
            found.append(rows[rows["value"].notna()][METRICS])
    return pd.concat(found, ignore_index=True)


def _hearing(songs: Mapping[str, Sequence[Song]]) -> str:
    """What the person is told who waits meanwhile."""
    count = sum(map(len, songs.values()))
    parts = " and ".join(part for part in songs if songs[part])
    return f"transcribing {counted(count, 'song')} of {parts}"
