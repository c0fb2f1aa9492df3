"""Which trials a night asks for next, and which of them share a run."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence

import dagster as dg

from ml.studies.study import Study, Trial
from orchestration.nights import clock, marks
from orchestration.nights.morning import WITHDRAWN
from orchestration.nights.planning import StudyPlan
from orchestration.nights.runs import NightRun
from orchestration.nights.tonight import deaths_in
from orchestration.ordering import neighbours
from orchestration.resources import Bench

Known = Callable[[Study, str], bool]
"""Is the trial of that name among the partitions that are loaded?"""


def everything(study: Study, name: str) -> bool:
    """Every trial is known."""
    return True


def next_groups(
    bench: Bench,
    study: Study,
    plan: StudyPlan,
    runs: Sequence[NightRun],
    patience: float,
    now: dt.datetime,
    known: Known = everything,
) -> list[list[str]]:
    """Runs in the order in which they are to be asked for: what was paused, then the others; what has taken its run
    with it comes last, alone. What is under way, was stopped by a person or failed a moment ago is left out."""
    night = plan.night
    if night is None:
        return []
    names = [trial.name for trial in bench.trials(study).trials]
    under_way = {name for run in runs if run.unfinished() for name in run.names(names)}
    stopped = {name for run in runs if _stopped(run) for name in run.names(names)}
    left = [
        entry
        for entry in plan.tonight
        if entry.state != "running"
        and entry.trial.name not in under_way | stopped
        and known(study, entry.trial.name)
        and not (entry.state == "failed" and _failed_since(bench, study, entry.trial, now, patience))
    ]
    deadly = [entry.trial.name for entry in left if deaths_in(bench, study, entry.trial.name, night)]
    others = [entry for entry in left if entry.trial.name not in deadly]
    if bench.settings(study).night.order == "smart":
        groups = [[entry.trial.name] for entry in others]
    else:
        paused = [entry.trial for entry in others if entry.state == "paused"]
        groups = neighbours(bench, study, paused)
        groups += neighbours(bench, study, [entry.trial for entry in others if entry.state != "paused"])
    return groups + [[name] for name in deadly]


def _stopped(run: NightRun) -> bool:
    """Was it ended by a person, and not by the morning?"""
    return (
        run.part == marks.TRIALS
        and run.ended_as(dg.DagsterRunStatus.CANCELED)
        and run.run.tags.get(WITHDRAWN) != "true"
    )


def _failed_since(bench: Bench, study: Study, trial: Trial, now: dt.datetime, patience: float) -> bool:
    record = bench.records.latest(study.name, trial.name)
    if record is None:
        return False
    ended = dt.datetime.fromisoformat(record.account["ended"])
    return (clock.as_recorded(now) - ended).total_seconds() < patience
