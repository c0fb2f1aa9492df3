"""The epochs of a trial as people had them before: a list with an entry for each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = {
    ("train", "loss"): "train_loss",
    ("train", "accuracy"): "train_acc",
    ("validation", "loss"): "val_loss",
    ("validation", "accuracy"): "val_acc",
    ("validation", "macro_f1"): "val_f1",
    ("train", "lr"): "lr",
}
"""What an epoch's entry holds, and where it comes from."""


def history(epochs: pd.DataFrame, columns: Mapping[tuple[str, str], str] = COLUMNS) -> list[dict[str, Any]]:
    """One entry per epoch, with the seconds that it took; what was not measured is left out."""
    entries = []
    for epoch, rows in epochs.groupby("epoch"):
        values = {(row.part, row.metric): row.value for row in rows.itertuples()}
        said = {word: as_number(values[key]) for key, word in columns.items() if key in values}
        entries.append({"epoch": int(epoch), **said, "seconds": as_number(rows["seconds"].iloc[0])})
    return entries


def as_number(value: Any) -> float | None:
    """None for what JSON has no number for."""
    return None if value is None or value != value or not np.isfinite(value) else float(value)
