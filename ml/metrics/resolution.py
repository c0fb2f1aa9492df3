"""How small a difference so few recordings can show: said before a night is spent on it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ml.metrics.comparison import CERTAIN
from ml.metrics.uncertainty import paired_p_value

if TYPE_CHECKING:
    import pandas as pd


def least_disagreements() -> int:
    """Recordings that one trial has to get right and another wrong, and none the other way round, to be certain."""
    number = 1
    while paired_p_value(number, 0) >= CERTAIN:
        number += 1
    return number


def least_difference(recordings: int) -> float:
    """Points (of 100) by which two trials have to differ on so many recordings, at best, to be told apart."""
    return math.inf if recordings < least_disagreements() else 100 * least_disagreements() / recordings


def too_few(split: pd.DataFrame, part: str, points: float, *, by_score: bool) -> list[str]:
    """What the recordings of a part (columns label, group, part) are too few for, where `points` are to be seen.

    `by_score`: trials are compared by a score of each recording, not by which of them they get right.
    """
    own = split.loc[split["part"] == part, ["label", "group"]].drop_duplicates()
    recordings, least = own["group"].nunique(), least_disagreements()
    if recordings < least:
        return [
            f"{part} has {recordings} recording{'s' * (recordings != 1)}: no two trials can be told apart by them, it "
            f"takes {least} that disagree"
        ]
    if by_score or own["group"].duplicated().any():  # their scores or shares may differ by little and all alike
        return []
    found = []
    seen = least_difference(recordings)
    if seen > points:
        found.append(
            f"{part} has {recordings} recordings: two trials that differ by less than {seen:.0f} points there cannot "
            f"be told apart; to see {points:g} points it takes {math.ceil(100 * least / points)}"
        )
    smallest = own.groupby("label")["group"].nunique().sort_values(kind="stable")
    if 100 / smallest.iloc[0] > points:
        number = int(smallest.iloc[0])
        found.append(
            f"{part} has {number} recording{'s' * (number != 1)} of {smallest.index[0]}: its recall moves in steps of "
            f"{100 / number:.0f} points"
        )
    return found
