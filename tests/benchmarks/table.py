"""What the benchmarks of training share: a table with bounds, and times that a busy neighbour hardly moves."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass
class Table:
    """What was measured so far, and whether all bounds were met."""

    missed: int = 0

    def row(self, what: str, value: float, unit: str, bound: float | None, at_least: bool = True) -> None:
        said = ""
        if bound is not None:
            met = value >= bound if at_least else value <= bound
            self.missed += not met
            said = f"{'at least' if at_least else 'at most'} {bound:g}  {'met' if met else 'NOT MET'}"
        print(f"  {what:<66} {value:8.3g} {unit:<6} {said}", flush=True)


def medians(candidates: Sequence[Callable[[], Any]], rounds: int) -> list[float]:
    """Median processor seconds of each, in turns, so that a burst elsewhere hits all alike; the first one warms up."""
    seconds: list[list[float]] = [[] for _ in candidates]
    for turn in range(rounds + 1):
        for candidate, own in zip(candidates, seconds, strict=True):
            began = time.process_time()
            candidate()
            if turn:
                own.append(time.process_time() - began)
    return [statistics.median(own) for own in seconds]
