"""What so few recordings cannot show."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from ml.metrics.resolution import least_difference, least_disagreements, too_few
from ml.metrics.uncertainty import paired_p_value, sign_flip_p_value


def split(*groups: tuple[str, str, int]) -> pd.DataFrame:
    """Recordings of two files each: of every (label, part) so many."""
    rows = [
        {"label": label, "part": part, "group": f"{label}-{part}-{number}", "path": f"{label}{part}{number}{file}"}
        for label, part, count in groups
        for number in range(count)
        for file in "ab"
    ]
    return pd.DataFrame(rows)


def test_six_recordings_have_to_disagree_and_fewer_never_suffice():
    assert least_disagreements() == 6
    assert paired_p_value(6, 0) < 0.05 <= paired_p_value(5, 0)
    assert sign_flip_p_value(np.full(5, 0.3)) >= 0.05, "nor do shares or scores of five, were they all alike"
    assert least_difference(5) == math.inf
    assert least_difference(6) == 100
    assert least_difference(120) == pytest.approx(5)


def test_it_is_said_how_many_it_takes():
    parts = split(("MUSIC", "test", 20), ("TUNING", "test", 4), ("MUSIC", "train", 80))
    assert too_few(parts, "test", 5, by_score=False) == [
        "test has 24 recordings: two trials that differ by less than 25 points there cannot be told apart; to see 5 "
        "points it takes 120",
        "test has 4 recordings of TUNING: its recall moves in steps of 25 points",
    ]
    assert too_few(parts, "test", 25, by_score=False) == []
    assert too_few(split(("a", "test", 300), ("b", "test", 300)), "test", 5, by_score=False) == []


def test_too_few_for_anything_is_said_of_every_kind_of_comparison():
    for by_score in (False, True):
        (said,) = too_few(split(("a", "test", 3), ("b", "test", 2)), "test", 50, by_score=by_score)
        assert said.startswith("test has 5 recordings: no two trials can be told apart")
    (said,) = too_few(split(("a", "train", 9)), "test", 50, by_score=False)
    assert said.startswith("test has 0 recordings: ")


def test_of_shares_and_scores_no_least_difference_is_claimed():
    """Six persons who are all a little better heard show a difference that is as small as one likes."""
    persons = split(("happy", "test", 10))
    both = pd.concat([persons, persons.assign(label="sad")])
    assert too_few(both, "test", 5, by_score=False) == []
    assert too_few(persons, "test", 5, by_score=True) == []
    assert sign_flip_p_value(np.full(10, 0.01)) < 0.05
