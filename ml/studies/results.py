"""What the finished trials of a study came to, for everything that reads it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Results:
    """What the finished trials of a study came to, as SQL shows it."""

    leaderboard: pd.DataFrame
    """Best on validation first; `config` is the trial's settings."""
    per_class: pd.DataFrame
    inventory: pd.DataFrame
    """The view `inventory_by_class`."""
    comparisons: pd.DataFrame
    ask: Callable[[str], pd.DataFrame]
    """The rows of this study in any other table or view of the database."""
