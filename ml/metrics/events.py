"""How well events in time were found: drum hits of each class, right where they lie within 50 ms of the reference.

A reference event and an estimated one are matched at most once, and as many as possible are (as mir_eval does).
Counts add up over songs, so that songs are pooled by their events and not by their scores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from ml.metrics.uncertainty import recording_bootstrap

WINDOW_SECONDS = 0.05
"""How far an estimated event may lie from that of the reference, at most."""

OVERALL = None
"""The class of the row that speaks of all classes together."""

COUNTS = ["matched", "reference", "estimated"]
COLUMNS = ["class", *COUNTS, "precision", "recall", "f1"]


def matched_events(reference: np.ndarray, estimated: np.ndarray, window: float = WINDOW_SECONDS) -> int:
    """How many of the times (seconds, in any order) can be paired with at most `window` between the two of a pair."""
    wanted, said = np.sort(reference).tolist(), np.sort(estimated).tolist()
    first = second = pairs = 0
    while first < len(wanted) and second < len(said):
        if said[second] + window < wanted[first]:
            second += 1
        elif said[second] - window > wanted[first]:
            first += 1
        else:  # the earliest two that fit: any other pair would leave less for those that come after
            first, second, pairs = first + 1, second + 1, pairs + 1
    return pairs


def event_scores(
    reference: Mapping[str, np.ndarray], estimated: Mapping[str, np.ndarray], window: float = WINDOW_SECONDS
) -> pd.DataFrame:
    """`COLUMNS`, one row per class of either and a last one (class None) for all; times are seconds.

    Precision without an estimate, recall without a reference and F1 without either are unknown (NaN), never 0.0.
    """
    none = np.zeros(0)
    rows: list[tuple[str | None, int, int, int]] = []
    for name in dict.fromkeys([*reference, *estimated]):
        wanted, said = reference.get(name, none), estimated.get(name, none)
        rows.append((name, matched_events(wanted, said, window), len(wanted), len(said)))
    rows.append((OVERALL, sum(row[1] for row in rows), sum(row[2] for row in rows), sum(row[3] for row in rows)))
    return _rated(rows)


def pooled(songs: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """`event_scores` of several songs as one, with `low` and `high`: 95 % interval of F1 when songs are drawn again."""
    if not songs:
        return pd.DataFrame(columns=[*COLUMNS, "low", "high"])
    joined = pd.concat(songs, ignore_index=True)
    own = [(name, joined[joined["class"] == name]) for name in joined["class"].dropna().unique()]
    own.append((OVERALL, joined[joined["class"].isna()]))
    rated = _rated([(name, *rows[COUNTS].sum()) for name, rows in own])
    rated[["low", "high"]] = [_interval(rows) for _, rows in own]
    return rated


def _rated(rows: Sequence[tuple[str | None, int, int, int]]) -> pd.DataFrame:
    counted = pd.DataFrame([row[1:] for row in rows], columns=COUNTS)
    matched, wanted, said = (counted[name].to_numpy(dtype=float) for name in COUNTS)
    with np.errstate(invalid="ignore"):
        rates = {"precision": matched / said, "recall": matched / wanted, "f1": 2 * matched / (wanted + said)}
    names = pd.Series([row[0] for row in rows], dtype=object)  # as text, the None of all classes would become a NaN
    return counted.assign(**{"class": names}, **rates)[COLUMNS]


def _interval(own: pd.DataFrame) -> tuple[float, float]:
    """F1 is a share of all events, those of the reference and the estimated; songs without any say nothing."""
    matched, events = 2.0 * own["matched"].to_numpy(), (own["reference"] + own["estimated"]).to_numpy(dtype=float)
    if not events.sum():
        return (np.nan, np.nan)
    return recording_bootstrap(matched[events > 0], events[events > 0])
