"""Intervals against published values and against simulation."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ml.metrics.comparison import compare_with_leader
from ml.metrics.uncertainty import (
    paired_bootstrap,
    paired_p_value,
    recording_bootstrap,
    sign_flip_p_value,
    wilson,
)


def test_wilson_at_the_ends_and_in_the_middle():
    assert wilson(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-3)
    assert wilson(10, 10) == pytest.approx((0.7225, 1.0), abs=1e-3)
    assert wilson(5, 6) == pytest.approx((0.4365, 0.9699), abs=1e-3)
    assert wilson(0, 0) == (0.0, 1.0)


def test_wilson_covers_what_it_says():
    rng = np.random.default_rng(0)
    hits = rng.binomial(30, 0.8, size=2000)
    covered = [low <= 0.8 <= high for low, high in (wilson(int(h), 30) for h in hits)]
    assert 0.93 < np.mean(covered) < 0.98


def test_bootstrap_is_wide_where_recordings_disagree():
    even = recording_bootstrap(np.full(20, 9.0), np.full(20, 10.0))
    uneven = recording_bootstrap(np.array([10.0] * 18 + [0.0] * 2), np.full(20, 10.0))
    assert even == pytest.approx(wilson(18, 20)), "that all twenty agree is no certainty"
    assert uneven[1] - uneven[0] >= even[1] - even[0]
    # A long recording that is wrong and many short ones that are right: here the bootstrap is what is wide.
    lengths = np.array([900.0] + [10.0] * 19)
    lopsided = recording_bootstrap(np.array([0.0] + [10.0] * 19), lengths)
    assert lopsided[1] == 1.0 and lopsided[0] < 0.1


@pytest.mark.parametrize("recordings", [2, 3, 8])
def test_few_recordings_that_are_all_right_are_no_certainty(recordings: int):
    counts = np.full(recordings, 10.0)
    assert recording_bootstrap(counts, counts) == pytest.approx(wilson(recordings, recordings))
    assert recording_bootstrap(0 * counts, counts) == pytest.approx(wilson(0, recordings))
    low, high = recording_bootstrap(counts / 4, counts)
    assert low < 0.25 < high and high - low > 0.4


def test_mcnemar_by_counting():
    assert paired_p_value(0, 0) == 1.0
    assert paired_p_value(0, 6) == pytest.approx(2 / 64)
    assert paired_p_value(1, 5) == pytest.approx(2 * 7 / 64)
    assert paired_p_value(3, 3) == 1.0


def test_the_interval_of_a_difference_narrows_with_recordings():
    few, many = paired_bootstrap(np.tile([1.0, -1.0, 0.0], 4)), paired_bootstrap(np.tile([1.0, -1.0, 0.0], 400))
    assert few[1] - few[0] > 5 * (many[1] - many[0])
    assert few[0] < 0 < few[1]


def test_agreement_on_few_recordings_is_no_proof_of_being_equal():
    unseen = wilson(0, 8)[1]
    assert paired_bootstrap(np.zeros(8)) == pytest.approx((-unseen, unseen)) and unseen > 0.3
    low, high = paired_bootstrap(np.ones(8))
    assert high == 1.0 and low == pytest.approx(1 - 2 * unseen)
    low, high = paired_bootstrap(np.zeros(4000))
    assert -0.001 < low < 0 < high < 0.001, "many recordings are one"


def _judged(right: list[bool], recordings: list[str] | None = None) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "part": "validation",
            "recording": recordings or [f"{n}" for n in range(len(right))],
            "path": [f"{n}.wav" for n in range(len(right))],
            "actual": "x",
            "predicted": ["x" if ok else "y" for ok in right],
        }
    )


def test_two_files_of_difference_are_not_called_better():
    trials = {"leader": _judged([True] * 10), "other": _judged([True] * 8 + [False] * 2)}
    row = compare_with_leader(trials, "leader", "validation").iloc[0]
    assert row["difference"] == pytest.approx(-0.2)
    assert row["verdict"].startswith("cannot be told apart: right on 0 and wrong on 2 of 10 recordings")


def test_a_clear_loss_is_called_one():
    trials = {"leader": _judged([True] * 12), "other": _judged([False] * 8 + [True] * 4)}
    row = compare_with_leader(trials, "leader", "validation").iloc[0]
    assert row["verdict"].startswith("worse than the leader")
    assert row["high"] < 0


def test_ten_files_of_one_recording_are_one_verdict():
    one = [f"{n}" for n in range(9)] + ["long"] * 10
    trials = {"leader": _judged([True] * 19, one), "other": _judged([True] * 9 + [False] * 6 + [True] * 4, one)}
    row = compare_with_leader(trials, "leader", "validation").iloc[0]
    assert (row["recordings"], row["better_on"], row["worse_on"]) == (10, 0, 1)
    assert row["verdict"].startswith("cannot be told apart")
    trials["other"] = _judged([True] * 9 + [False] * 5 + [True] * 5, one)
    row = compare_with_leader(trials, "leader", "validation").iloc[0]
    assert row["verdict"] == "the same answer on all 10 recordings"


def test_flipping_signs_is_the_exact_test_where_recordings_are_right_or_wrong():
    for better, worse in ((0, 0), (1, 0), (0, 5), (3, 7), (6, 6), (1, 12), (14, 2)):
        difference = np.array([1.0] * better + [-1.0] * worse + [0.0] * 30)
        assert sign_flip_p_value(difference) == pytest.approx(paired_p_value(better, worse)), (better, worse)
    many = np.array([1.0] * 18 + [-1.0] * 6)
    assert sign_flip_p_value(many) == pytest.approx(paired_p_value(18, 6), abs=0.01), "drawn, not enumerated"
    assert sign_flip_p_value(np.array([0.9, 0.1, 0.1])) == pytest.approx(2 / 8), "a large gain outweighs small ones"
    assert sign_flip_p_value(np.array([0.9, 0.1, -0.1])) == pytest.approx(6 / 8)


def _persons(right: dict[str, tuple[int, int]]) -> pd.DataFrame:
    """Person to how many of the pictures of two emotions are right, of four each."""
    rows = [
        ("validation", person, emotion, emotion if number < hits else "other")
        for person, both in right.items()
        for emotion, hits in zip(("happy", "sad"), both, strict=True)
        for number in range(4)
    ]
    return pd.DataFrame(rows, columns=["part", "recording", "actual", "predicted"])


def test_a_person_with_many_pictures_counts_by_the_share_that_is_right():
    persons = [f"p{number}" for number in range(8)]
    trials = {
        "leader": _persons(dict.fromkeys(persons, (4, 4))),
        "worse": _persons(dict.fromkeys(persons, (4, 2))),
        "alike": _persons(dict.fromkeys(persons, (4, 4)) | {"p0": (4, 3), "p1": (3, 4)}),
        "same": _persons(dict.fromkeys(persons, (4, 4))),
    }
    rows = compare_with_leader(trials, "leader", "validation").set_index("trial")
    assert rows.loc["worse", "difference"] == pytest.approx(-0.25) and rows.loc["worse", "recordings"] == 8
    assert rows.loc["worse", "verdict"].startswith(
        "worse than the leader: more files right in 0 and fewer in 8 of 8 groups of files than the leader"
    )
    assert rows.loc["alike", "verdict"].startswith("cannot be told apart: more files right in 0 and fewer in 2 of 8")
    assert rows.loc["same", "verdict"] == "as many right in all 8 groups"
    few = {name: _persons(dict.fromkeys(persons[:4], hits)) for name, hits in (("leader", (4, 4)), ("worse", (0, 0)))}
    (row,) = compare_with_leader(few, "leader", "validation").to_dict("records")
    assert row["p_value"] == pytest.approx(2 / 16) and row["verdict"].startswith("cannot be told apart"), "four persons"
