"""The first sentence about a study: who leads, and whether that is worth anything."""

from __future__ import annotations

import pandas as pd
import pytest

from orchestration.nights.learned import _sentence

APART, WORSE = "cannot be told apart: 3 recordings differ (p = 0.5)", "worse than the leader: 30 differ (p = 0.001)"


def said(new: list[str], *verdicts: str) -> str:
    """Of trials `a`, `b` and so on, best first; the verdicts are those on all but the first."""
    names = [chr(ord("a") + number) for number in range(len(verdicts) + 1)]
    values = [0.9 - 0.01 * number for number in range(len(names))]
    board = pd.DataFrame({"trial": names, "selection_value": values})
    return _sentence(board, "accuracy", new, dict(zip(names[1:], verdicts, strict=True)))


@pytest.mark.parametrize(
    ("new", "begins"),
    [
        ([], "No new result; a leads with 90.0 % accuracy"),
        (["a", "b", "c"], "First results: a leads with 90.0 % accuracy, of 3 trials"),
        (["c"], "a still leads with 90.0 % accuracy, after 1 new result"),
        (["a", "c"], "New leader: a with 90.0 % accuracy (before: b, 89.0 %; the two cannot be told apart)"),
    ],
)
def test_a_leader_whom_nobody_is_told_apart_from_is_said_to_be_one(new: list[str], begins: str) -> None:
    assert said(new, APART, APART) == f"{begins}; none of the 2 others can be told apart from it."
    assert said(new, APART, WORSE) == f"{begins}."


def test_of_two_and_of_one_it_is_said_as_one_speaks() -> None:
    assert said([], APART).endswith("; the other cannot be told apart from it.")
    assert said([], APART, "the same answer on all 9 recordings").endswith(
        "; none of the 2 others can be told apart from it."
    )
    assert said([]) == "No new result; a leads with 90.0 % accuracy."
    assert said([], "not compared yet") == "No new result; a leads with 90.0 % accuracy."
