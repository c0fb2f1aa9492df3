"""The evaluation's tables against sums written out by hand, and against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as reference

from ml.metrics.classification import class_scores, confusion_counts, evaluation_tables, overall_scores, recording_means

CLASSES = ["a", "b", "c"]


def _tables(probabilities, labels, recording, groups=None):
    count = int(max(recording)) + 1
    return evaluation_tables(
        part="test",
        classes=CLASSES,
        probabilities=np.asarray(probabilities, dtype=float),
        labels=np.asarray(labels),
        recording=np.asarray(recording),
        paths=[f"{n}.wav" for n in range(count)],
        groups=groups or [f"g{n}" for n in range(count)],
        start_seconds=np.arange(len(labels), dtype=np.float32),
    )


def test_scores_equal_scikit_learn():
    rng = np.random.default_rng(3)
    actual, predicted = rng.integers(0, 3, 400), rng.integers(0, 3, 400)
    counts = confusion_counts(actual, predicted, 3)
    assert (counts == reference.confusion_matrix(actual, predicted)).all()
    own = class_scores(counts)
    precision, recall, f1, _ = reference.precision_recall_fscore_support(actual, predicted)
    for name, wanted in (("precision", precision), ("recall", recall), ("f1", f1)):
        assert own[name] == pytest.approx(wanted)
    overall = overall_scores(counts)
    assert overall["accuracy"] == pytest.approx(reference.accuracy_score(actual, predicted))
    assert overall["macro_f1"] == pytest.approx(reference.f1_score(actual, predicted, average="macro"))


def test_a_class_that_does_not_occur_has_no_recall_and_does_not_pull_the_mean_down():
    counts = confusion_counts(np.array([0, 0, 1]), np.array([0, 0, 1]), 3)
    assert np.isnan(class_scores(counts)["recall"][2])
    assert overall_scores(counts) == {"accuracy": 1.0, "macro_recall": 1.0, "macro_f1": 1.0}


def test_a_recording_is_judged_by_the_mean_of_its_windows():
    # Two of three windows say a, but the third is so sure of b that the mean is b.
    chances = np.array([[0.5, 0.45, 0.05], [0.5, 0.45, 0.05], [0.0, 1.0, 0.0], [0.1, 0.1, 0.8]])
    mean, order = recording_means(chances, np.array([4, 4, 4, 9]))
    assert order.tolist() == [4, 9]
    assert mean[0] == pytest.approx([1 / 3, 1.9 / 3, 0.1 / 3])
    tables = _tables(chances, [1, 1, 1, 2], [0, 0, 0, 1])
    overall = tables["metrics"][tables["metrics"]["class"].isna()].set_index(["level", "metric"])["value"]
    assert overall["window", "accuracy"] == pytest.approx(2 / 4)
    assert overall["recording", "accuracy"] == 1.0
    predictions = tables["predictions"]
    assert predictions[predictions["level"] == "recording"]["predicted"].tolist() == ["b", "c"]
    assert predictions[predictions["level"] == "window"]["window"].tolist() == [0, 1, 2, 0]


def test_windows_of_one_recording_do_not_narrow_the_interval():
    """A hundred windows of two recordings are two pieces of evidence, not a hundred."""
    right, wrong = [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]
    many = _tables([right] * 50 + [wrong] * 50, [0] * 100, [0] * 50 + [1] * 50)["metrics"]
    row = many[(many["metric"] == "accuracy") & (many["level"] == "window")].iloc[0]
    assert row["value"] == 0.5
    assert row["high"] - row["low"] == 1.0


def test_files_of_one_recording_stand_and_fall_together():
    right = [1.0, 0.0, 0.0]
    alone = _tables([right] * 8, [0] * 8, list(range(8)))["metrics"]
    joined = _tables([right] * 8, [0] * 8, list(range(8)), groups=["one"] * 8)["metrics"]

    def low(table):
        return table[(table["metric"] == "accuracy") & (table["level"] == "recording")]["low"].iloc[0]

    assert low(alone) > 0.6
    assert low(joined) == 0.0
