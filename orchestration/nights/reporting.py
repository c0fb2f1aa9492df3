"""When the morning's report is due: once for every evening whose nights are all over and whose runs have ended."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import dagster as dg

from ml.config import ConfigError
from ml.studies.registry import ALL_STUDIES
from ml.studies.study import Study
from orchestration.nights import clock, marks
from orchestration.nights.runs import NightRun, newest_runs, runs_of, unfinished_runs
from orchestration.nights.window import next_night, night_at
from orchestration.resources import Bench

REPORT_JOB = "report"

TRIES = 3
RETRY_SECONDS = 300.0
MANY = 50
"""Runs to look back for the newest evening: more than there are studies, with what was tried again."""


def report_request(
    bench: Bench, instance: dg.DagsterInstance, now: dt.datetime, studies: Sequence[Study] = ALL_STUDIES
) -> dg.RunRequest | None:
    """The run that writes the report of the newest evening, where it is due and was not asked for."""
    evening = max((_evening(run) for run in newest_runs(instance, marks.DATA, MANY)), default=None)
    if evening is None or any(_evening(run) == evening for run in unfinished_runs(instance)):
        return None
    if any(_is_to_end(bench, study, evening, now) for study in studies):
        return None
    tag = f"{marks.REPORT} {evening}"
    asked = runs_of(instance, tag)
    if asked and not _again(instance, asked, [f"{study.name} {evening}" for study in studies], now):
        return None
    return dg.RunRequest(
        run_key=f"{tag} {len(asked) + 1}",
        job_name=REPORT_JOB,
        tags={marks.NIGHT: tag, marks.PART: marks.REPORT},
    )


def _again(instance: dg.DagsterInstance, asked: Sequence[NightRun], nights: Sequence[str], now: dt.datetime) -> bool:
    """Is there more to report than the last time, or did that fail?"""
    last = asked[-1]
    if last.unfinished() or last.ended is None:
        return False
    if any(run.ended is not None and run.ended > last.ended for night in nights for run in runs_of(instance, night)):
        return True  # the night went on after all: it was made longer, or the clock was moved
    failures = sum(run.ended_as(dg.DagsterRunStatus.FAILURE) for run in asked)
    waited = (clock.as_recorded(now) - last.ended).total_seconds()
    return last.ended_as(dg.DagsterRunStatus.FAILURE) and failures < TRIES and waited >= RETRY_SECONDS


def _evening(run: NightRun) -> str:
    return run.run.tags[marks.NIGHT].rpartition(" ")[2]


def _is_to_end(bench: Bench, study: Study, evening: str, now: dt.datetime) -> bool:
    """Is a night of that evening still going on, or even to come? A study without a source has none to wait for."""
    try:
        config = bench.settings(study).night
        if bench.source_or_none(study) is None:
            return False
    except ConfigError:
        return False
    nights = night_at(config, now, study.name), next_night(config, now, study.name)
    return any(night is not None and night.name == evening for night in nights)
