"""What the commands of a study may ask of the lab that they run in; whoever starts them chooses the paths."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from ml.studies.study import FindModel


@dataclass(frozen=True)
class Surroundings:
    """Asked when a command runs, and not before: showing a command's help needs no lab."""

    find_model: FindModel
    """The folder of a model of the study. Raises where there is none."""
    collection: Callable[[], Path]
    """The lab's folder for what the study's commands collect; it need not be there yet."""
    source: Callable[[], Path | None]
    """The study's source folder: the one that is set, else the collection; None where there is neither."""
    settings: Callable[[], Any]
    """The study's settings in this lab."""
    files: Callable[[], pd.DataFrame | None]
    """The last inventory of the source; None before the first."""
