"""Runs without a process are ended in the books; every other run is left alone."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import dagster as dg
import psutil
import pytest
from dagster import DagsterEventType, DagsterRunStatus
from dagster._core.events import DagsterEvent, EngineEventData

from orchestration.reaper import PID_STARTED_TAG, PID_TAG, pid_tags, reap
from tests.orchestration.servers import kill, start_python, wait_until
from tests.orchestration.tiny_definitions import defs

IN_THE_TERMINAL = """
import dagster as dg
from orchestration.reaper import pid_tags
from tests.orchestration.tiny_definitions import defs
with dg.DagsterInstance.get() as instance:
    defs.resolve_job_def("slow_job").execute_in_process(instance=instance, tags=pid_tags())
"""


@pytest.fixture
def gone() -> int:
    """The id of a process that was there a moment ago."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def a_run(
    instance: dg.DagsterInstance, status: DagsterRunStatus, pid: int | None = None, tags: dict[str, str] | None = None
) -> str:
    job = defs.resolve_job_def("quick_job")
    run = instance.create_run_for_job(job, status=status, tags=tags)
    if pid is not None:
        instance.report_engine_event(f"Started process for run (pid: {pid}).", run)
        instance.report_engine_event("Executing step quick in subprocess (pid: 1).", run)
    return run.run_id


def status(instance: dg.DagsterInstance, run_id: str) -> DagsterRunStatus:
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return run.status


def test_each_run_in_progress_without_a_process_is_ended(instance: dg.DagsterInstance, gone: int) -> None:
    started = a_run(instance, DagsterRunStatus.STARTED, gone)
    starting = a_run(instance, DagsterRunStatus.STARTING, gone)
    canceling = a_run(instance, DagsterRunStatus.CANCELING, gone)
    reaped = reap(instance)
    assert [one.run_id for one in reaped] == [started, starting, canceling]
    assert all(f"({gone})" in one.sentence and one.job == "quick_job" for one in reaped)
    assert status(instance, started) == status(instance, starting) == DagsterRunStatus.FAILURE
    assert status(instance, canceling) == DagsterRunStatus.CANCELED, "nobody wants a canceled run retried"
    said = [entry.dagster_event.message or "" for entry in instance.all_logs(started) if entry.dagster_event]
    assert any("is gone without a word" in text for text in said)
    assert reap(instance) == [], "once is enough"


def test_a_reaped_run_is_marked_for_the_retry_of_the_daemon(instance: dg.DagsterInstance, gone: int) -> None:
    started = a_run(instance, DagsterRunStatus.STARTED, gone)
    reap(instance)
    run = instance.get_run_by_id(started)
    assert run is not None
    assert run.tags["dagster/will_retry"] == "true"
    cursors = instance.daemon_cursor_storage.get_cursor_values({"EVENT_LOG_CONSUMER_CURSOR-PIPELINE_FAILURE"})
    failures = instance.event_log_storage.get_logs_for_all_runs_by_log_id(
        after_cursor=int(cursors["EVENT_LOG_CONSUMER_CURSOR-PIPELINE_FAILURE"]),
        dagster_event_type={dg.DagsterEventType.RUN_FAILURE},
    )
    assert len(failures) == 1, "even a daemon that never ran in this lab sees the failure"


def test_runs_that_wait_or_ended_or_live_are_left_alone(instance: dg.DagsterInstance, gone: int) -> None:
    me = psutil.Process().pid
    of_the_gone = {PID_TAG: str(gone), PID_STARTED_TAG: repr(time.time() - 60)}
    left = {
        a_run(instance, DagsterRunStatus.NOT_STARTED): DagsterRunStatus.NOT_STARTED,
        a_run(instance, DagsterRunStatus.SUCCESS, gone): DagsterRunStatus.SUCCESS,
        a_run(instance, DagsterRunStatus.STARTED, me): DagsterRunStatus.STARTED,
        a_run(instance, DagsterRunStatus.STARTED, me, pid_tags()): DagsterRunStatus.STARTED,
        # Executed again from the page, with the tags of a run in a terminal that is gone.
        a_run(instance, DagsterRunStatus.STARTED, me, of_the_gone): DagsterRunStatus.STARTED,
        a_run(instance, DagsterRunStatus.STARTING, None, of_the_gone): DagsterRunStatus.STARTING,
        a_run(instance, DagsterRunStatus.STARTING): DagsterRunStatus.STARTING,  # its process is just being made
    }
    assert reap(instance) == []
    assert {run_id: status(instance, run_id) for run_id in left} == left


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the clock does not matter")
@pytest.mark.parametrize("hours", [1, -1])
def test_a_clock_that_is_set_makes_no_process_another_one(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    from psutil import _pslinux

    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as works:
        a_run(instance, DagsterRunStatus.STARTED, works.pid)
        a_run(instance, DagsterRunStatus.STARTED, os.getpid(), pid_tags())
        assert reap(instance) == []
        booted = _pslinux.boot_time() + 3600 * hours
        monkeypatch.setattr(_pslinux, "boot_time", lambda: booted)  # what the kernel says after the clock is set
        assert reap(instance) == []
        works.communicate(b"\n")
    assert len(reap(instance)) == 1, "it is gone now"


def test_who_has_seen_the_process_end_says_so_first(instance: dg.DagsterInstance, gone: int) -> None:
    started = a_run(instance, DagsterRunStatus.STARTED, gone)
    witness = threading.Timer(0.5, lambda: instance.report_run_failed(instance.get_run_by_id(started), "I saw it"))
    witness.start()
    assert reap(instance, others_first=2.0) == []
    witness.join()
    failures = instance.all_logs(started, of_type=DagsterEventType.RUN_FAILURE)
    assert len(failures) == 1, "two would be tried again twice"


def test_a_process_younger_than_the_run_is_another_one(instance: dg.DagsterInstance) -> None:
    """After a restart of the machine the ids are given again."""
    me = psutil.Process()
    an_hour_before = {PID_TAG: str(me.pid), PID_STARTED_TAG: repr(me.create_time() - 3600)}
    tagged = a_run(instance, DagsterRunStatus.STARTED, me.pid, an_hour_before)
    older = a_run(instance, DagsterRunStatus.STARTED)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as young:
        message = f"Started process for run (pid: {young.pid})."
        said = DagsterEvent(
            DagsterEventType.ENGINE_EVENT.value, "quick_job", message=message, event_specific_data=EngineEventData()
        )
        an_hour_ago = time.time() - 3600
        instance.event_log_storage.store_event(dg.EventLogEntry(None, 10, "", older, an_hour_ago, dagster_event=said))
        reaped = {one.run_id for one in reap(instance)}
        young.communicate(b"\n")
    assert reaped == {tagged, older}


def test_a_run_in_the_terminal_killed_with_sigkill(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    process = start_python(["-c", IN_THE_TERMINAL], tmp_path / "said.txt", {"NOCTURNE_LAB": str(tmp_path)})
    try:
        wait_until(lambda: (tmp_path / "slow-began-0.txt").exists(), 60, "the asset began")
        assert reap(instance) == [], "it lives"
    finally:
        kill(process.pid)
        process.wait()
    (reaped,) = reap(instance)
    assert f"({process.pid})" in reaped.sentence
    assert status(instance, reaped.run_id) == DagsterRunStatus.FAILURE
