"""Which point of a grid next: ranked by what the finished ones tell, so that the best is usually found early.

The first are spread over the grid. Then optuna's Gaussian process, which finds out which settings matter, says where
most is to be gained. It is told the results anew each time: nothing of it is kept.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

SPREAD = 12
"""Finished trials from which on the results decide; before that the grid is looked at evenly."""

TOLD = 200
"""Results that the process is told at most."""


def smart_order(
    candidates: Mapping[str, Mapping[str, Any]], finished: Mapping[str, float], *, seed: int, lower_is_better: bool
) -> list[str]:
    """The candidates that are not finished, the most promising first. The same for the same `seed` and results.

    `candidates` maps every trial of the grid to its settings, `finished` those that have a result to it.
    """
    names = list(candidates)
    points, counts = _coded([candidates[name] for name in names])
    place = {name: number for number, name in enumerate(names)}
    told = [name for name in finished if name in place and np.isfinite(finished[name])]
    costs = np.array([finished[name] if lower_is_better else -finished[name] for name in told], dtype=float)
    tried = [place[name] for name in told]
    left = [number for number, name in enumerate(names) if name not in finished]
    if len(told) < SPREAD or not points.shape[1]:
        return [names[number] for number in _spread(points, tried, left, seed)]
    ranked = _by_effects(points, counts, tried, costs, left)
    first = _suggested(points, counts, tried, costs, ranked, seed)
    return [names[number] for number in dict.fromkeys([*first, *ranked])]


def _coded(settings: Sequence[Mapping[str, Any]]) -> tuple[np.ndarray, list[int]]:
    """Each setting that differs as a column of places among its values (in order), and how many values it has."""
    columns, counts = [], []
    for setting in dict.fromkeys(name for said in settings for name in said):
        values = [said.get(setting) for said in settings]
        known = sorted(set(map(repr, values)), key=lambda text: _order(text, values))
        if len(known) > 1:
            code = {text: number for number, text in enumerate(known)}
            columns.append([code[repr(value)] for value in values])
            counts.append(len(known))
    return np.array(columns, dtype=int).T.reshape(len(settings), len(columns)), counts


def _order(text: str, values: Sequence[Any]) -> tuple[float, str]:
    """Numbers by size, all else by name."""
    value = next(value for value in values if repr(value) == text)
    return (float(value), "") if isinstance(value, int | float) else (0.0, text)


def _spread(points: np.ndarray, tried: Sequence[int], left: Sequence[int], seed: int) -> list[int]:
    """Every next point has the values that were looked at least; what comes after the first few is in no order."""
    generator = np.random.default_rng(seed)
    order, rest = list(tried), [int(number) for number in generator.permutation(left)]
    width = points.shape[1]
    used = [np.zeros(points.max(initial=0) + 1) for _ in range(width)]
    for number in order:
        for setting in range(width):
            used[setting][points[number, setting]] += 1
    found: list[int] = []
    while rest and len(found) < SPREAD:
        load = sum(used[setting][points[rest, setting]] for setting in range(width)) if width else np.zeros(len(rest))
        pick = rest.pop(int(np.argmin(load)))
        found.append(pick)
        for setting in range(width):
            used[setting][points[pick, setting]] += 1
    return [*found, *rest]


def _by_effects(
    points: np.ndarray, counts: Sequence[int], tried: Sequence[int], costs: np.ndarray, left: Sequence[int]
) -> list[int]:
    """What is left by the sum of what each of its values does by itself (ridge regression on ranks)."""
    coded = np.concatenate([np.eye(count)[points[:, setting]] for setting, count in enumerate(counts)], axis=1)
    ranks = np.argsort(np.argsort(costs)) / max(len(costs) - 1, 1) - 0.5
    own = coded[list(tried)]
    effects = np.linalg.solve(own.T @ own + np.eye(own.shape[1]), own.T @ ranks)
    expected = coded[list(left)] @ effects
    return [left[number] for number in np.argsort(expected, kind="stable")]


def _suggested(
    points: np.ndarray, counts: Sequence[int], tried: Sequence[int], costs: np.ndarray, left: Sequence[int], seed: int
) -> list[int]:
    """The one among `left` that optuna suggests; none where it suggests one that is finished."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)  # where results are alike it warns, and goes on
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = optuna.samplers.GPSampler(seed=seed + len(tried), n_startup_trials=1, deterministic_objective=True)
    study = optuna.create_study(sampler=sampler)
    space: dict[str, optuna.distributions.BaseDistribution] = {
        str(setting): optuna.distributions.IntDistribution(0, count - 1)
        if count > 2
        else optuna.distributions.CategoricalDistribution((0, 1))
        for setting, count in enumerate(counts)
    }
    for number in _telling(costs, seed):
        params = {str(setting): int(value) for setting, value in enumerate(points[tried[number]])}
        study.add_trial(optuna.trial.create_trial(params=params, distributions=space, value=float(costs[number])))
    with _one_thread():
        asked = study.ask(space).params
    wanted = [asked[str(setting)] for setting in range(len(counts))]
    return [number for number in left if list(points[number]) == wanted][:1]


@contextmanager
def _one_thread() -> Iterator[None]:
    """Matrices this small are computed many times slower by two threads, where something else is computing too."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _telling(costs: np.ndarray, seed: int) -> list[int]:
    """All results; of more than `TOLD` the best and some of the others, for the process costs their number cubed."""
    by_cost = [int(number) for number in np.argsort(costs, kind="stable")]
    if len(by_cost) <= TOLD:
        return by_cost
    best, rest = by_cost[: TOLD // 2], by_cost[TOLD // 2 :]
    others = np.random.default_rng(seed).choice(rest, TOLD - len(best), replace=False)
    return [*best, *(int(number) for number in others)]
