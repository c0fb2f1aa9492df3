"""Nights over all studies until nothing is left: `python -m tests.benchmarks.nights [--seconds 240]`

A real `nocturne up` in a lab with the made-up recordings and the settings of the demo: every trial of every study (of
denoise those of its quick grid), in nights of minutes. For each night is told what was planned, what it came to, how
long after the bell the machine was free and the page of the morning was there; of the last, in which nothing is left
to do, how soon it is said so. Ends with exit code 1 where a trial was not done exactly once, a trial came to nothing,
the machine was not free within the grace, or a page is missing.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from dagster._core.definitions.run_request import InstigatorType

from ml.config import merge
from ml.studies.registry import ALL_STUDIES
from ml.studies.study import Study
from orchestration.lease import is_lent
from orchestration.nights.planning import plan_nights
from orchestration.nights.runs import NightRun, runs_of
from orchestration.plan import trial_states
from orchestration.resources import Bench
from storage.lab import Lab
from tests.faults.house import House
from tests.proofs.wholeness import assert_whole
from tests.small_lab import nocturne, write_yaml

GRACE = 20.0
MOST = 8
"""Nights; more are not waited for."""


class FullHouse(House):
    """A house in which every study has its nights."""

    def __post_init__(self) -> None:
        self.handles.mkdir(parents=True)
        self.bench = Bench(Lab.open(self.folder / "lab"))
        sources = {study.name: str(self.folder / study.name) for study in ALL_STUDIES}
        for study in ALL_STUDIES:
            (self.folder / study.name).mkdir()
            study.write_demo(self.folder / study.name)
        settings = {
            study.name: merge(study.demo_settings(), {"night": self.hours() | {"mode": study.demo_mode}})
            for study in ALL_STUDIES
        }
        write_yaml(self.bench.lab.sources_file, sources)
        write_yaml(self.bench.lab.studies_file, settings)
        write_yaml(self.bench.lab.nights_file, {"keep_free_gb": 0.0})

    def trials_of(self, study: Study) -> set[str]:
        """Those that its nights are about."""
        return {
            one.name
            for one in self.bench.trials(study).trials
            if study.demo_mode is None or one.mode == study.demo_mode
        }

    def runs_of_night(self) -> list[NightRun]:
        """The runs of this evening, of all studies."""
        with self.instance() as instance:
            return [run for study in ALL_STUDIES for run in runs_of(instance, f"{study.name} {self.evening}")]

    def page(self) -> Path:
        """That of the morning after this evening."""
        return self.bench.lab.reports / f"{self.evening}.html"

    def looks(self, since: float) -> list[str]:
        """What the sensor said at each look since then, seconds since 1970, oldest first."""
        with self.instance() as instance:
            states = instance.all_instigator_state(instigator_type=InstigatorType.SENSOR)
            own = [state for state in states if state.instigator_name == "nights"]
            found = [instance.get_ticks(one.instigator_origin_id, one.selector_id, after=since) for one in own]
        return [tick.skip_reason or "" for tick in sorted(chain(*found), key=lambda tick: tick.timestamp)]


@dataclass(frozen=True)
class Night:
    """What one night came to."""

    planned: dict[str, int]
    """By what the plan said as it began: how many trials."""
    seconds: float
    """Until nothing was left, else until its bell."""
    through: bool
    """Whether nothing was left before the bell."""
    free: float
    """Seconds from the bell to a free machine and closed books."""
    page: float
    """And to the page of the morning; below 0: there is none."""
    ended: Counter[str]
    """Attempts of this night, by how they ended."""
    runs: int
    said: str
    """What the sensor said last."""

    def __str__(self) -> str:
        ended = ", ".join(f"{number} {status}" for status, number in sorted(self.ended.items())) or "nothing"
        until = "nothing left" if self.through else "its bell"
        page = f"page after {self.page:.1f} s" if self.page >= 0 else "NO PAGE"
        return (
            f"planned {self.planned}; {self.seconds:.0f} s to {until}; {self.runs} runs; {ended}; "
            f"machine free {self.free:.1f} s after the bell, {page}"
        )


def live(house: FullHouse) -> Night:
    """One night to its morning."""
    before = {study.name: _newest(house, study) for study in ALL_STUDIES}
    house.next_evening()
    began, moment = time.monotonic(), time.time()
    plans = plan_nights(house.bench, house.clock() + dt.timedelta(seconds=3))
    planned = Counter(entry.when for one in plans for entry in one.entries)
    through, said = False, ""
    while house.clock() < house.bell:
        said = next(reversed(house.looks(moment)), "")
        if through := all(f"{study.name}: nothing " in said for study in ALL_STUDIES):
            break
        time.sleep(0.5)
    seconds = time.monotonic() - began
    if through:
        house.ring()
    rung = time.monotonic()
    house.wait_for(lambda: not any(run.unfinished() for run in house.runs_of_night()), 10 * GRACE, "all runs end")
    house.wait_for(lambda: not is_lent(house.bench.lab), 10 * GRACE, "the machine is free")
    free = time.monotonic() - rung
    try:
        house.wait_for(house.page().is_file, 120, "the page of the morning is there")
        page = time.monotonic() - rung
    except AssertionError:
        page = -1.0
    house.wait_for(lambda: not house.unfinished(), 120, "nothing is left in the books")
    ended = Counter(
        str(record.account["status"])
        for study in ALL_STUDIES
        for name in house.trials_of(study)
        for record in house.bench.records.history(study.name, name)
        if record.number > before[study.name][name]
    )
    return Night(dict(planned), seconds, through, free, page, ended, len(house.runs_of_night()), said)


def _newest(house: FullHouse, study: Study) -> dict[str, int]:
    records = house.bench.records
    return {name: max(records.begun(study.name, name), default=0) for name in house.trials_of(study)}


def breaches(house: FullHouse, nights: Sequence[Night]) -> list[str]:
    """What does not hold in the end."""
    said = [f"night {number}: {night}" for number, night in enumerate(nights, 1) if _is_bad(night)]
    for study in ALL_STUDIES:
        states = {one.trial.name: one.state for one in trial_states(house.bench, study)}
        for name in sorted(house.trials_of(study)):
            history = house.bench.records.history(study.name, name)
            results = sum(record.account["status"] == "finished" for record in history)
            if states[name] != "done" or results != 1:
                said.append(f"{study.name} {name} is {states[name]} and has {results} results")
    try:
        assert_whole(house.bench, published=True)
    except AssertionError as problem:
        said.append(f"not whole: {problem}")
    return said


def _is_bad(night: Night) -> bool:
    return night.free > GRACE or night.page < 0 or bool(set(night.ended) - {"finished", "paused"})


def main() -> int:
    """The nights; 1 where something does not hold."""
    asked = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    asked.add_argument("--seconds", type=float, default=240.0, help="from the beginning of a night to its bell")
    length = dt.timedelta(seconds=asked.parse_args().seconds)
    os.environ["DAGSTER_DISABLE_TELEMETRY"] = "1"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        house = FullHouse(Path(folder) / "house", grace=GRACE, attempts=3, length=length)
        nights: list[Night] = []
        try:
            house.start()
            while len(nights) < MOST and not (nights and nights[-1].through and not nights[-1].ended):
                nights.append(live(house))
                print(f"night {len(nights)}: {nights[-1]}", flush=True)
            print(f"the last look: {nights[-1].said}")
            print(nocturne(house.bench, "plan", NOCTURNE_CLOCK_OFFSET=(house.handles / "clock").read_text()).stdout)
            found = breaches(house, nights)
        finally:
            house.stop()
    print(f"load of the machine {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
    for breach in found:
        print(f"BROKEN: {breach}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
