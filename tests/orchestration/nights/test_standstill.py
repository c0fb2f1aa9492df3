"""A run of a night that computes nothing is ended; one that works, or waits for the machine, is left alone."""

from __future__ import annotations

import datetime as dt
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import psutil
import pytest
from dagster import DagsterRunStatus
from filelock import FileLock

from ml.studies.night import NightConfig
from orchestration.lease import is_lent, machine_lease
from orchestration.nights import marks
from orchestration.nights.standstill import Standstill
from orchestration.nights.window import Night
from storage import durable
from storage.artifacts import Shelf
from storage.lab import Lab
from tests.orchestration.tiny_definitions import defs

NOW = dt.datetime.now(dt.UTC)
NIGHT = Night("study", "2026-11-21", NOW - dt.timedelta(hours=1), NOW + dt.timedelta(hours=1))
STANDS = "import time; print('there', flush=True); time.sleep(120)"
WORKS = "print('there', flush=True)\nwhile True: pass"
PATIENCE = 60.0
DATA = marks.marks(NIGHT, NightConfig(), marks.DATA)


class House:
    """Runs of real processes, looked at as if minutes had gone by."""

    def __init__(self, instance: dg.DagsterInstance, lab: Lab, stack: ExitStack) -> None:
        self.instance, self.lab, self._stack = instance, lab, stack
        self.seconds = 0.0
        self._standstill = Standstill(clock=lambda: self.seconds)

    def run(self, code: str, tags: dict[str, str] | None = None) -> tuple[str, subprocess.Popen[str]]:
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        self._stack.callback(process.wait)
        self._stack.callback(process.kill)
        assert process.stdout is not None and process.stdout.readline() == "there\n"
        tags = marks.marks(NIGHT, NightConfig(), marks.TRIALS) if tags is None else tags
        job, status = defs.resolve_job_def("quick_job"), DagsterRunStatus.STARTED
        made = self.instance.create_run_for_job(job, status=status, tags=tags)
        self.instance.report_engine_event(f"Started process for run (pid: {process.pid}).", made)
        return made.run_id, process

    def has_machine(self, pid: int) -> None:
        self.lab.locks.mkdir(parents=True, exist_ok=True)
        durable.write_sealed(self.lab.machine_holder_file, {"what": "a trial", "pid": pid})

    def takes_features_lock(self) -> str:
        path = str(Shelf(self.lab.artifacts, "features")._locks / "abc.lock")
        return f"from filelock import FileLock; lock = FileLock({path!r}); lock.acquire()"

    def look(self, seconds: float) -> list[str]:
        """So many seconds later."""
        self.seconds += seconds
        return self._standstill.ends(self.instance, self.lab, PATIENCE)


@pytest.fixture
def house(instance: dg.DagsterInstance, tmp_path: Path) -> Iterator[House]:
    with ExitStack() as stack:
        yield House(instance, Lab.open(tmp_path / "lab"), stack)


def test_a_process_that_computes_nothing_is_killed_and_the_run_says_why(house: House) -> None:
    run, process = house.run(STANDS)
    assert house.look(0) == [] and house.look(59) == []
    (said,) = house.look(2)
    assert said.startswith(f"run {run[:8]} stood still for 60 seconds") and f"process {process.pid} was killed" in said
    assert process.wait(10) != 0
    told = [entry.message for entry in house.instance.all_logs(run)]
    assert any("It is killed and tried again" in words for words in told)
    assert house.look(120) == [], "it is gone"


def test_one_that_computes_is_left_alone_however_little_it_says(house: House) -> None:
    _, process = house.run(WORKS)
    for _ in range(4):
        time.sleep(1.0)  # of this it computes more than a hundredth of a minute
        assert house.look(50) == []
    assert process.poll() is None


def test_one_that_waits_for_the_machine_is_left_alone_until_it_has_it(house: House) -> None:
    _, process = house.run(STANDS)
    with FileLock(house.lab.locks / "machine.lock"):
        house.has_machine(os.getpid())
        assert [house.look(100) for _ in range(3)] == [[], [], []]
        house.has_machine(process.pid)
        assert house.look(1) == [], "from now on it is looked at"
        assert len(house.look(61)) == 1


def test_whoever_had_the_machine_last_is_nobody_to_wait_for(house: House) -> None:
    house.run(STANDS)
    house.has_machine(os.getpid())  # it lives, and has given it back
    assert house.look(0) == [] and len(house.look(61)) == 1


def test_a_run_that_looks_at_a_source_waits_for_no_machine(house: House) -> None:
    house.run(STANDS, DATA)
    with FileLock(house.lab.locks / "machine.lock"):
        house.has_machine(os.getpid())
        assert house.look(0) == [] and len(house.look(61)) == 1, "a trial of another study may take all night"


def test_a_run_that_waits_for_features_is_left_alone_while_another_process_builds_them(house: House) -> None:
    _, builder = house.run(f"{house.takes_features_lock()}; {WORKS}", tags={})
    _, waiting = house.run(f"print('there', flush=True); {house.takes_features_lock()}", DATA)
    for _ in range(3):
        time.sleep(1.0)
        assert house.look(50) == []
    assert waiting.poll() is None
    psutil.Process(builder.pid).suspend()
    house.look(1)
    assert len(house.look(61)) == 1, "what is waited for stands still too"


def test_a_run_that_builds_features_itself_and_stands_still_is_killed(house: House) -> None:
    house.run(f"{house.takes_features_lock()}; {STANDS}", DATA)
    assert house.look(0) == [] and len(house.look(61)) == 1


def test_who_takes_the_machine_while_somebody_asks_whether_it_is_lent_is_not_told_that_it_is_busy(house: House) -> None:
    said: list[str] = []
    asks = FileLock(house.lab.locks / "machine.lock", thread_local=False)
    asks.acquire()
    threading.Timer(0.05, asks.release).start()
    machine: Any = SimpleNamespace(device="cpu")
    with machine_lease(house.lab, machine, "a trial", said.append, lambda: True) as lent:
        assert lent and said == [] and is_lent(house.lab)
    assert not is_lent(house.lab)


def test_a_run_of_no_night_and_a_run_without_a_process_are_left_alone(house: House) -> None:
    _, process = house.run(STANDS, tags={})
    house.instance.create_run_for_job(
        defs.resolve_job_def("quick_job"),
        status=DagsterRunStatus.STARTED,
        tags=marks.marks(NIGHT, NightConfig(), marks.DATA),
    )
    assert house.look(0) == [] and house.look(1000) == [] and process.poll() is None
