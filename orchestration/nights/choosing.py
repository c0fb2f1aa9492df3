"""Which trials a night asks for next, and which of them share a run."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Callable, Sequence

import dagster as dg

from ml.studies.study import Study
from orchestration.nights import clock
from orchestration.nights.planning import StudyPlan
from orchestration.nights.runs import NightRun
from orchestration.nights.tonight import deaths_in
from orchestration.nights.work import TURNS
from orchestration.ordering import neighbours
from orchestration.resources import Bench

LONGEST = 3600.0
"""Seconds that a failed trial waits at most for its next try."""

NEW = "is new since the definitions were loaded: Reload on the page (Deployment) makes it known"

Known = Callable[[Study, str], bool]
"""Is the trial of that name among the partitions that are loaded?"""


def everything(study: Study, name: str) -> bool:
    """Every trial is known."""
    return True


def let_be(
    bench: Bench, study: Study, runs: Sequence[NightRun], patience: float, now: dt.datetime, known: Known = everything
) -> dict[str, str]:
    """Trials that are not to be begun now, and why not; the night is for the others."""
    names = [trial.name for trial in bench.trials(study).trials]
    found = {name: NEW for name in names if not known(study, name)}
    found |= dict.fromkeys(_resting(runs, names, now, patience), "failed a moment ago, and is tried again")
    stopped = {name for run in runs if run.stopped() for name in run.names(names)}
    return found | dict.fromkeys(stopped, "was ended by a person: the next night goes on with it")


def next_groups(bench: Bench, study: Study, plan: StudyPlan, runs: Sequence[NightRun], turn: int) -> list[list[str]]:
    """Runs of those whose turn it is, in the order in which they are to be asked for: what was paused, then the others;
    what has taken its run with it comes last of all turns, alone. What is under way is left out."""
    night = plan.night
    if night is None:
        return []
    names = [trial.name for trial in bench.trials(study).trials]
    under_way = {name for run in runs if run.unfinished() for name in run.names(names)}
    is_last = turn == TURNS[-1]
    turns = plan.tonight if is_last else plan.left(turn)
    left = [entry for entry in turns if entry.state != "running" and entry.trial.name not in under_way]
    deadly = [entry.trial.name for entry in left if deaths_in(bench, study, entry.trial.name, night)]
    others = [entry for entry in left if entry.turn == turn and entry.trial.name not in deadly]
    if bench.settings(study).night.order == "smart":
        groups = [[entry.trial.name] for entry in others]
    else:
        paused = [entry.trial for entry in others if entry.state == "paused"]
        groups = neighbours(bench, study, paused)
        groups += neighbours(bench, study, [entry.trial for entry in others if entry.state != "paused"])
    return groups + ([[name] for name in deadly] if is_last else [])


def _resting(runs: Sequence[NightRun], names: Sequence[str], now: dt.datetime, patience: float) -> set[str]:
    """Trials of a run that failed a moment ago, whyever: the more often that was, the longer it is let be."""
    failed = [(run.names(names), run.ended) for run in runs if run.ended_as(dg.DagsterRunStatus.FAILURE)]
    times = Counter(name for own, _ in failed for name in own)
    return {
        name
        for own, ended in failed
        for name in own
        if ended is not None
        and (clock.as_recorded(now) - ended).total_seconds() < min(LONGEST, patience * 2 ** (times[name] - 1))
    }
