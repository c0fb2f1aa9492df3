"""What the trials reach at a glance: macro F1 of each, and F1 of each emotion."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ml.studies.pictures import macro_f1, new_figure, png
from ml.studies.scores import Scores
from ml.studies.standing import left_out

if TYPE_CHECKING:
    import pandas as pd

    from ml.studies.results import Results


def leaderboard_pictures(results: Results) -> dict[str, bytes]:
    """Macro F1 of each trial in every part, and F1 of each emotion on validation; the best trial on top."""
    scores, note = Scores(results), left_out(results.leaderboard)
    pictures = {"macro F1 of each trial": macro_f1(scores, note, "macro F1, %")}
    by_emotion = scores.of_classes("validation", "f1")
    if by_emotion.shape[1]:
        pictures["F1 of each emotion"] = _heat_map(by_emotion, note)
    return pictures


def _heat_map(by_emotion: pd.DataFrame, note: str) -> bytes:
    """Trials by emotions; an emotion that does not occur in validation has no number."""
    trials, emotions = list(by_emotion.index), list(by_emotion.columns)
    values = 100 * by_emotion.to_numpy()
    figure, axes = new_figure(2.4 + 0.62 * len(emotions), 1.4 + 0.3 * len(trials))
    axes.imshow(np.nan_to_num(values), cmap="Blues", vmin=0, vmax=100, aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        words = "" if np.isnan(value) else f"{value:.0f}"
        axes.text(column, row, words, ha="center", va="center", color="white" if value > 50 else "black")
    axes.set_xticks(range(len(emotions)), emotions, rotation=40, ha="right")
    axes.set_yticks(range(len(trials)), trials)
    axes.set_xlabel("F1 on validation, %")
    axes.set_title(note, fontsize="small")
    return png(figure)
