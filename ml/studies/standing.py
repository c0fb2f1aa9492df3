"""Which results may stand beside each other: those that saw the same data."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def comparable(leaderboard: pd.DataFrame) -> pd.DataFrame:
    """The trials that saw the data that the newest one saw; others were judged on other recordings."""
    return leaderboard[leaderboard["current_data"].astype(bool)]


def left_out(leaderboard: pd.DataFrame) -> str:
    """A line about the trials that `comparable` leaves out, and how to have them again; empty where there are none."""
    older = len(leaderboard) - len(comparable(leaderboard))
    if not older:
        return ""
    counted = "1 trial of older data is" if older == 1 else f"{older} trials of older data are"
    return f"{counted} left out; to refresh: nocturne run {leaderboard.iloc[0]['study']}"
