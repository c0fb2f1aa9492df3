"""How much there is of each class: by minutes where everything that is used sounds, else by files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Amounts:
    """The used files of an inventory, class by class."""

    classes: pd.DataFrame
    """One row per class (its index): files, `belonging`, and minutes, which are NaN where nothing sounds."""
    belonging: str
    """What files belong to: "recordings" where all are sound, else "groups" (a person, a recording)."""
    together: int
    """How many of these there are; a person may be in several classes."""
    unit: str
    """What classes are measured by: "minutes" or "files"; pictures have no minutes."""
    smallest: str
    largest: str
    ratio: float
    """How many times the smallest class the largest has, in `unit`."""

    @property
    def with_minutes(self) -> bool:
        """Does anything sound at all?"""
        return bool(self.classes["minutes"].notna().any())

    def sentence(self) -> str:
        """Which class is the smallest, and by how much; empty where all are alike."""
        if not self.ratio > 1:
            return ""
        return f"{self.smallest} is the smallest; {self.largest} has {self.ratio:.1f} times its {self.unit}"


def class_amounts(files: pd.DataFrame) -> Amounts:
    """What the inventory `files` holds; files that were refused are not counted."""
    used = files[files["state"] != "rejected"]
    if "at_seconds" in used and used["at_seconds"].notna().any():  # a hit has no length of its own: hits are counted
        used = used.assign(seconds=0.0)
    all_sound = bool((used["seconds"] > 0).all())
    belonging = "recordings" if all_sound else "groups"
    classes = used.groupby("label").agg(
        files=("path", "size"), belonging=("group", "nunique"), minutes=("seconds", "sum")
    )
    sounds = used[used["seconds"] > 0].groupby("label").size().reindex(classes.index).notna()
    classes["minutes"] = (classes["minutes"] / 60).where(sounds | all_sound)
    unit = "minutes" if all_sound else "files"
    amount = classes[unit].astype(float)
    smallest, largest = str(amount.idxmin()), str(amount.idxmax())
    return Amounts(
        classes.rename(columns={"belonging": belonging}),
        belonging,
        int(used["group"].nunique()),
        unit,
        smallest,
        largest,
        float(amount[largest] / amount[smallest]) if amount[smallest] else float("inf"),
    )
