"""Is one trial really better than another? Compared recording by recording, on the recordings that both have judged."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from ml.metrics.uncertainty import mean_interval, paired_bootstrap, paired_p_value, sign_flip_p_value

CERTAIN = 0.05
"""Chance of so large a difference between equals, below which a verdict names a better one."""

IN_DECIBELS = ("si_sdr", "si_sdr_improvement", "snr")
"""Scores that a person is told in dB."""


def compare_with_leader(predictions: Mapping[str, pd.DataFrame], leader: str, part: str) -> pd.DataFrame:
    """Each trial against the leader on `part`: accuracy over recordings, its difference, and how sure that is.

    `predictions` maps a trial to its recording-level rows, one per file (columns part, recording, actual, predicted).
    Files of one recording are one verdict: right where at least half of them are. Where files of several classes belong
    together (the pictures of one person), each such group counts with the share of its files that are right.
    """
    own = predictions[leader][predictions[leader]["part"] == part]
    whole = not own[["recording", "actual"]].drop_duplicates()["recording"].duplicated().any()
    judged = {name: _right(frame, part, whole) for name, frame in predictions.items()}
    rows = [
        _compare(name, right, leader, judged[leader], part, whole) for name, right in judged.items() if name != leader
    ]
    return pd.DataFrame(rows)


def _right(frame: pd.DataFrame, part: str, whole: bool) -> pd.Series:
    """Recording to how right it is: 0 or 1 as a whole, else the share of its files."""
    rows = frame[frame["part"] == part]
    shares = (rows["actual"] == rows["predicted"]).groupby(rows["recording"]).mean().astype(float)
    return (shares >= 0.5).astype(float) if whole else shares


def _compare(name: str, right: pd.Series, leader: str, leaders: pd.Series, part: str, whole: bool) -> dict[str, object]:
    both = pd.concat([right.rename("own"), leaders.rename("leader")], axis=1, join="inner")
    difference = (both["own"] - both["leader"]).to_numpy()
    better, worse = int((difference > 0).sum()), int((difference < 0).sum())
    p_value = paired_p_value(better, worse) if whole else sign_flip_p_value(difference)
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
        "verdict": _verdict(better, worse, len(both), float(difference.sum()), p_value, whole),
    }


def _verdict(better: int, worse: int, recordings: int, gained: float, p_value: float, whole: bool) -> str:
    """`whole`: a recording is right or wrong, not right in part."""
    if recordings == 0:
        return "cannot be compared: no recording was judged by both"
    if better == worse == 0:
        units = f"all {recordings} {'recordings' if whole else 'groups'}"
        return f"the same answer on {units}" if whole else f"as many right in {units}"
    said = f"right on {better} and wrong on {worse} of {recordings} recordings where the leader is the other way round"
    if not whole:
        said = f"more files right in {better} and fewer in {worse} of {recordings} groups of files than the leader"
    if p_value >= CERTAIN:
        return f"cannot be told apart: {said} (p = {p_value:.2g})"
    return f"{'worse' if gained < 0 else 'better'} than the leader: {said} (p = {p_value:.2g})"


def compare_scores(
    scores: pd.DataFrame,
    leader: str,
    part: str,
    *,
    metric: str,
    higher_is_better: bool,
    models: Mapping[str, str | None],
) -> pd.DataFrame:
    """Each trial against the leader by a number that every file has: its mean over recordings, and how sure that is.

    `scores` has the columns trial, recording and value, one row per file; files of one recording are one value, their
    mean. `models` maps a trial to what stands for its weights: what has those of the leader is the same model, and
    trials with the same weights get the same answer. Differences below 0 are behind the leader.
    """
    table = scores.pivot_table(index="recording", columns="trial", values="value", aggfunc="mean")
    better = 1.0 if higher_is_better else -1.0
    rows, known = [], {}
    for trial in table.columns:
        if trial == leader:
            continue
        key = models.get(trial) or trial
        if key not in known:
            same = models.get(leader) is not None and models.get(trial) == models.get(leader)
            difference = better * (table[trial] - table[leader]).dropna().to_numpy()
            known[key] = _compare_scores(difference, metric, better, same)
        rows.append({"trial": trial, "against": leader, "part": part} | known[key])
    return pd.DataFrame(rows)


def _compare_scores(difference: np.ndarray, metric: str, better: float, same: bool) -> dict[str, object]:
    """`difference`: one per recording, above 0 where it is better than the leader."""
    ahead, behind = int((difference > 0).sum()), int((difference < 0).sum())
    p_value = sign_flip_p_value(difference)
    low, high = mean_interval(difference)
    mean = float(difference.mean()) if len(difference) else np.nan
    return {
        "recordings": len(difference),
        "better_on": ahead,
        "worse_on": behind,
        "difference": mean,
        "low": low,
        "high": high,
        "p_value": p_value,
        "verdict": "the same model as the leader"
        if same
        else _verdict_on_scores(ahead, behind, len(difference), mean, p_value, metric, better),
    }


def _verdict_on_scores(
    ahead: int, behind: int, recordings: int, mean: float, p_value: float, metric: str, better: float
) -> str:
    if recordings == 0:
        return f"cannot be compared: {metric} is known of no recording of both"
    if ahead == behind == 0:
        return f"the same {metric} on all {recordings} recordings"
    unit = " dB" if metric in IN_DECIBELS else ""
    said = (
        f"{metric} {better * mean:+.3g}{unit} on average, better on {ahead} and worse on {behind} of "
        f"{recordings} recordings (p = {p_value:.2g})"
    )
    if p_value >= CERTAIN:
        return f"cannot be told apart: {said}"
    return f"{'worse' if mean < 0 else 'better'} than the leader: {said}"
