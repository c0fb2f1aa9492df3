"""How soon the best of the grid is found: `python -m tests.benchmarks.ordering [FILE]`.

The grid of 864 was trained for real by `python -m tests.benchmarks.stage_tree --record FILE`; without a FILE it is the
one that is kept here. `simulated` stands for a grid whose losses are made up.
"""

from __future__ import annotations

import csv
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ml.studies.ordering import smart_order
from tests.storage import grid

KEPT = Path(__file__).with_name("grid_of_864.txt")
"""First line: the different losses; second: for every point, in the order of the grid, which of them it came to."""

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


def kept() -> dict[str, float]:
    """The losses of the grid that was trained for real."""
    losses, which = KEPT.read_text(encoding="utf-8").splitlines()
    known = [float(loss) for loss in losses.split()]
    return {name: known[int(place)] for name, place in zip(grid.points(grid.FULL), which.split(), strict=True)}


def keep(losses: Mapping[str, float]) -> None:
    """Writes what `kept` reads."""
    known = sorted(set(losses.values()))
    which = [str(known.index(losses[name])) for name in grid.points(grid.FULL)]
    KEPT.write_text(f"{' '.join(f'{loss:.9g}' for loss in known)}\n{' '.join(which)}\n", encoding="utf-8")


@dataclass(frozen=True)
class Search:
    """What running the first twentieth of a grid came to."""

    place: int
    """Of the best that was found among all; 1: nothing is better."""
    needed: int | None
    """Trials until the best of all was found; None: it was not."""
    longest: float
    """Seconds of the slowest call."""


def search(losses: Mapping[str, float], points: Mapping[str, Mapping[str, Any]], seed: int) -> Search:
    """Runs a twentieth of the grid, always the trial that is said to be next."""
    finished: dict[str, float] = {}
    needed, longest, best = None, 0.0, min(losses.values())
    for number in range(1, round(SHARE * len(losses)) + 1):
        begun = time.perf_counter()
        (first, *_) = smart_order(points, finished, seed=seed, lower_is_better=True)
        longest = max(longest, time.perf_counter() - begun)
        finished[first] = losses[first]
        if needed is None and losses[first] == best:
            needed = number
    return Search(_place(losses, min(finished.values())), needed, longest)


def search_at_random(losses: Mapping[str, float], seed: int) -> Search:
    """The same with as many trials drawn at random."""
    values = np.random.default_rng(seed).permutation(list(losses.values()))[: round(SHARE * len(losses))]
    hits = np.flatnonzero(values == min(losses.values()))
    return Search(_place(losses, float(values.min())), int(hits[0]) + 1 if len(hits) else None, 0.0)


def _place(losses: Mapping[str, float], value: float) -> int:
    return 1 + sum(bool(other < value) for other in losses.values())


def main(file: str | None = None, seeds: int = 20) -> float:
    """Prints the median places; the share of the grid within which the median of the smart order lies."""
    losses = simulated(0) if file == "simulated" else recorded(Path(file)) if file else kept()
    points = {name: point for name, point in grid.points(grid.FULL).items() if name in losses}
    losses = {name: losses[name] for name in points}
    assert len(losses) > 100, f"{file}: only {len(losses)} of its names are points of the grid"
    values = sorted(losses.values())
    run = round(SHARE * len(losses))
    print(
        f"{len(losses)} trials, {len(set(values))} different results; {values.count(values[0])} trials share the best"
    )
    print(f"the best of the first {run}: its place among all, in {seeds} (random: 1000) seeds")
    found = [search(losses, points, seed) for seed in range(seeds)]
    _tell("smart order", found, len(losses), run)
    _tell("random order", [search_at_random(losses, seed) for seed in range(1000)], len(losses), run)
    print(f"longest call {max(one.longest for one in found):.2f} s")
    return statistics.median(one.place for one in found) / len(losses)


def _tell(name: str, found: Sequence[Search], trials: int, run: int) -> None:
    places = [one.place for one in found]
    median = statistics.median(places)
    missed = sum(one.needed is None for one in found)
    needed = statistics.median(one.needed or run + 1 for one in found)
    print(
        f"{name:<13} median place {median:.0f} (top {100 * median / trials:.2f} %), "
        f"mean {statistics.mean(places):.1f}, worst {max(places)}; "
        f"best of all found after {needed:.0f} trials (median), in {100 * missed / len(found):.0f} % not at all"
    )


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else None)
