"""A short night under a real `nocturne up`: begun by itself, one trial deadly, one too long, ended by its bell."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import psutil
import pytest

from ml.studies.concert.study import CONCERT
from orchestration.nights import marks
from orchestration.nights.loaded import not_loaded
from storage import durable
from tests.orchestration.servers import answers, free_port, kill, press_ctrl_c, start_python, wait_until
from tests.small_lab import environment, small_lab, write_yaml

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")

LEAD, LENGTH, GRACE = 45.0, 150.0, 12.0
"""Seconds: until the night begins, from there to its bell, and to a free machine."""
DEADLY = "balance_0.25"


class Night:
    """One night that is about to begin, and what may be known of it from outside."""

    def __init__(self, folder: Path, corpus: Path) -> None:
        begins = dt.datetime.now(dt.UTC).replace(microsecond=0) + dt.timedelta(seconds=LEAD)
        self.ends = begins + dt.timedelta(seconds=LENGTH)
        hours = {"starts": f"{begins:%H:%M:%S}", "ends": f"{self.ends:%H:%M:%S}", "timezone": "UTC"}
        self.bench = small_lab(folder / "lab", corpus, trials_per_run=6, night=hours | {"grace_seconds": GRACE})
        write_yaml(self.bench.lab.experiments("concert") / "long.yaml", {"training": {"epochs": 1000}})

    def left(self) -> float:
        """Seconds until the bell."""
        return (self.ends - dt.datetime.now(dt.UTC)).total_seconds()

    def worker(self, trial: str) -> int | None:
        """The process that is at the trial now."""
        holder = self.bench.lab.machine_holder_file
        if not self.bench.records.is_running("concert", trial) or not holder.is_file():
            return None
        said = durable.read_sealed(holder)
        return int(said["pid"]) if said["what"] == f"concert {trial}" and psutil.pid_exists(said["pid"]) else None

    def status(self, trial: str) -> str | None:
        record = self.bench.records.latest("concert", trial)
        return record.account["status"] if record else None

    def runs(self) -> list[dg.DagsterRun]:
        """Those of the night, oldest first."""
        with dg.DagsterInstance.from_config(str(self.bench.lab.dagster_home)) as instance:
            return [run for run in reversed(instance.get_runs()) if marks.NIGHT in run.tags]


@pytest.fixture
def night(tmp_path: Path, corpus: Path) -> Iterator[Night]:
    made = Night(tmp_path, corpus)
    port, output = free_port(), tmp_path / "up.log"
    up = start_python(["-m", "orchestration.cli", "up", "--port", str(port)], output, environment(made.bench))
    wait_until(lambda: up.poll() is not None or answers(port), 120, "the page answers")
    assert up.poll() is None, output.read_text()
    yield made
    press_ctrl_c(up)
    assert up.wait(60) == 0, output.read_text()


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_night_ends_in_time_with_what_could_be_done_done(night: Night) -> None:
    assert not_loaded(night.bench, [CONCERT]) == {"concert": set()}
    write_yaml(added := night.bench.lab.experiments("concert") / "added.yaml", {"training": {"epochs": 3}})
    assert not_loaded(night.bench, [CONCERT]) == {"concert": {"added"}}, "the page knows the trials of its start"
    added.unlink()
    for _ in range(2):
        pid = wait_until(lambda: night.worker(DEADLY), LEAD + 120, f"{DEADLY} is being trained")
        kill(pid)
        wait_until(lambda: night.worker(DEADLY) is None, 20, "its process is gone")
    others = [f"balance_{strength}" for strength in ("0.00", "0.50", "0.75", "1.00")]
    wait_until(lambda: all(night.status(name) == "finished" for name in others), 90, "the others are done")
    pid = wait_until(lambda: night.worker("long"), 30, "the long one is begun")
    assert night.left() > 0, "all of that before the bell, or this shows nothing"

    wait_until(lambda: night.left() < 0, LENGTH, "the bell")
    wait_until(lambda: not psutil.pid_exists(pid), GRACE, "the process is gone within the grace")
    record = night.bench.records.latest("concert", "long")
    assert record is not None
    assert record.account["status"] == "paused" and record.account["epochs_done"] > 1
    assert record.account["error"] == f"the night ended after epoch {record.account['epochs_done']}"

    def over() -> bool:
        return not any(run.status.value in ("QUEUED", "STARTED", "STARTING", "CANCELING") for run in night.runs())

    wait_until(over, 60, "nothing waits and nothing works")
    runs = night.runs()
    assert runs[0].tags[marks.PART] == marks.DATA
    trials = [run for run in runs if run.tags[marks.PART] == marks.TRIALS]
    assert [run.status.value for run in trials[:3]] == ["FAILURE", "FAILURE", "SUCCESS"], "two retries by the daemon"
    assert {run.status.value for run in trials[3:]} <= {"SUCCESS"}, "the long one, alone where it was foreseen"
    assert night.bench.records.ended("concert", DEADLY) == {1: False, 2: False}
    for name in others:
        assert len(night.bench.records.history("concert", name)) == 1, "each ended exactly once"
