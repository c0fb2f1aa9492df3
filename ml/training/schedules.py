"""Learning rates that change within an epoch: pure functions of the step, so that they are part of a state's key.

OneCycle (Smith, Topin: Super-convergence, 2018) as torch's OneCycleLR computes it by default, to the last bit: the rate
rises on a cosine from a 25th of its maximum, falls on another to almost nothing, and beta1 runs against it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

BEGINNING, END = 25.0, 1e4
"""The first rate is the maximum divided by the one, the last rate is the first divided by the other."""
MOST, LEAST = 0.95, 0.85
"""Beta1 where the rate is lowest and where it is highest."""


class Pace(NamedTuple):
    """What holds for one optimizer step."""

    rate: float
    beta1: float | None
    """AdamW's beta1, SGD's momentum; None leaves it as it is."""


def onecycle(step: int, *, max: float, pct_start: float, total_steps: int) -> Pace:
    """The pace of `step` (0-based) of `total_steps`; the rate is at its `max` after the share `pct_start` of them."""
    if not 0 <= step < total_steps:
        raise ValueError(f"step {step + 1} of a OneCycle schedule over {total_steps} steps: there is no such step")
    if not 0 <= pct_start <= 1:
        raise ValueError(f"pct_start is {pct_start}: the share of the steps in which the rate rises, from 0 to 1")
    first = max / BEGINNING
    top, last = pct_start * total_steps - 1, total_steps - 1
    if step <= top or top == last:
        share = step / top if top else 1.0
        return Pace(_cosine(first, max, share), _cosine(MOST, LEAST, share))
    share = (step - top) / (last - top)
    return Pace(_cosine(max, first / END, share), _cosine(LEAST, MOST, share))


def pace(said: float | dict[str, dict[str, Any]], step: int) -> Pace:
    """What `settings["lr"]` means for the optimizer step `step` (0-based) of the epoch."""
    if not isinstance(said, dict):
        return Pace(said, None)
    if list(said) != ["onecycle"]:
        raise ValueError(f"the schedule is {', '.join(said) or 'empty'}; onecycle is the one that is known")
    cycle = dict(said["onecycle"])
    return onecycle(cycle.pop("first_step") + step, **cycle)


def set_pace(groups: Sequence[dict[str, Any]], said: float | dict[str, dict[str, Any]], step: int) -> None:
    """Gives the parameter groups of an optimizer the pace of the epoch's optimizer step `step` (0-based)."""
    rate, beta1 = pace(said, step)
    for group in groups:
        group["lr"] = rate
        if beta1 is None:
            continue
        if "betas" in group:
            group["betas"] = (beta1, *group["betas"][1:])
        elif "momentum" in group:
            group["momentum"] = beta1


def rate_at_end(said: float | dict[str, dict[str, Any]], items: int, batch: int) -> float:
    """The learning rate of the last step of an epoch over `items` that were trained in batches of `batch`."""
    return pace(said, max(0, -(-items // batch) - 1)).rate


def _cosine(start: float, end: float, share: float) -> float:
    """From `start` (share 0) to `end` (share 1) along half a cosine."""
    return end + (start - end) / 2.0 * (math.cos(math.pi * share) + 1)
