"""How soon the best of the grid is found: `python -m tests.benchmarks.ordering [FILE]`.

FILE is a recorded grid of 864, one line `name,loss` per trial; without it the grid is simulated.
"""

from __future__ import annotations

import csv
import statistics
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ml.studies.ordering import smart_order
from tests.storage import grid

SHARE = 0.05
"""Of the trials that are run."""


def simulated(seed: int) -> dict[str, float]:
    """Best validation loss of every point of the grid of 864."""
    return {name: min(grid.curve(point, seed)[1]) for name, point in grid.points(grid.FULL).items()}


def recorded(path: Path) -> dict[str, float]:
    """The losses in a file of lines `name,loss`; a head and trials without a number are passed over."""
    losses = {}
    for row in csv.reader(path.read_text(encoding="utf-8").splitlines()):
        try:
            losses[row[0]] = float(row[-1])
        except (ValueError, IndexError):
            continue
    return losses


def rank_found(losses: Mapping[str, float], points: Mapping[str, Mapping[str, Any]], seed: int) -> tuple[int, float]:
    """Place of the best of the first twentieth among all (1: nothing is better), and the longest call in seconds."""
    finished: dict[str, float] = {}
    longest = 0.0
    for _ in range(round(SHARE * len(losses))):
        begun = time.perf_counter()
        (first, *_) = smart_order(points, finished, seed=seed, lower_is_better=True)
        longest = max(longest, time.perf_counter() - begun)
        finished[first] = losses[first]
    return _place(losses, min(finished.values())), longest


def rank_at_random(losses: Mapping[str, float], seed: int) -> int:
    """The same for as many trials drawn at random."""
    values = np.array(list(losses.values()))
    return _place(losses, float(np.random.default_rng(seed).choice(values, round(SHARE * len(values)), False).min()))


def _place(losses: Mapping[str, float], value: float) -> int:
    return 1 + sum(bool(other < value) for other in losses.values())


def main(file: str | None = None, seeds: int = 20) -> float:
    """Prints the median places; the share of the grid within which the median of the smart order lies."""
    losses = recorded(Path(file)) if file else simulated(0)
    points = {name: point for name, point in grid.points(grid.FULL).items() if name in losses}
    losses = {name: losses[name] for name in points}
    assert len(losses) > 100, f"{file}: only {len(losses)} of its names are points of the grid"
    values = sorted(losses.values())
    found = [rank_found(losses, points, seed) for seed in range(seeds)]
    places = [place for place, _ in found]
    drawn = [rank_at_random(losses, seed) for seed in range(1000)]
    median = statistics.median(places)
    print(f"{len(losses)} trials, {len(set(values))} different results, {values.count(values[0])} share the best")
    print(f"best of {round(SHARE * len(losses))} trials, place among all, {seeds} seeds: {sorted(places)}")
    print(f"smart order: median place {median:.0f} (top {100 * median / len(losses):.2f} %)")
    print(f"random order: median place {statistics.median(drawn):.0f}, mean {statistics.mean(drawn):.1f}; "
          f"smart: mean {statistics.mean(places):.1f}")  # fmt: skip
    print(f"loss of the median: smart {values[int(median) - 1]:.6f}, "
          f"random {values[int(statistics.median(drawn)) - 1]:.6f}, best {values[0]:.6f}")  # fmt: skip
    print(f"longest call {max(seconds for _, seconds in found):.2f} s")
    return median / len(losses)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else None)
