"""Events matched in time: as many as can be, as mir_eval does, and counts that add up over songs."""

from __future__ import annotations

import math

import mir_eval
import numpy as np
import pytest

from ml.metrics.events import event_scores, matched_events, pooled


@pytest.mark.parametrize("seed", range(60))
def test_the_scores_are_those_of_mir_eval(seed: int) -> None:
    draws = np.random.default_rng(seed)
    length = float(draws.choice([0.5, 2.0, 20.0]))  # from crowded to far apart
    wanted = np.sort(draws.uniform(0, length, draws.integers(1, 80)))
    said = np.sort(
        np.concatenate(
            [
                wanted[draws.random(len(wanted)) < 0.7] + draws.normal(0, 0.03),
                draws.uniform(0, length, draws.integers(1, 30)),
            ]
        ).clip(0)
    )
    f1, precision, recall = mir_eval.onset.f_measure(wanted, said, window=0.05)
    row = event_scores({"kick": wanted}, {"kick": said}).iloc[0]
    assert (row["f1"], row["precision"], row["recall"]) == pytest.approx((f1, precision, recall), abs=1e-12)


@pytest.mark.parametrize(("off", "right"), [(0.049, 1), (-0.049, 1), (0.051, 0), (-0.051, 0)])
def test_fifty_milliseconds_decide(off: float, right: int) -> None:
    assert matched_events(np.array([1.0]), np.array([1.0 + off])) == right


def test_each_event_is_matched_once_and_the_order_of_times_does_not_matter() -> None:
    assert matched_events(np.array([1.0]), np.array([0.99, 1.0, 1.01])) == 1
    assert matched_events(np.array([2.0, 1.0]), np.array([1.01, 2.04])) == 2
    # The nearest pair (1.04 and 1.03) would leave one alone.
    assert matched_events(np.array([1.0, 1.04]), np.array([1.03, 1.08])) == 2


def test_what_nothing_is_known_of_is_unknown_and_the_last_row_is_of_all() -> None:
    none = np.zeros(0)
    scores = event_scores(
        {"kick": np.array([1.0, 2.0]), "snare": none, "ride": np.array([3.0])},
        {"kick": np.array([1.0]), "snare": none, "crash": np.array([9.0])},
    )
    assert scores["class"].tolist() == ["kick", "snare", "ride", "crash", None]
    by_class = scores.set_index("class")
    assert by_class.loc["kick", "f1"] == pytest.approx(2 / 3)
    assert math.isnan(by_class.loc["snare", "f1"])
    assert math.isnan(by_class.loc["ride", "precision"])
    assert by_class.loc["ride", "f1"] == 0
    assert math.isnan(by_class.loc["crash", "recall"])
    assert by_class.loc["crash", "f1"] == 0
    total = scores.iloc[-1]
    assert total[["matched", "reference", "estimated"]].tolist() == [1, 3, 2]
    assert total["f1"] == pytest.approx(0.4)


def test_songs_are_pooled_by_their_events_and_the_interval_is_over_songs() -> None:
    long = event_scores({"kick": np.arange(100.0)}, {"kick": np.arange(100.0)})
    short = event_scores({"kick": np.arange(10.0), "snare": np.zeros(0)}, {"kick": np.arange(10.0) + 0.5})
    rows = pooled([long, short])
    assert rows["class"].tolist() == ["kick", "snare", None]
    rows = rows.set_index("class")
    assert rows.loc["kick", "f1"] == pytest.approx(2 * 100 / 220)
    assert rows.loc["kick", "low"] < 100 / 110 < rows.loc["kick", "high"]
    assert rows.loc["snare", ["f1", "low", "high"]].isna().all()
    assert (rows.loc["kick", "low"], rows.loc["kick", "high"]) == (0.0, 1.0)
    one = pooled([long]).set_index("class")
    assert (one.loc["kick", "low"], one.loc["kick", "high"]) == (0.0, 1.0), "one song tells nothing of others"
    assert pooled([]).empty
