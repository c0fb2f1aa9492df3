"""What nobody needs any more goes: all of it when a person says so, as much as is wanted when room is scarce.

Never touched are records, reports, sources, and what a person wrote or collected; what a process works on, or built
within the last hour; and everything of a study of which it cannot be told now what it needs.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from filelock import FileLock, Timeout

from ml.studies.registry import ALL_STUDIES
from orchestration.asking import size
from orchestration.failures import sentence
from orchestration.nights.lab_nights import NightsOfLab, nights_of_lab
from orchestration.nights.unneeded import KINDS, Leftover, unneeded
from orchestration.nights.wanted import running
from orchestration.plan import free_bytes
from orchestration.resources import Bench

COUNTED = ("states", "features")
"""What the budget of a lab is about."""

LOOK_SECONDS = 2.0
"""So often it is asked again whether a trial was begun meanwhile."""


class AlreadyCleaning(RuntimeError):
    """Another process is cleaning this lab now."""


@dataclass(frozen=True)
class Cleaned:
    """What a cleaning came to."""

    number: int = 0
    bytes: int = 0
    busy: int = 0
    """Things on which somebody worked at that moment: they stay."""
    problems: tuple[str, ...] = ()
    """What could not be removed, and why."""


def clean(bench: Bench, found: Iterable[Leftover], enough: Callable[[], bool] = lambda: False) -> Cleaned:
    """Removes what was found, in that order, until it is `enough`.

    Killed in the middle, it leaves whole what it has not come to. Raises `AlreadyCleaning`.
    """
    number = taken = busy = 0
    problems = []
    try:
        held = FileLock(bench.lab.locks / "cleaning.lock", timeout=0).acquire()
    except Timeout:
        raise AlreadyCleaning("another process is cleaning this lab now, and removes the same") from None
    begun = _Begun(bench)
    with held:
        for one in found:
            if enough():
                break
            try:
                gone = not begun(one.study) and one.remove()
            except Exception as problem:  # what cannot go stays, and the rest goes all the same
                problems.append(f"{one.kind}: {sentence(problem)}")
                continue
            number, taken, busy = number + one.number * gone, taken + one.bytes * gone, busy + one.number * (not gone)
    return Cleaned(number, taken, busy, tuple(problems))


def make_room(bench: Bench, now: dt.datetime, say: Callable[[str], None], budget_bytes: int | None = None) -> Cleaned:
    """Where states and features take more than the lab's budget, or less of its disk is free than is to be left: what
    nobody needs goes, the oldest first, and then states from which finished trials would go on, until it is enough.

    Costs a moment where there is room. Whatever goes wrong is said and costs nobody his night.
    """
    try:
        rules = nights_of_lab(bench.lab)
        budget = rules.budget_bytes if budget_bytes is None else budget_bytes
        if not (wanting := _wanting(bench, rules, budget)):
            return Cleaned()
        say(f"{wanting}: making room")
        found = unneeded(bench, now, runs=False)
        nobodys = _clean_oldest(bench, found.leftovers, lambda: not _wanting(bench, rules, budget))
        spared = _clean_oldest(bench, found.spared, lambda: not _wanting(bench, rules, budget))
        say(f"removed {size(nobodys.bytes)} that nobody needs")
        if spared.number:
            say(f"removed {size(spared.bytes)} from which finished trials would have gone on with more epochs")
        if left := _wanting(bench, rules, budget):
            say(f"still {left}: all else is needed or in use")
        return Cleaned(nobodys.number + spared.number, nobodys.bytes + spared.bytes, nobodys.busy + spared.busy)
    except Exception as problem:
        say(f"no room could be made: {sentence(problem)}")
        return Cleaned()


def oldest_first(found: Iterable[Leftover]) -> list[Leftover]:
    """What takes room of it, in the order in which it goes when room is wanted."""
    return sorted((one for one in found if one.bytes), key=lambda one: one.since)


def _clean_oldest(bench: Bench, found: Iterable[Leftover], enough: Callable[[], bool]) -> Cleaned:
    return Cleaned() if enough() else clean(bench, oldest_first(found), enough)


def used_bytes(bench: Bench) -> dict[str, int]:
    """Bytes of everything that was built in the lab, by kind."""
    return {kind: bench.shelf(kind).bytes() for kind in KINDS}


def _wanting(bench: Bench, rules: NightsOfLab, budget: int | None) -> str:
    """What there is too much or too little of, in words; "" where there is room."""
    free = free_bytes(bench.lab.root)
    if free < rules.keep_free_bytes:
        return f"{size(free)} are free on the lab's disk, {size(rules.keep_free_bytes)} are to be left free"
    if budget is not None and (used := sum(bench.shelf(kind).bytes() for kind in COUNTED)) > budget:
        return f"states and features take {size(used)}, more than the {size(budget)} of the budget"
    return ""


class _Begun:
    """Has a trial of a study been begun since it was looked at? Asked now and then: it takes a look at every lock."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._said: dict[str, tuple[float, bool]] = {}

    def __call__(self, name: str) -> bool:
        asked, said = self._said.get(name, (-LOOK_SECONDS, False))
        if time.monotonic() - asked >= LOOK_SECONDS:
            study = next((study for study in ALL_STUDIES if study.name == name), None)
            said = study is not None and bool(running(self._bench, study))
            self._said[name] = time.monotonic(), said
        return said
