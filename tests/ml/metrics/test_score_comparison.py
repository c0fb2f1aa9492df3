"""Trials that have a number for every file, compared recording by recording."""

from __future__ import annotations

import math
import time

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from ml.metrics.comparison import compare_scores
from ml.metrics.uncertainty import mean_interval


def scores_of(trials: dict[str, np.ndarray]) -> pd.DataFrame:
    """Trial to the values of its recordings: of each two files, around the value."""
    rows = [
        (trial, f"r{number}", value + shift)
        for trial, values in trials.items()
        for number, value in enumerate(values)
        for shift in (-0.5, 0.5)
    ]
    return pd.DataFrame(rows, columns=["trial", "recording", "value"])


def compared(trials: dict[str, np.ndarray], models: dict[str, str | None] | None = None, **said: bool) -> pd.DataFrame:
    higher = said.get("higher_is_better", True)
    found = compare_scores(
        scores_of(trials), "leader", "validation", metric="gain", higher_is_better=higher, models=models or {}
    )
    return found.set_index("trial")


LEADER = np.linspace(4.0, 9.0, 12)


def test_a_steady_difference_is_certain_and_a_scattered_one_is_not() -> None:
    scattered = LEADER + np.tile([0.6, -0.7], 6)
    found = compared({"leader": LEADER, "steady": LEADER - 0.2, "scattered": scattered, "ahead": LEADER + 0.1})
    assert list(found.index) == ["ahead", "scattered", "steady"]
    row = found.loc["steady"]
    assert (row["against"], row["part"], row["recordings"]) == ("leader", "validation", 12), "files are no recordings"
    assert (row["better_on"], row["worse_on"]) == (0, 12) and row["difference"] == pytest.approx(-0.2)
    assert row["p_value"] == pytest.approx(2 / 2**12)
    assert row["verdict"].startswith("worse than the leader: gain -0.2 on average, better on 0 and worse on 12 of 12")
    assert found.loc["ahead", "verdict"].startswith("better than the leader: gain +0.1 on average")
    row = found.loc["scattered"]
    assert row["verdict"].startswith("cannot be told apart: gain -0.05 on average, better on 6 and worse on 6")
    assert row["low"] < 0 < row["high"]


def test_lower_can_be_better() -> None:
    found = compared({"leader": LEADER, "less": LEADER - 0.2}, higher_is_better=False).loc["less"]
    assert found["difference"] == pytest.approx(0.2) and found["better_on"] == 12
    assert found["verdict"].startswith("better than the leader: gain -0.2 on average, better on 12")


def test_four_recordings_are_never_certain() -> None:
    found = compared({"leader": LEADER[:4], "far": LEADER[:4] - 5.0}).loc["far"]
    assert found["p_value"] == pytest.approx(2 / 16) and found["verdict"].startswith("cannot be told apart")


def test_what_is_the_same_model_is_said_to_be_it() -> None:
    models = {"leader": "a", "twin": "a", "other": "b", "others_twin": "b", "unknown": None}
    trials = {name: LEADER - (0.2 if "other" in name else 0.0) for name in models}
    found = compared(trials, models)
    assert found.loc["twin", "verdict"] == "the same model as the leader"
    assert found.loc["unknown", "verdict"] == "the same gain on all 12 recordings"
    assert found.loc["other"].equals(found.loc["others_twin"])


def test_only_recordings_of_both_count() -> None:
    scores = scores_of({"leader": LEADER, "half": LEADER - 1.0, "none": LEADER})
    gone = (scores["trial"] == "half") & scores["recording"].isin(["r0", "r1"])
    scores.loc[scores["trial"] == "none", "recording"] += " of other data"
    found = compare_scores(scores[~gone], "leader", "test", metric="gain", higher_is_better=True, models={}).set_index(
        "trial"
    )
    assert found.loc["half", "recordings"] == 10
    assert found.loc["none", "verdict"] == "cannot be compared: gain is known of no recording of both"
    assert math.isnan(found.loc["none", "difference"])


def test_the_interval_is_never_narrower_than_students() -> None:
    generator = np.random.default_rng(0)
    covered = 0
    for _ in range(400):
        drawn = generator.normal(0.3, 1.0, size=6)
        low, high = mean_interval(drawn)
        own = stats.t.interval(0.95, 5, loc=drawn.mean(), scale=stats.sem(drawn))
        assert low <= own[0] + 1e-9 and high >= own[1] - 1e-9
        covered += low <= 0.3 <= high
    assert covered / 400 > 0.93
    assert all(map(math.isnan, mean_interval(np.array([1.0]))))


def test_nine_hundred_trials_are_compared_in_seconds() -> None:
    generator = np.random.default_rng(0)
    trials = {f"t{number}": generator.normal(size=15) for number in range(873)} | {"leader": generator.normal(size=15)}
    scores = scores_of(trials)
    begun = time.perf_counter()
    found = compare_scores(scores, "leader", "validation", metric="gain", higher_is_better=True, models={})
    took = time.perf_counter() - begun
    print(f"{took:.2f} s")
    assert len(found) == 873 and took < 10
