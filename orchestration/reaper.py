"""Runs whose process is gone are reported as what they are.

After a power cut, or when everything was killed at once, Dagster goes on believing that a run is in progress: nobody
watches its process any more, and with a full queue nothing starts again, ever. So every start looks for such runs
first. It uses parts of Dagster that are not public; the version is pinned and a test kills real processes.
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

import dagster as dg
import psutil
from dagster import DagsterEventType, DagsterRunStatus

PID_TAG = "nocturne/pid"
"""Tag of a run that is executed in the terminal: the id of the process."""

PID_STARTED_TAG = "nocturne/pid_started"
"""Tag beside PID_TAG: when that process started, seconds since 1970 as psutil says; ids are given again."""

CLOCK_SECONDS = 5.0
"""How far the start of a process and the time of its first words may disagree (the clock is set, times are rounded)."""

GRACE_SECONDS = 120.0
"""A run that has not yet said which process executes it is left alone for so long."""

IS_GONE = "is gone without a word"
"""In what is said of every run that is reaped."""

_seen_alive: dict[str, psutil.Process] = {}
"""Run to its process, once that was found alive: from then on no setting of the clock makes it another one."""

_PID = re.compile(r"\(pid: (\d+)\)")


@dataclass(frozen=True)
class Reaped:
    """One run that had no process any more."""

    run_id: str
    job: str
    was: str
    """The status before: STARTING, STARTED or CANCELING."""
    sentence: str
    """What is said about it in the run's own log."""


@dataclass(frozen=True)
class Process:
    """The process that executes a run: its id and the latest moment at which it can have been started."""

    pid: int
    started_before: float
    """Seconds since 1970."""
    started: float | None = None
    """Seconds since 1970, where known."""


def pid_tags() -> dict[str, str]:
    """The tags of a run that this very process executes."""
    process = psutil.Process()
    return {PID_TAG: str(process.pid), PID_STARTED_TAG: repr(process.create_time())}


def reap(instance: dg.DagsterInstance, others_first: float = 0.0) -> list[Reaped]:
    """Ends, in Dagster's books, each run in progress whose process is gone; run retries then start as set.

    A run that was being canceled becomes canceled (nobody wants it retried), any other failed. Runs that wait in the
    queue are left alone. While `up` is there its code server, which has seen the process end, says so within moments:
    it has `others_first` seconds to do so.
    """
    _let_retries_see(instance)
    in_progress = [DagsterRunStatus.STARTING, DagsterRunStatus.STARTED, DagsterRunStatus.CANCELING]
    records = instance.get_run_records(filters=dg.RunsFilter(statuses=in_progress))
    for run_id in _seen_alive.keys() - {record.dagster_run.run_id for record in records}:
        del _seen_alive[run_id]
    reaped = []
    for record in reversed(records):  # oldest first
        run = record.dagster_run
        process = process_of(instance, run)
        if process is None and time.time() - record.update_timestamp.timestamp() < GRACE_SECONDS:
            continue
        if process is not None and _lives(process, run.run_id):
            continue
        time.sleep(others_first)
        fresh = instance.get_run_by_id(run.run_id)
        if fresh is None or fresh.status not in in_progress:  # it ended while we looked
            continue
        whose = f"the process that executed it ({process.pid})" if process else "the process that was to execute it"
        sentence = f"{whose[0].upper()}{whose[1:]} {IS_GONE}: it was killed, or the power went."
        if fresh.status == DagsterRunStatus.CANCELING:
            instance.report_run_canceled(fresh, sentence)
        else:
            instance.report_run_failed(fresh, sentence)
        reaped.append(Reaped(run.run_id, run.job_name, fresh.status.value, sentence))
    return reaped


def ask_to_end(instance: dg.DagsterInstance, run: dg.DagsterRun) -> None:
    """Interrupts the process that executes the run, as Ctrl+C would; then it reports its run as canceled itself.

    Not by way of the server that started it, where that can be done without: while it passes the word on, it waits
    until the process has taken it, and starts nothing else. One that stands still never does.
    """
    if os.name != "posix":  # there is no interrupt for a process without a terminal
        instance.run_launcher.terminate(run.run_id)
        return
    instance.report_run_canceling(run)
    process = process_of(instance, run)
    if process is not None and _lives(process, run.run_id):
        with suppress(psutil.NoSuchProcess):
            psutil.Process(process.pid).send_signal(signal.SIGINT)


def kill_process_of(instance: dg.DagsterInstance, run: dg.DagsterRun) -> str:
    """Kills the process that executes the run; says so, or "" where there is none to kill."""
    process = process_of(instance, run)
    if process is None or not _lives(process, run.run_id):
        return ""
    with suppress(psutil.NoSuchProcess):
        psutil.Process(process.pid).kill()
    return f"process {process.pid} was killed"


def _let_retries_see(instance: dg.DagsterInstance) -> None:
    """A daemon that has never run in this lab would ignore all that failed before it: begin its list here."""
    keys = {
        f"EVENT_LOG_CONSUMER_CURSOR-{kind.value}"
        for kind in (DagsterEventType.RUN_FAILURE, DagsterEventType.RUN_SUCCESS)
    }
    missing = keys - set(instance.daemon_cursor_storage.get_cursor_values(keys))
    if missing:
        newest = str(instance.event_log_storage.get_maximum_record_id() or 0)
        instance.daemon_cursor_storage.set_cursor_values(dict.fromkeys(missing, newest))


def process_of(instance: dg.DagsterInstance, run: dg.DagsterRun) -> Process | None:
    """Which process executes the run: the first that names itself in an event; its start as the tags say it.

    Not from the tags alone: a run that is executed again from the page inherits the tags of the first.
    """
    events: Iterable[dg.EventLogEntry] = instance.all_logs(run.run_id, of_type=DagsterEventType.ENGINE_EVENT)
    for entry in events:
        found = _PID.search(entry.dagster_event.message or "") if entry.dagster_event else None
        if found:
            pid, started = int(found.group(1)), None
            if run.tags.get(PID_TAG) == str(pid):
                with suppress(KeyError, ValueError):
                    started = float(run.tags[PID_STARTED_TAG])
            return Process(pid, entry.timestamp, started)
    return None


def _lives(process: Process, run_id: str) -> bool:
    try:
        found = _seen_alive.get(run_id) or psutil.Process(process.pid)
        if found.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD) or not found.is_running():
            return False
        if run_id not in _seen_alive and not _began_in_time(process, found.create_time()):
            return False
    except (psutil.NoSuchProcess, psutil.AccessDenied):  # the id of another user's process, if it has been given again
        _seen_alive.pop(run_id, None)
        return False
    _seen_alive[run_id] = found
    return True


def _began_in_time(process: Process, created: float) -> bool:
    if process.started is not None:
        return abs(created - process.started) <= CLOCK_SECONDS
    return created <= process.started_before + CLOCK_SECONDS
