"""Nights in which something goes wrong: each is lived through to the morning, and looked at as a stranger would."""

from __future__ import annotations

import random
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.faults.faults import (
    BEFORE_THE_NIGHT,
    FAULTS,
    ON_A_DISK_OF_ITS_OWN,
    ONCE_A_NIGHT,
    Fault,
    Night,
    TooLate,
    calm,
    own_disk,
)
from tests.faults.house import House, house_at
from tests.faults.invariants import Before, Counts, before, breaches, settle

DONE_SECONDS = 420.0
"""Within this time all trials of a night are done, whatever goes wrong in it."""


@dataclass
class Lived:
    """What a night came to."""

    fault: str
    seed: int
    seconds: float
    """From its beginning to its last trial."""
    told: list[str]
    breaches: list[str]
    counts: Counts


@dataclass
class Outcome:
    """What the nights with one fault came to."""

    fault: str
    nights: list[Lived] = field(default_factory=list)
    counts: Counts = field(default_factory=Counts)

    def add(self, lived: Lived) -> None:
        self.nights.append(lived)
        self.counts += lived.counts

    @property
    def broken(self) -> list[Lived]:
        return [night for night in self.nights if night.breaches]

    def __str__(self) -> str:
        took = [night.seconds for night in self.nights]
        return (
            f"{self.fault:<11} {len(self.nights) - len(self.broken)} of {len(self.nights)} nights whole; a night took "
            f"{statistics.median(took):.0f} s, at most {max(took):.0f}; {self.counts}"
        )


def campaign(
    faults: Sequence[str], seed: int, times: int, strikes: int = 1, say: Callable[[str], None] = print
) -> Iterator[Outcome]:
    """So many nights with each fault, in one house, with the seeds from `seed` on; the fault strikes so often in each
    night that has room for it."""
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))) / "place"
        if ON_A_DISK_OF_ITS_OWN.intersection(faults):
            place = stack.enter_context(own_disk(place))
        house = stack.enter_context(house_at(place / "house", trials=2 + strikes, attempts=5 * strikes))
        live(house, "calm", seed, calm)  # what is done in a lab for the first time takes longer
        first = live(house, "calm", seed + 1, calm)
        _tell(first, strikes, say)
        if first.breaches:
            yield Outcome("calm", [first], first.counts)
            return
        for fault in faults:
            say(f"{fault}: {(FAULTS[fault].__doc__ or '').strip()}")
            outcome, often = Outcome(fault), 1 if fault in ONCE_A_NIGHT else strikes
            for number in range(times):
                lived = live(house, fault, seed + number, FAULTS[fault], often)
                outcome.add(lived)
                _tell(lived, often, say)
            yield outcome


def live(house: House, name: str, seed: int, fault: Fault, strikes: int = 1) -> Lived:
    """One night with new work, until its morning."""
    rng, counts = random.Random(f"{name} {seed}"), Counts(nights=1)
    if house.up.poll() is not None:  # the night before ended badly
        house.start()
    house.new_work()
    since = before(house)
    told: list[str] = []
    with ExitStack() as until_the_end:
        night = Night(house, rng, house.epochs * (house.trials - 1) // strikes, until_the_end)
        if name in BEFORE_THE_NIGHT:
            fault(night)
            night.strikes += 1
        house.next_evening()
        began = time.monotonic()
        try:
            with suppress(TooLate):
                for _ in range(0 if name in BEFORE_THE_NIGHT else strikes):
                    fault(night)
                    night.strikes += 1
            wanted = set(house.names) - night.poisoned
            house.wait_for(lambda: house.finished() >= wanted, DONE_SECONDS, f"{wanted} are done")
            seconds = time.monotonic() - began
            if night.poisoned:
                house.wait_for(lambda: _given_up(house, since, night.poisoned), DONE_SECONDS, "the poison is given up")
        except (AssertionError, psutil.Error, subprocess.TimeoutExpired) as problem:
            told = [str(problem) or repr(problem)]
            seconds = time.monotonic() - began
    house.ring()
    told += settle(house)
    told += breaches(house, since, counts, frozenset(night.poisoned))
    counts.killed, counts.strikes = night.killed, night.strikes
    runs = house.runs()
    counts.runs, counts.retries = len(runs), sum(run.run.parent_run_id is not None for run in runs)
    return Lived(name, seed, seconds, night.told, told, counts)


def _given_up(house: House, since: Before, names: set[str]) -> bool:
    """In this night; a record of an earlier one may say so too."""
    latest = [house.bench.records.latest("concert", name) for name in names]
    new = [one for one in latest if one is not None and one.number > since.attempts[one.trial]]
    return len(new) == len(names) and all("given up for tonight" in str(one.account.get("error")) for one in new)


def _tell(lived: Lived, strikes: int, say: Callable[[str], None]) -> None:
    what = "; ".join(lived.told)
    say(f"{lived.fault} --seed {lived.seed}: {lived.seconds:.0f} s{f' ({what})' if what else ''}; {lived.counts}")
    for breach in lived.breaches:
        say(f"    BROKEN: {breach}")
    if lived.breaches and lived.fault in FAULTS:
        again = f"--fault {lived.fault} --seed {lived.seed} --times 1 --strikes {strikes}"
        say(f"    again: python -m tests.faults {again}")
