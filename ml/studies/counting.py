"""How many windows there are of each class in each part."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from ml.data.windows import PARTS, Windows


def window_counts(windows: Windows, classes: Sequence[str]) -> pd.DataFrame:
    """Columns part, class, windows."""
    named = pd.DataFrame({"part": windows.part, "class": windows.label}).value_counts().reset_index(name="windows")
    return named.assign(part=[PARTS[part] for part in named["part"]], **{"class": [classes[i] for i in named["class"]]})
