"""How much each setting of a grid decides: the variance of what trials reach, divided among settings and their pairs.

Over a whole grid the division is exact (Sobol 1993, functional ANOVA). Where points are missing a random forest, fitted
to the trials there are, fills them in (Hutter, Hoos and Leyton-Brown 2014).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

COLUMNS = ("setting", "main", "total", "partner", "together", "trials", "whole")

ENOUGH = 8
"""Trials below which nothing is said."""

COVERED = 0.9
"""Share of the points of a grid that have a trial, from which on odd values of a few other trials are left aside."""

RARE = 0.5
"""A value is rare that so few trials have, beside what each value of its setting has on average."""

APART = 0.5
"""Share of its points that a grid has at least, where trials are told apart as those of several grids."""

LARGEST = 50_000
"""Points of a grid that are computed at most."""


def importance(points: Sequence[Mapping[str, Any]], values: Sequence[float]) -> pd.DataFrame:
    """Shares (0 to 1) of the variance of `values` that each setting decides, the largest total first.

    `points` are the settings of the trials, dotted name to value. Columns: setting; main, by itself; total, with all
    that it takes part in; partner and together, the other setting of its largest interaction and the share of that
    pair beyond both alone; trials that it rests on; whole, whether they fill the grid and the shares are exact.
    Empty where there are too few trials, where they do not differ, or where they fill too little of their grid.
    """
    grid = _grid(points, np.asarray(values, dtype=float))
    if grid is None:
        return pd.DataFrame(columns=list(COLUMNS))
    filled = np.where(grid.counts > 0, grid.sums / np.maximum(grid.counts, 1), np.nan)
    complete = not np.isnan(filled).any()
    if not complete:
        filled = _filled_in(filled)
    rows = _shares(filled, grid.settings)
    frame = pd.DataFrame(rows, columns=list(COLUMNS[:5])).assign(trials=int(grid.counts.sum()), whole=complete)
    return frame.sort_values(["total", "main"], ascending=False, kind="stable", ignore_index=True)


def weighed(points: Sequence[Mapping[str, Any]], values: Sequence[float]) -> np.ndarray | None:
    """Which trials the importance rests on; None where nothing is said."""
    grid = _grid(points, np.asarray(values, dtype=float))
    return None if grid is None else grid.kept


def whole(points: Sequence[Mapping[str, Any]]) -> bool:
    """Whether these trials are, but for a few that are missing, a whole grid."""
    return _share(_table(points)) >= COVERED


def several_grids(points: Sequence[Mapping[str, Any]]) -> list[np.ndarray]:
    """Which trials are of which grid, where they are of several that share too few values to be one; else none.

    The grids are told apart by a setting that has other values in each. Its values came with other settings changed
    too, so that over all trials no mean is the doing of one setting.
    """
    return _several(_table(points))


@dataclass(frozen=True)
class _Grid:
    """The results of trials, laid out with an axis for every setting."""

    kept: np.ndarray
    settings: list[str]
    sums: np.ndarray
    counts: np.ndarray


def _grid(points: Sequence[Mapping[str, Any]], values: np.ndarray) -> _Grid | None:
    """All trials in their grid; without those of rare values where the others nearly fill one of their own."""
    known = np.isfinite(values)
    table = _table(points)[known]
    kept = _nearly_whole(table)
    if kept.all() and _several(table):
        return None
    table, values = table[kept], values[known][kept]
    levels = _levels(table)
    needed = max(ENOUGH, 2 * sum(len(known) - 1 for known in levels.values()))
    if not levels or len(table) < needed or _size(levels) > LARGEST or np.ptp(values) == 0:
        return None
    shape = tuple(len(known) for known in levels.values())
    places = tuple(np.array([known.index(value) for value in table[name]]) for name, known in levels.items())
    sums, counts = np.zeros(shape), np.zeros(shape)
    np.add.at(sums, places, values)
    np.add.at(counts, places, 1)
    known[known] = kept
    return _Grid(known, list(levels), sums, counts)


def _table(points: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """One row for each trial, one column for each setting."""
    return pd.DataFrame([{name: repr(value) for name, value in point.items()} for point in points])


def _nearly_whole(table: pd.DataFrame) -> np.ndarray:
    """Which trials to use: all, or at least half of them that fill a smaller grid, without those of rare values."""
    kept = np.ones(len(table), dtype=bool)
    while kept.any() and kept.sum() * 2 >= len(table):
        own = table[kept]
        levels = _levels(own)
        if _share(own) >= COVERED:
            return kept
        rare = [
            (count, name, value)
            for name, known in levels.items()
            for value in known
            if (count := int((own[name] == value).sum())) < RARE * len(own) / len(known)
        ]
        if not rare:
            break
        _, name, value = min(rare)
        kept = kept & (table[name] != value).to_numpy()
    return np.ones(len(table), dtype=bool)


def _several(table: pd.DataFrame) -> list[np.ndarray]:
    """The fewest grids that one setting tells apart, each with more than a single trial."""
    found: list[np.ndarray] = []
    if _share(table) >= APART:
        return found
    for name, known in _levels(table).items():
        parts = [(table[name] == value).to_numpy() for value in known]
        fewer = not found or len(parts) < len(found)
        if fewer and sum(parts).all() and all(part.sum() > 1 and _share(table[part]) >= APART for part in parts):
            found = parts
    return found


def _share(table: pd.DataFrame) -> float:
    """Share of the points of the grid of all values that have a trial."""
    return len(table.drop_duplicates()) / _size(_levels(table))


def _levels(table: pd.DataFrame) -> dict[str, list[str]]:
    """Every setting that differs, and its values: numbers by size."""
    found = {}
    for name in table.columns:
        known = sorted(set(table[name].dropna()), key=_by_size)
        if len(known) > 1:
            found[str(name)] = known
    return found


def _by_size(text: str) -> tuple[int, float, str]:
    try:
        return (0, float(text), "")
    except ValueError:
        return (1, 0.0, text)


def _size(levels: Mapping[str, Sequence[str]]) -> int:
    size = 1
    for known in levels.values():
        size *= len(known)
    return size


def _filled_in(results: np.ndarray) -> np.ndarray:
    """Missing points as a forest of the others sees them."""
    from sklearn.ensemble import RandomForestRegressor

    there = ~np.isnan(results)
    forest = RandomForestRegressor(n_estimators=200, max_features=0.7, random_state=0, n_jobs=1)
    forest.fit(np.argwhere(there), results[there])
    filled = results.copy()
    if (~there).any():
        filled[~there] = forest.predict(np.argwhere(~there))
    return filled


def _shares(results: np.ndarray, settings: Sequence[str]) -> list[tuple[str, float, float, str | None, float]]:
    """Setting, main, total, partner, together; of the variance of `results`, which has an axis for every setting."""
    everything = results.var()
    axes = range(results.ndim)

    def decided_by(*kept: int) -> float:
        """Share of the variance that is there when all else is averaged out."""
        return float(results.mean(axis=tuple(axis for axis in axes if axis not in kept)).var() / everything)

    main = [decided_by(axis) for axis in axes]
    total = [1.0 - decided_by(*(other for other in axes if other != axis)) for axis in axes]
    pairs = {(one, other): decided_by(one, other) - main[one] - main[other] for one, other in combinations(axes, 2)}
    rows = []
    for axis in axes:
        own = {other: share for pair, share in pairs.items() if axis in pair for other in pair if other != axis}
        partner = max(own, key=own.__getitem__) if own else None
        together = max(own[partner], 0.0) if partner is not None else 0.0
        rows.append((settings[axis], main[axis], total[axis], None if partner is None else settings[partner], together))
    return rows
