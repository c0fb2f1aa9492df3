"""The order in which a grid is run: complete, repeatable, quick, and soon at the best."""

from __future__ import annotations

import statistics
import time

import pytest

from ml.studies.ordering import SPREAD, TOLD, smart_order
from tests.benchmarks.ordering import kept, search, search_at_random, simulated
from tests.storage import grid

POINTS = grid.points(grid.FULL)


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
    begun = time.process_time()  # it computes in one thread, whatever else goes on here
    assert len(smart_order(POINTS, finished, seed=0, lower_is_better=True)) == len(losses) - 4 * TOLD
    assert time.process_time() - begun < 2


@pytest.mark.slow
@pytest.mark.parametrize("losses", [kept(), simulated(0)], ids=["trained", "simulated"])
def test_the_best_is_found_in_the_first_twentieth(losses: dict[str, float]) -> None:
    """Over 20 seeds it is `python -m tests.benchmarks.ordering`."""
    found = [search(losses, POINTS, seed) for seed in range(2)]
    drawn = [search_at_random(losses, seed) for seed in range(300)]
    print([(one.place, one.needed) for one in found])
    assert statistics.median(one.place for one in found) <= 0.01 * len(losses)
    assert statistics.mean(one.place for one in found) <= statistics.mean(one.place for one in drawn)


def test_the_grid_that_is_kept_was_trained() -> None:
    losses = kept()
    assert list(losses) == list(POINTS) and 24 <= len(set(losses.values())) < 100
