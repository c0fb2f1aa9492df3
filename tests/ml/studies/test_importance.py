"""Shares of the variance against functions whose shares are known by hand."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ml.studies.importance import importance
from tests.benchmarks.ordering import simulated
from tests.storage import grid


def measured(function: Callable[..., float], keep: float = 1.0, **levels: tuple[Any, ...]) -> pd.DataFrame:
    """The importance of the settings of a function of them, of which a share of the points is known."""
    points = [dict(zip(levels, values, strict=True)) for values in itertools.product(*levels.values())]
    chosen = np.random.default_rng(0).random(len(points)) < keep
    points = [point for point, taken in zip(points, chosen, strict=True) if taken]
    return importance(points, [function(**point) for point in points]).set_index("setting")


def test_effects_that_add_up_are_shared_as_their_variances() -> None:
    found = measured(lambda a, b, c: 3.0 * a + b, a=(-1, 1), b=(-1, 1), c=(-1, 1))
    assert found.loc["a", ["main", "total"]].tolist() == pytest.approx([0.9, 0.9])
    assert found.loc["b", ["main", "total"]].tolist() == pytest.approx([0.1, 0.1])
    assert found.loc["c", ["main", "total", "together"]].tolist() == pytest.approx([0, 0, 0])
    assert list(found.index) == ["a", "b", "c"] and found["whole"].all() and (found["trials"] == 8).all()


def test_what_only_matters_together_has_a_total_and_no_main() -> None:
    found = measured(lambda a, b, c: a * b + c, a=(-1, 1), b=(-1, 1), c=(-1, 1))
    assert found.loc["a", ["main", "total", "together"]].tolist() == pytest.approx([0, 0.5, 0.5])
    assert (found.loc["a", "partner"], found.loc["b", "partner"]) == ("b", "a")
    assert found.loc["c", ["main", "total", "together"]].tolist() == pytest.approx([0.5, 0.5, 0])


def test_the_ishigami_function() -> None:
    """Its shares are published; a fine grid comes close to the integrals."""
    fine = tuple(np.linspace(-np.pi, np.pi, 32, endpoint=False) + np.pi / 32)
    found = measured(lambda x, y, z: np.sin(x) + 7 * np.sin(y) ** 2 + 0.1 * z**4 * np.sin(x), x=fine, y=fine, z=fine)
    assert found["main"].to_dict() == pytest.approx({"x": 0.314, "y": 0.442, "z": 0.0}, abs=0.01)
    assert found["total"].to_dict() == pytest.approx({"x": 0.558, "y": 0.442, "z": 0.244}, abs=0.01)
    assert found.loc["x", "partner"] == "z" and found.loc["x", "together"] == pytest.approx(0.244, abs=0.01)


@pytest.mark.parametrize("keep", [0.95, 0.5, 0.2])
def test_a_forest_fills_what_is_missing(keep: float) -> None:
    levels: dict[str, Any] = {"a": (0, 1, 2, 3), "b": ("x", "y"), "c": (1, 2, 3), "d": (5, 6, 7), "e": (0.5, 0.3)}

    def loss(a: int, b: str, c: int, d: int, e: float) -> float:
        return (a - 2) ** 2 + 2.0 * (b == "y") * (c == 1) + 0.1 * d

    exact, guessed = measured(loss, **levels), measured(loss, keep, **levels)
    assert exact["whole"].all() and not guessed["whole"].any()
    assert list(guessed.index[:3]) == list(exact.index[:3])
    difference = (guessed["total"] - exact["total"]).abs()
    assert difference.max() < (0.03 if keep > 0.9 else 0.12), difference


def test_few_trials_of_another_grid_do_not_blur_a_whole_one() -> None:
    losses = simulated(0)
    points = [grid.points(grid.FULL)[name] for name in losses]
    alone = importance(points, list(losses.values()))
    small = grid.points(grid.SMALL)
    others = [point | {"training.optimizer": "adam", "training.scheduler_patience": 10} for point in small.values()]
    others = [point | {"training.scheduler_factor": 0.5, "training.early_stop": 15} for point in others]
    begun = time.perf_counter()
    together = importance([*points, *others], [*losses.values(), *[9.0] * 8])
    assert time.perf_counter() - begun < 2
    pd.testing.assert_frame_equal(alone, together)
    assert together["whole"].all() and (together["trials"] == 864).all() and len(together) == 7
    assert together["main"].sum() <= 1 + 1e-9 and (together["total"] >= together["main"] - 1e-9).all()
    assert importance(points[:-3], list(losses.values())[:-3])["whole"].sum() == 0, "three failed"


def test_a_trial_in_eight_that_failed_costs_no_value_of_a_setting() -> None:
    losses = simulated(0)
    kept = [name for number, name in enumerate(losses) if number % 8 and number % 5]
    found = importance([grid.points(grid.FULL)[name] for name in kept], [losses[name] for name in kept])
    assert len(found) == 7 and (found["trials"] == len(kept)).all() and not found["whole"].any()


def test_the_default_beside_the_quick_grid_does_not_blur_it() -> None:
    points = list(grid.points(grid.SMALL).values())
    values = [0.1 * point["training.epochs"] for point in points]
    other = {"training.batch_size": 8, "training.lr": 1e-4, "training.epochs": 75}
    found = importance([*points, other], [*values, 99.0])
    assert found["whole"].all() and (found["trials"] == 8).all()
    assert found.loc[0, "setting"] == "training.epochs" and found.loc[0, "main"] == pytest.approx(1)


def test_where_nothing_can_be_said_nothing_is() -> None:
    eight = [dict(zip("abc", values, strict=True)) for values in itertools.product((0, 1), repeat=3)]
    assert not len(importance(eight, [1.0] * 8)), "all alike"
    assert not len(importance(eight[:5], [1.0, 2, 3, 4, 5])), "too few"
    assert not len(importance([], []))
    assert not len(importance(eight, [float("nan")] * 8))
    one_at_a_time = [{f"s{place}": int(place == number) for place in range(12)} for number in range(13)]
    assert not len(importance(one_at_a_time, list(range(13)))), "no grid"
    doubled = importance(eight * 2, [float(point["a"]) for point in eight] * 2)
    assert doubled.loc[0, "setting"] == "a" and doubled.loc[0, "main"] == pytest.approx(1)
    gone = importance([*eight, eight[0]], [*(float(point["a"]) for point in eight), float("nan")])
    assert gone.loc[0, "main"] == pytest.approx(1) and (gone["trials"] == 8).all(), "what failed has no value"
