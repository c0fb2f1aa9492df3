"""When the morning's report is due: once for every evening whose nights are all over and whose runs have ended.

An evening whose nights could not begin anything has no runs to be known by. So the sensor `nights` keeps in mind which
nights it has looked after: of a night in which nobody looked, there is nothing to tell.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence

import dagster as dg

from ml.config import ConfigError
from ml.studies.night import NightConfig
from ml.studies.registry import ALL_STUDIES
from ml.studies.study import Study
from orchestration.nights import clock, marks
from orchestration.nights.runs import NightRun, runs_of, runs_since, unfinished_runs
from orchestration.nights.window import DAY, next_night, night_at
from orchestration.resources import Bench

REPORT_JOB = "report"

TRIES = 3
RETRY_SECONDS = 300.0
LOOKED_BACK = 7 * DAY
"""An evening that is longer ago is not told of by itself: `nocturne report` does."""

Bells = Mapping[str, dt.datetime]
"""The evenings that were looked after, by date, and when the last of their nights was to end."""


def looked_after(
    bench: Bench, studies: Sequence[Study], now: dt.datetime, before: Bells, hours: dict[str, NightConfig]
) -> dict[str, dt.datetime]:
    """The evenings that were looked after `before`, and those of the nights that go on now.

    `hours`: the nights of the studies as they were last understood, kept up to date here. They hold while the settings
    cannot be read: that is one of the things for which nothing is begun.
    """
    bells = {evening: rings for evening, rings in before.items() if now - rings < LOOKED_BACK}
    going_on: dict[str, dt.datetime] = {}
    for study in studies:
        try:
            if bench.source_or_none(study) is None:
                continue
            hours[study.name] = bench.settings(study).night
        except ConfigError:
            pass
        config = hours.get(study.name)
        night = night_at(config, now, study.name) if config else None
        if night is not None:
            going_on[night.name] = max(night.ends, going_on.get(night.name, night.ends))
    return bells | going_on


def report_request(
    bench: Bench,
    instance: dg.DagsterInstance,
    now: dt.datetime,
    studies: Sequence[Study] = ALL_STUDIES,
    bells: Bells | None = None,
) -> dg.RunRequest | None:
    """The run that writes the report of an evening of the last week, the newest first: of one with runs, or that was
    looked after until its bell (`bells`), where its report is due and was not asked for."""
    since = clock.as_recorded(now) - LOOKED_BACK
    of_data = {_evening(run) for run in runs_since(instance, marks.DATA, since)}
    watched = {evening for evening, rings in (bells or {}).items() if rings <= now}
    if not (evenings := of_data | watched):
        return None
    at_work = {_evening(run) for run in unfinished_runs(instance)}
    reports = runs_since(instance, marks.REPORT, since)
    newest = max(evenings)
    for evening in sorted(evenings - at_work, reverse=True):
        asked = [run for run in reports if _evening(run) == evening]
        # An older one does not go on any more; what can be is that its report failed.
        nights = [f"{study.name} {evening}" for study in studies] if evening == newest else []
        if asked and not _again(instance, asked, nights, now):
            continue
        if any(_is_to_end(bench, study, evening, now) for study in studies):
            continue
        tag = f"{marks.REPORT} {evening}"
        return dg.RunRequest(
            run_key=f"{tag} after {asked[-1].run.run_id if asked else 'none'}",
            job_name=REPORT_JOB,
            tags={marks.NIGHT: tag, marks.PART: marks.REPORT},
        )
    return None


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
