"""The morning: what still waits is withdrawn, what still works after the grace is ended, so that the machine is free.

A trial ends by itself at the bell (see `bell`). This is for what cannot hear it: a run in the queue, features that are
being built, a process that hangs.
"""

from __future__ import annotations

import datetime as dt

import dagster as dg
from dagster._core.errors import DagsterUserCodeProcessError, DagsterUserCodeUnreachableError

from orchestration.nights import marks
from orchestration.nights.runs import NightRun, unfinished_runs
from orchestration.reaper import ask_to_end, kill_process_of


def end_nights(instance: dg.DagsterInstance, now: dt.datetime) -> list[str]:
    """Ends what outlives its night; what was done, in sentences."""
    return [said for run in unfinished_runs(instance) if (said := _end(instance, run, now))]


def _end(instance: dg.DagsterInstance, found: NightRun, now: dt.datetime) -> str:
    run, bell = found.run, found.bell
    if bell is None or now < bell.rings or run.is_finished or marks.asked_by_a_person(instance, run):
        return ""
    if found.waits():
        instance.add_run_tags(run.run_id, {marks.WITHDRAWN: "true"})
        instance.report_run_canceling(run, "The night is over: withdrawn from the queue.")
        instance.report_run_canceled(run, "The night is over before its turn came; the next night asks for it again.")
        return f"run {run.run_id[:8]} is withdrawn: the night is over"
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
