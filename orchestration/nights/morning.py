"""The morning: what still waits is withdrawn, what still works after the grace is ended, so that the machine is free.

A trial ends by itself at the bell (see `bell`). This is for what cannot hear it: a run in the queue, features that are
being built, a process that hangs. And for settings that were edited while the night goes on: a run knows what it was
asked for with, and hears of an earlier bell, or that nobody wants its trials any more, from here alone.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping

import dagster as dg
from dagster._core.errors import DagsterUserCodeProcessError, DagsterUserCodeUnreachableError

from orchestration.nights import marks
from orchestration.nights.bell import Bell
from orchestration.nights.runs import NightRun, unfinished_runs
from orchestration.reaper import ask_to_end, kill_process_of

BellOf = Callable[[Mapping[str, str]], Bell | None]
"""When a run with these tags has to end."""

Outdated = Callable[[NightRun], str]
"""Why a run that waits is not wanted any more, or ""."""


def end_nights(
    instance: dg.DagsterInstance,
    now: dt.datetime,
    bell_of: BellOf = marks.bell_of,
    outdated: Outdated = lambda run: "",
) -> list[str]:
    """Ends what outlives its night, and withdraws what nobody wants any more; what was done, in sentences."""
    return [said for run in unfinished_runs(instance) if (said := _end(instance, run, now, bell_of, outdated))]


def _end(instance: dg.DagsterInstance, found: NightRun, now: dt.datetime, bell_of: BellOf, outdated: Outdated) -> str:
    run, bell = found.run, bell_of(found.run.tags)
    if bell is None or run.is_finished or marks.asked_by_a_person(instance, run):
        return ""
    if now < bell.rings:
        return _withdrawn(instance, run, why) if found.waits() and (why := outdated(found)) else ""
    if found.waits():
        return _withdrawn(instance, run, "the night is over")
    late = (now - bell.rings).total_seconds() - bell.grace
    if late < 0:
        return ""
    asked = run.tags.get(marks.ASKED)
    if asked is None:
        # Also where it is long past: the machine has slept, or the clock is wrong for a moment.
        instance.add_run_tags(run.run_id, {marks.WITHDRAWN: "true", marks.ASKED: now.isoformat()})
        try:
            ask_to_end(instance, run)
        except (DagsterUserCodeUnreachableError, DagsterUserCodeProcessError) as problem:
            return f"run {run.run_id[:8]} cannot be asked to end ({problem}); it is killed after another grace"
        return f"run {run.run_id[:8]} is asked to end: the grace of the morning is over"
    if (now - dt.datetime.fromisoformat(asked)).total_seconds() >= bell.grace:
        killed = kill_process_of(instance, run) or "its process is gone"
        fresh = instance.get_run_by_id(run.run_id)
        if fresh is not None and not fresh.is_finished:
            instance.report_run_canceled(fresh, f"The night is over and it did not end when asked to: {killed}.")
        return f"run {run.run_id[:8]} did not end when asked to: {killed}"
    return ""


def _withdrawn(instance: dg.DagsterInstance, run: dg.DagsterRun, why: str) -> str:
    instance.add_run_tags(run.run_id, {marks.WITHDRAWN: "true"})
    instance.report_run_canceling(run, f"Withdrawn from the queue: {why}.")
    instance.report_run_canceled(run, f"Its turn had not come: {why}. What is still wanted of it is asked for again.")
    return f"run {run.run_id[:8]} is withdrawn: {why}"
