"""From class probabilities to the tables of an evaluation: per window and per recording."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ml.metrics.uncertainty import recording_bootstrap, wilson

OVERALL = None
"""The class of a metric that speaks of all classes together."""


def confusion_counts(actual: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Counts of shape `(classes, classes)`: row is the actual class, column the predicted one."""
    return np.bincount(actual * classes + predicted, minlength=classes * classes).reshape(classes, classes)


def class_scores(counts: np.ndarray) -> dict[str, np.ndarray]:
    """Precision, recall and F1 per class from a confusion matrix.

    Recall of a class that does not occur is unknown (NaN), never 0.0; precision of a class that is never predicted too.
    """
    right = np.diag(counts).astype(float)
    with np.errstate(invalid="ignore", divide="ignore"):
        recall = right / counts.sum(axis=1)
        precision = right / counts.sum(axis=0)
        f1 = 2 * right / (counts.sum(axis=1) + counts.sum(axis=0))
    f1[counts.sum(axis=1) == 0] = np.nan
    return {"precision": precision, "recall": recall, "f1": f1}


def overall_scores(counts: np.ndarray) -> dict[str, float]:
    """Accuracy, and the means over the classes that occur: macro recall and macro F1."""
    scores = class_scores(counts)
    present = counts.sum(axis=1) > 0
    return {
        "accuracy": float(np.trace(counts) / max(counts.sum(), 1)),
        "macro_recall": float(scores["recall"][present].mean()) if present.any() else float("nan"),
        "macro_f1": float(scores["f1"][present].mean()) if present.any() else float("nan"),
    }


def recording_means(probabilities: np.ndarray, recording: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean probabilities `(recordings, classes)` over the windows of each recording, and the recordings in order."""
    order, inverse = np.unique(recording, return_inverse=True)
    sums = np.zeros((len(order), probabilities.shape[1]))
    np.add.at(sums, inverse, probabilities)
    return sums / np.bincount(inverse)[:, None], order


def evaluation_tables(
    *,
    part: str,
    classes: Sequence[str],
    probabilities: np.ndarray,
    labels: np.ndarray,
    recording: np.ndarray,
    paths: Sequence[str],
    groups: Sequence[str],
    start_seconds: np.ndarray,
) -> dict[str, pd.DataFrame]:
    """The tables `metrics`, `confusion` and `predictions` of one part.

    `probabilities` is `(windows, classes)`; `labels`, `recording` and `start_seconds` have one entry per window;
    `paths` and `groups` are looked up by the numbers in `recording` (one file is one recording here).
    """
    mean, order = recording_means(probabilities, recording)
    first = np.unique(recording, return_index=True)[1]
    levels = {
        "window": (probabilities, labels, recording, start_seconds),
        "recording": (mean, labels[first], order, np.zeros(len(order), dtype=np.float32)),
    }
    metrics, confusion, predictions = [], [], []
    for level, (chances, actual, which, seconds) in levels.items():
        predicted = chances.argmax(axis=1)
        counts = confusion_counts(actual, predicted, len(classes))
        metrics.append(_metric_rows(counts, actual, predicted, which, groups, classes, level))
        confusion.append(
            pd.DataFrame(
                {
                    "level": level,
                    "actual": np.repeat(classes, len(classes)),
                    "predicted": np.tile(classes, len(classes)),
                    "count": counts.ravel(),
                }
            )
        )
        names = np.asarray(classes, dtype=object)
        predictions.append(
            pd.DataFrame(
                {
                    "level": level,
                    "recording": np.asarray(groups, dtype=object)[which],
                    "path": np.asarray(paths, dtype=object)[which],
                    "window": _running_number(which) if level == "window" else -1,
                    "start_seconds": seconds.astype(np.float32),
                    "actual": names[actual],
                    "predicted": names[predicted],
                    "confidence": chances.max(axis=1).astype(np.float32),
                    "probabilities": list(chances.astype(np.float32)),
                }
            )
        )
    tables = {"metrics": metrics, "confusion": confusion, "predictions": predictions}
    joined = {name: pd.concat(frames, ignore_index=True) for name, frames in tables.items()}
    for frame in joined.values():
        frame.insert(0, "part", part)
    return joined


def _metric_rows(
    counts: np.ndarray,
    actual: np.ndarray,
    predicted: np.ndarray,
    recording: np.ndarray,
    groups: Sequence[str],
    classes: Sequence[str],
    level: str,
) -> pd.DataFrame:
    right = (actual == predicted).astype(float)
    group_of = pd.factorize(np.asarray(groups, dtype=object)[recording])[0]
    rows: list[tuple[str, str | None, float, float, float]] = []
    for metric, value in overall_scores(counts).items():
        low, high = (np.nan, np.nan)
        if metric == "accuracy":
            low, high = _interval(right, group_of, level)
        rows.append((metric, OVERALL, value, low, high))
    for metric, values in class_scores(counts).items():
        for index, name in enumerate(classes):
            low, high = (np.nan, np.nan)
            if metric == "recall" and counts[index].sum():
                own = actual == index
                low, high = _interval(right[own], group_of[own], level)
            rows.append((metric, name, float(values[index]), low, high))
    frame = pd.DataFrame(rows, columns=["metric", "class", "value", "low", "high"])
    frame.insert(0, "level", level)
    return frame


def _interval(right: np.ndarray, group: np.ndarray, level: str) -> tuple[float, float]:
    """95 % interval over recordings: Wilson where each stands once, else the bootstrap over recordings."""
    kinds, inverse = np.unique(group, return_inverse=True)
    if level == "recording" and len(kinds) == len(group):
        return wilson(int(right.sum()), len(right))
    return recording_bootstrap(np.bincount(inverse, weights=right), np.bincount(inverse).astype(float))


def _running_number(recording: np.ndarray) -> np.ndarray:
    """0, 1, 2, … within each recording, for windows that lie in order."""
    return pd.Series(recording).groupby(recording).cumcount().to_numpy()
