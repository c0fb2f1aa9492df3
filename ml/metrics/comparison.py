"""Is one trial really better than another? Compared recording by recording, on the recordings that both have judged."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from ml.metrics.uncertainty import paired_bootstrap, paired_p_value


def compare_with_leader(predictions: Mapping[str, pd.DataFrame], leader: str, part: str) -> pd.DataFrame:
    """Each trial against the leader on `part`: accuracy over recordings, its difference, and how sure that is.

    `predictions` maps a trial to its recording-level rows, one per file (columns part, recording, actual, predicted).
    Files of one recording are one verdict: right where at least half of them are.
    """
    judged = {name: _right(frame, part) for name, frame in predictions.items()}
    rows = [_compare(name, right, leader, judged[leader], part) for name, right in judged.items() if name != leader]
    return pd.DataFrame(rows)


def _right(frame: pd.DataFrame, part: str) -> pd.Series:
    rows = frame[frame["part"] == part]
    return (rows["actual"] == rows["predicted"]).groupby(rows["recording"]).mean() >= 0.5


def _compare(name: str, right: pd.Series, leader: str, leaders: pd.Series, part: str) -> dict[str, object]:
    both = pd.concat([right.rename("own"), leaders.rename("leader")], axis=1, join="inner").astype(bool)
    own, other = both["own"].to_numpy(), both["leader"].to_numpy()
    better, worse = int((own & ~other).sum()), int((~own & other).sum())
    p_value = paired_p_value(better, worse)
    difference = own.astype(float) - other.astype(float)
    low, high = paired_bootstrap(difference)
    return {
        "trial": name,
        "against": leader,
        "part": part,
        "recordings": len(both),
        "better_on": better,
        "worse_on": worse,
        "difference": float(difference.mean()) if len(both) else np.nan,
        "low": low,
        "high": high,
        "p_value": p_value,
        "verdict": _verdict(better, worse, len(both), p_value),
    }


def _verdict(better: int, worse: int, recordings: int, p_value: float) -> str:
    if recordings == 0:
        return "cannot be compared: no recording was judged by both"
    if better == worse == 0:
        return f"the same answer on all {recordings} recordings"
    said = f"right on {better} and wrong on {worse} of {recordings} recordings where the leader is the other way round"
    if p_value >= 0.05:
        return f"cannot be told apart: {said} (p = {p_value:.2g})"
    return f"{'worse' if worse > better else 'better'} than the leader: {said} (p = {p_value:.2g})"
