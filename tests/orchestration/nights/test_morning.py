"""In the morning the queue is empty and the machine is free, whatever a run thinks of it."""

from __future__ import annotations

import datetime as dt
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster import DagsterRunStatus
from dagster._core.storage.tags import AUTO_RETRY_RUN_ID_TAG

from ml.studies.concert.study import CONCERT
from ml.studies.denoise.study import DENOISE
from ml.studies.night import NightConfig
from orchestration.nights import marks
from orchestration.nights.bell import Bell
from orchestration.nights.by_now import ByNow
from orchestration.nights.morning import end_nights
from orchestration.nights.window import Night
from orchestration.reaper import reap
from tests.orchestration.tiny_definitions import defs
from tests.small_lab import small_lab

BELL = dt.datetime.now(dt.UTC).replace(microsecond=0)
NIGHT = Night("study", "2026-11-21", BELL - dt.timedelta(hours=8), BELL)
DEAF = "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"


def a_run(instance: dg.DagsterInstance, status: DagsterRunStatus, pid: int | None = None) -> str:
    tags = marks.marks(NIGHT, NightConfig(grace_seconds=10), marks.TRIALS)
    run = instance.create_run_for_job(defs.resolve_job_def("quick_job"), status=status, tags=tags)
    if pid is not None:
        instance.report_engine_event(f"Started process for run (pid: {pid}).", run)
    return run.run_id


def status(instance: dg.DagsterInstance, run_id: str) -> DagsterRunStatus:
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return run.status


def at(seconds: float) -> dt.datetime:
    """So long after the bell."""
    return BELL + dt.timedelta(seconds=seconds)


def test_what_waits_is_withdrawn_at_the_bell_and_what_works_has_its_grace(instance: dg.DagsterInstance) -> None:
    waits = a_run(instance, DagsterRunStatus.NOT_STARTED)
    with subprocess.Popen([sys.executable, "-c", DEAF], stdout=subprocess.PIPE, text=True) as deaf:
        assert deaf.stdout is not None and deaf.stdout.readline() == "deaf\n"
        works = a_run(instance, DagsterRunStatus.STARTED, deaf.pid)
        assert end_nights(instance, at(-1)) == []
        assert [status(instance, run) for run in (waits, works)] == [
            DagsterRunStatus.NOT_STARTED,
            DagsterRunStatus.STARTED,
        ]

        assert end_nights(instance, at(1)) == [f"run {waits[:8]} is withdrawn: the night is over"]
        assert [status(instance, run) for run in (waits, works)] == [
            DagsterRunStatus.CANCELED,
            DagsterRunStatus.STARTED,
        ]
        assert instance.get_run_by_id(waits).tags[marks.WITHDRAWN] == "true"  # type: ignore[union-attr]

        (said,) = end_nights(instance, at(11))
        assert said == f"run {works[:8]} is asked to end: the grace of the morning is over"
        assert status(instance, works) == DagsterRunStatus.CANCELING
        assert end_nights(instance, at(15)) == [], "it is asked once"
        assert deaf.poll() is None, "it does not listen"

        (said,) = end_nights(instance, at(21))
        assert said == f"run {works[:8]} did not end when asked to: process {deaf.pid} was killed"
        assert deaf.wait(5) == -9
    assert status(instance, works) == DagsterRunStatus.CANCELED, "nobody wants it retried"
    assert end_nights(instance, at(60)) == [] and reap(instance) == []


def test_a_run_that_is_found_long_after_its_night_is_asked_first_and_counts_as_withdrawn(
    instance: dg.DagsterInstance,
) -> None:
    """The machine has slept, or the clock is wrong for a moment: else the night would take it for a person's will."""
    with subprocess.Popen([sys.executable, "-c", DEAF], stdout=subprocess.PIPE, text=True) as deaf:
        assert deaf.stdout is not None and deaf.stdout.readline() == "deaf\n"
        works = a_run(instance, DagsterRunStatus.STARTED, deaf.pid)
        assert "is asked to end" in end_nights(instance, at(3600))[0] and deaf.poll() is None
        assert end_nights(instance, at(0)) == [], "the clock is right again"
        assert end_nights(instance, at(3609)) == []
        assert "was killed" in end_nights(instance, at(3610))[0]
    run = instance.get_run_by_id(works)
    assert run is not None and run.status == DagsterRunStatus.CANCELED and run.tags[marks.WITHDRAWN] == "true"


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("stands_still", [False, True])
def test_what_works_is_interrupted_itself_and_nobody_waits_for_one_that_stands_still(
    instance: dg.DagsterInstance, stands_still: bool
) -> None:
    listens = "import time; print('listens', flush=True); time.sleep(60)"
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen([sys.executable, "-c", listens], text=True, **pipes) as process:
        assert process.stdout is not None and process.stdout.readline() == "listens\n"
        works = a_run(instance, DagsterRunStatus.STARTED, process.pid)
        if stands_still:
            process.send_signal(signal.SIGSTOP)
        assert "is asked to end" in end_nights(instance, at(11))[0]
        assert status(instance, works) == DagsterRunStatus.CANCELING
        if stands_still:
            assert process.poll() is None
            assert f"process {process.pid} was killed" in end_nights(instance, at(21))[0]
        assert process.wait(10) == (-signal.SIGKILL if stands_still else -signal.SIGINT)


def test_what_a_person_executes_again_the_next_day_is_let_be_and_a_retry_of_the_night_is_withdrawn(
    instance: dg.DagsterInstance,
) -> None:
    """The page copies the tags of the night."""
    failed = instance.get_run_by_id(a_run(instance, DagsterRunStatus.FAILURE))
    assert failed is not None
    job, came_from = defs.resolve_job_def("quick_job"), {"parent_run_id": failed.run_id, "root_run_id": failed.run_id}
    by_hand, by_daemon = (
        instance.create_run_for_job(job, status=DagsterRunStatus.NOT_STARTED, tags=dict(failed.tags), **came_from)
        for _ in range(2)
    )
    instance.add_run_tags(failed.run_id, {AUTO_RETRY_RUN_ID_TAG: by_daemon.run_id})
    assert marks.asked_by_a_person(instance, by_hand) and not marks.asked_by_a_person(instance, by_daemon)
    assert end_nights(instance, at(3600)) == [f"run {by_daemon.run_id[:8]} is withdrawn: the night is over"]
    assert status(instance, by_hand.run_id) == DagsterRunStatus.NOT_STARTED


@pytest.mark.parametrize(
    ("said", "rings"),
    [
        ({}, 10),
        ({"ends": "11:00"}, 10),
        ({"ends": "08:00"}, 8),
        ({"starts": "18:00", "ends": "08:00"}, 8),
        ({"starts": "16:00", "ends": "16:30"}, -7.5),
        ({"on": False}, -7),
        ({"days": ["sun"]}, -7),
        ({"ends": "ten"}, 10),
    ],
)
def test_a_night_that_is_shortened_or_turned_off_in_its_middle_ends_earlier_and_never_later(
    tmp_path: Path, said: dict[str, Any], rings: float
) -> None:
    midnight = dt.datetime(2026, 11, 22, tzinfo=dt.UTC)
    hours = [midnight + dt.timedelta(hours=hour) for hour in (-7, 10)]
    tags = marks.marks(Night("concert", "2026-11-21", *hours), NightConfig(grace_seconds=10), marks.TRIALS)
    bench = small_lab(tmp_path / "lab", tmp_path, night={"on": True, "timezone": "UTC"} | said)
    assert ByNow(bench, [CONCERT]).bell_of(tags) == Bell(midnight + dt.timedelta(hours=rings), 10)
    assert ByNow(bench, [DENOISE]).bell_of(tags) == marks.bell_of(tags)


def test_what_waits_and_what_works_hears_that_the_nights_were_turned_off(
    instance: dg.DagsterInstance,
) -> None:
    waits, works = (a_run(instance, status) for status in (DagsterRunStatus.NOT_STARTED, DagsterRunStatus.STARTED))
    withdrawn, asked = end_nights(instance, at(-3600), lambda tags: Bell(NIGHT.begins, 10))
    assert withdrawn == f"run {waits[:8]} is withdrawn: the night is over"
    assert asked == f"run {works[:8]} is asked to end: the grace of the morning is over"


def test_a_run_of_no_night_is_left_alone(instance: dg.DagsterInstance) -> None:
    run = instance.create_run_for_job(defs.resolve_job_def("quick_job"), status=DagsterRunStatus.STARTED)
    assert end_nights(instance, at(10_000)) == []
    assert status(instance, run.run_id) == DagsterRunStatus.STARTED
