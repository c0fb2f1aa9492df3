"""The order in which a grid is run: complete, repeatable, quick, and soon at the best."""

from __future__ import annotations

import statistics
import time

import pytest
import torch

from ml.studies.ordering import SPREAD, TOLD, smart_order
from tests.benchmarks.ordering import rank_at_random, rank_found, simulated
from tests.storage import grid

POINTS = grid.points(grid.FULL)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def test_everything_that_is_not_finished_is_ranked_once() -> None:
    losses = simulated(0)
    names = list(POINTS)
    for count in (0, 5, SPREAD, 40):
        finished = {name: losses[name] for name in names[::11][:count]}
        order = smart_order(POINTS, finished, seed=3, lower_is_better=True)
        assert sorted([*order, *finished]) == sorted(names)
        assert order == smart_order(POINTS, finished, seed=3, lower_is_better=True), "the same each time"
    everything = smart_order(POINTS, losses, seed=3, lower_is_better=True)
    assert everything == []


def test_the_first_ones_look_at_every_value_of_every_setting() -> None:
    finished: dict[str, float] = {}
    for _ in range(SPREAD):
        (first, *_) = smart_order(POINTS, finished, seed=1, lower_is_better=True)
        finished[first] = 1.0
    for setting, values in grid.FULL.items():
        seen = [POINTS[name][setting] for name in finished]
        assert all(seen.count(value) >= SPREAD // len(values) - 1 for value in values), (setting, seen)


def test_higher_is_better_turns_it_round() -> None:
    """One setting decides: what is best is asked for next, in both directions."""
    worth = {name: float(point["training.batch_size"]) for name, point in POINTS.items()}
    finished = {name: worth[name] for name in list(POINTS)[::36]}
    for lower, batch in ((True, 8), (False, 32)):
        order = smart_order(POINTS, finished, seed=0, lower_is_better=lower)
        assert [POINTS[name]["training.batch_size"] for name in order[1:20]] == [batch] * 19


def test_what_is_no_number_and_what_is_no_candidate_tell_nothing() -> None:
    points = grid.points(grid.SMALL)
    finished = dict.fromkeys(list(points)[:3], float("nan")) | {"a trial of another grid": 0.1}
    assert sorted(smart_order(points, finished, seed=0, lower_is_better=True)) == sorted(list(points)[3:])
    assert smart_order({"only": {"lr": 1}}, {}, seed=0, lower_is_better=True) == ["only"]
    assert smart_order({}, {}, seed=0, lower_is_better=True) == []
    mixed = {f"t{number}": {"a": value, "b": None} for number, value in enumerate((1, "x", None, True, 2.5))}
    assert sorted(smart_order(mixed, {"t0": 1.0}, seed=0, lower_is_better=True)) == ["t1", "t2", "t3", "t4"]


def test_results_that_are_all_alike_or_far_apart_break_nothing() -> None:
    tried = list(POINTS)[::40]
    for values in ([0.5] * len(tried), [1e30] * (len(tried) - 1) + [1e-30]):
        order = smart_order(POINTS, dict(zip(tried, values, strict=True)), seed=0, lower_is_better=True)
        assert len(order) == len(POINTS) - len(tried)


def test_a_call_is_quick_however_many_are_finished() -> None:
    losses = simulated(0)
    smart_order(POINTS, dict(list(losses.items())[:20]), seed=0, lower_is_better=True)  # imports
    finished = dict(list(losses.items())[: 4 * TOLD])
    begun = time.perf_counter()
    assert len(smart_order(POINTS, finished, seed=0, lower_is_better=True)) == len(losses) - 4 * TOLD
    assert time.perf_counter() - begun < 2


@pytest.mark.slow
def test_the_best_is_found_in_the_first_twentieth() -> None:
    """Over 20 seeds it is `python -m tests.benchmarks.ordering`."""
    losses = simulated(0)
    places = [rank_found(losses, POINTS, seed)[0] for seed in range(3)]
    drawn = [rank_at_random(losses, seed) for seed in range(200)]
    print(places, statistics.median(drawn))
    assert statistics.median(places) <= 0.01 * len(losses) < statistics.median(drawn)
