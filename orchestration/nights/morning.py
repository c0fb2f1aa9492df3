"""The morning: what still waits is withdrawn, what still works after the grace is ended, so that the machine is free.

A trial ends by itself at the bell (see `bell`). This is for what cannot hear it: a run in the queue, features that are
being built, a process that hangs. And for a night that was shortened or turned off in the settings while it goes on: a
run knows the bell that it was asked for with and hears of no earlier one but from here.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import dagster as dg
from dagster._core.errors import DagsterUserCodeProcessError, DagsterUserCodeUnreachableError

from ml.config import ConfigError
from ml.studies.study import Study
from orchestration.nights import marks
from orchestration.nights.bell import Bell
from orchestration.nights.runs import NightRun, unfinished_runs
from orchestration.nights.window import last_night, next_night, night_at
from orchestration.reaper import ask_to_end, kill_process_of
from orchestration.resources import Bench

BellOf = Callable[[Mapping[str, str]], Bell | None]
"""When a run with these tags has to end."""


def end_nights(instance: dg.DagsterInstance, now: dt.datetime, bell_of: BellOf = marks.bell_of) -> list[str]:
    """Ends what outlives its night; what was done, in sentences."""
    return [said for run in unfinished_runs(instance) if (said := _end(instance, run, now, bell_of))]


def present_bell(bench: Bench, studies: Sequence[Study], tags: Mapping[str, str]) -> Bell | None:
    """When the run with these tags has to end: as its night was when it was asked for, or earlier where the settings
    say so by now. A night that they know no more, because it was turned off, was over when it began."""
    bell, night = marks.bell_of(tags), marks.night_of(tags)
    study = next((one for one in studies if night and one.name == night.study), None)
    if bell is None or night is None or study is None:
        return bell
    try:
        config = bench.settings(study).night
    except ConfigError:  # said where the night is driven; what works is let be meanwhile
        return bell
    around = (find(config, night.begins, study.name) for find in (night_at, next_night, last_night))
    ends = next((one.ends for one in around if one and one.name == night.name), night.begins)
    return replace(bell, rings=min(bell.rings, ends))


def _end(instance: dg.DagsterInstance, found: NightRun, now: dt.datetime, bell_of: BellOf) -> str:
    run, bell = found.run, bell_of(found.run.tags)
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
