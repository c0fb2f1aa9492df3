"""What Dagster runs by itself: a schedule per study that begins its night, one sensor that drives all of them."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from ml.config import ConfigError
from ml.studies.night import NightConfig
from ml.studies.study import Study
from orchestration.nights import clock, marks
from orchestration.nights.by_now import ByNow
from orchestration.nights.choosing import Known
from orchestration.nights.driving import Step, advance, begin
from orchestration.nights.lab_nights import nights_of_lab
from orchestration.nights.morning import end_nights
from orchestration.nights.reporting import REPORT_JOB, Bells, looked_after, report_request
from orchestration.nights.standstill import Standstill
from orchestration.reaper import reap
from orchestration.resources import Bench

LOOK_EVERY_SECONDS = 15

WITNESS_SECONDS = 3.0
"""Within this time the code server has said of a run that its process ended, if it can."""

_NOUNS = {marks.DATA: ("source_inventory", "split", "features"), marks.TRIALS: ("trained_model", "evaluation")}


def night_job(study: Study, part: str) -> UnresolvedAssetJobDefinition:
    """What a run of the study's nights materializes."""
    keys = [dg.AssetKey([study.name, noun]) for noun in _NOUNS[part]]
    return dg.define_asset_job(
        marks.job_name(study.name, part), dg.AssetSelection.assets(*keys), description=f"Nights of {study.name}."
    )


def night_schedule(study: Study, bench: Bench) -> dg.ScheduleDefinition:
    """Begins the night of the study when the clock shows its time, by looking at the source."""
    bench = replace(bench, resolves=False)
    config = bench.settings(study).night
    days = ",".join(config.days_of_beginning) if len(config.days) < 7 else "*"

    @dg.schedule(
        name=marks.schedule_name(study.name),
        cron_schedule=f"{config.begins_at.minute} {config.begins_at.hour} * * {days}",
        execution_timezone=clock.zone_name(config.timezone),
        job_name=marks.job_name(study.name, marks.DATA),
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=f"Begins the night of {study.name} ({config.starts} to {config.ends}): source, split, features. "
        "Then the sensor `nights` asks for its trials; it also begins a night whose start was slept through. "
        "Hours that are edited hold at once; here they are read after Reload. "
        "While this is turned off, nothing of the study is begun by itself.",
    )
    def night(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        step = begin(bench, study, context.instance, clock.now())
        return dg.SkipReason(step) if isinstance(step, str) else step

    return night


def nights_sensor(studies: Sequence[Study], bench: Bench, report: dg.AssetsDefinition | None) -> dg.SensorDefinition:
    """Drives all nights: asks for data and trials, ends what outlives its night, asks for the morning's `report`."""
    jobs = [night_job(study, part) for study in studies for part in _NOUNS]
    if report is not None:
        jobs.append(dg.define_asset_job(REPORT_JOB, dg.AssetSelection.assets(report), description="The morning."))
    bench = replace(bench, resolves=False)
    hours: dict[str, NightConfig] = {}
    standstill = Standstill()

    @dg.sensor(
        name=marks.SENSOR,
        jobs=jobs,
        minimum_interval_seconds=LOOK_EVERY_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Asks for what the nights have left to do, ends them at their time, and asks for the report.",
    )
    def nights(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        now, instance = clock.now(), context.instance
        by_now = ByNow(bench, studies)
        over = end_nights(instance, now, by_now.bell_of, by_now.outdated)
        ended = [*_reaped(instance), *over, *_stands_still(standstill, instance, bench)]
        said = json.loads(context.cursor) if context.cursor else {}
        bells = looked_after(bench, studies, now, _bells(said), hours)
        step = advance(bench, instance, now, studies, at_rest=_at_rest(said, now), known=_loaded(context))
        due = report_request(bench, instance, now, studies, bells) if report is not None else None
        requests = [*step.requests, *([due] if due else [])]
        for words in ended:
            context.log.info(words)
        return dg.SensorResult(
            run_requests=requests,
            skip_reason=None if requests else "; ".join([*ended, *step.sentences]),
            cursor=json.dumps(said | _rest(step, now) | {"bells": {day: at.isoformat() for day, at in bells.items()}}),
        )

    return nights


def _reaped(instance: dg.DagsterInstance) -> list[str]:
    """Runs whose process died unseen would hold the pool for ever: while the disk was full, or the code server that
    had started them was gone, nobody could say it."""
    gone = reap(instance, others_first=WITNESS_SECONDS)
    return [f"run {one.run_id[:8]} ({one.job}) was {one.was}: {one.sentence}" for one in gone]


def _stands_still(standstill: Standstill, instance: dg.DagsterInstance, bench: Bench) -> list[str]:
    try:
        rules = nights_of_lab(bench.lab)
    except ConfigError:  # said as the plan is made; what works is let be meanwhile
        return []
    return standstill.ends(instance, bench.lab, 60 * rules.standstill_minutes)


def _loaded(context: dg.SensorEvaluationContext) -> Known:
    """Trials are known that are partitions; one that was declared since is, after Reload on the page."""
    graph = context.repository_def.asset_graph if context.repository_def else None
    partitions: dict[str, set[str]] = {}

    def known(study: Study, name: str) -> bool:
        if graph is None:
            return True
        if study.name not in partitions:
            defined = graph.get(dg.AssetKey([study.name, "trained_model"])).partitions_def
            partitions[study.name] = set(defined.get_partition_keys() if defined else ())
        return name in partitions[study.name]

    return known


def _rest(step: Step, now: dt.datetime) -> dict[str, Any]:
    """Which studies are at rest, and until when; nothing where that was not planned anew."""
    if step.rest_seconds == 0.0:
        return {}
    until = now + dt.timedelta(seconds=step.rest_seconds)
    return {"at_rest": sorted(step.at_rest), "until": until.isoformat()}


def _at_rest(said: Mapping[str, Any], now: dt.datetime) -> frozenset[str]:
    if "until" not in said or now >= dt.datetime.fromisoformat(said["until"]):
        return frozenset()
    return frozenset(said["at_rest"])


def _bells(said: Mapping[str, Any]) -> Bells:
    return {evening: dt.datetime.fromisoformat(rings) for evening, rings in said.get("bells", {}).items()}
