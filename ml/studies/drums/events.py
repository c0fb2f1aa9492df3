"""What is recorded of whole songs: how well the hits in them were found, by the model and by rules without one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

EVENT_F1 = "event_f1"
HEURISTIC_F1 = "event_f1_heuristics"

AS_USED = {EVENT_F1: ("this model", "tab:blue"), HEURISTIC_F1: ("heuristics, without a model", "tab:gray")}
"""The metrics that are held against each other, in words and colour."""


def event_rows(metrics: pd.DataFrame, trial: str) -> pd.DataFrame:
    """The metrics of whole songs of one trial: columns part, metric, class, value, low, high."""
    return metrics[(metrics["trial"] == trial) & metrics["metric"].isin(list(AS_USED))]


def of_component(events: pd.DataFrame, part: str, metric: str) -> dict[str | None, float]:
    """F1 of each component in the songs of `part`; of all together under None."""
    rows = events[(events["part"] == part) & (events["metric"] == metric)]
    return {
        None if name is None or name != name else str(name): float(value)
        for name, value in zip(rows["class"], rows["value"], strict=True)
    }
