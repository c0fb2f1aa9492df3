"""A night that goes on now, in a real lab and Dagster's real books: what it asks for can be looked at step by step."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import dagster as dg
from dagster import DagsterRunStatus
from dagster._core.definitions.sensor_definition import SensorExecutionData

from ml.studies.concert.study import CONCERT
from orchestration.nights import clock
from orchestration.nights.driving import Step, advance
from orchestration.nights.schedule import nights_sensor
from orchestration.nights.window import Night, night_at
from orchestration.resources import Bench
from orchestration.study_assets import study_assets
from tests.orchestration.tiny_definitions import defs
from tests.small_lab import small_lab

TRIALS = ["balance_0.00", "balance_0.25", "balance_0.50", "balance_0.75", "balance_1.00"]
HOUR = dt.timedelta(hours=1)


def hours(now: dt.datetime) -> dict[str, Any]:
    """A night that began an hour ago and goes on for an hour."""
    return {"starts": f"{now - HOUR:%H:%M:%S}", "ends": f"{now + HOUR:%H:%M:%S}", "timezone": "UTC"}


def started(
    instance: dg.DagsterInstance, request: dg.RunRequest, status: DagsterRunStatus, **tags: str
) -> dg.DagsterRun:
    """A run as Dagster makes one of a request."""
    own = {"dagster/partition": request.partition_key} if request.partition_key else {}
    job = defs.resolve_job_def("quick_job")
    return instance.create_run_for_job(job, status=status, tags={**request.tags, **own, **tags})


class Evening:
    """A night of one study that goes on, and Dagster's books of it."""

    def __init__(self, bench: Bench, instance: dg.DagsterInstance) -> None:
        self.bench, self.instance = bench, instance
        now = clock.now()
        self.now = max(now, now.replace(second=1))  # it begins between two minutes: no schedule hears of it
        self.say(attempts=3)

    def say(self, **night: Any) -> None:
        """What the lab says of its nights."""
        settings = small_lab(self.bench.lab.root, self.corpus, night=hours(self.now) | night)
        assert settings.lab.root == self.bench.lab.root

    @property
    def corpus(self) -> Path:
        return self.bench.source(CONCERT, {})

    @property
    def night(self) -> Night:
        found = night_at(self.bench.settings(CONCERT).night, self.now, "concert")
        assert found is not None
        return found

    def step(self, **more: Any) -> Step:
        return advance(self.bench, self.instance, self.now, [CONCERT], **more)

    def tick(self) -> SensorExecutionData:
        """What comes of the sensor `nights` as the daemon looks at it."""
        sensor = nights_sensor([CONCERT], self.bench, None)
        everything = dg.Definitions(study_assets(CONCERT, self.bench), sensors=[sensor])
        with dg.build_sensor_context(self.instance, definitions=everything) as context:
            return sensor.evaluate_tick(context)

    def asked(self, step: Step) -> list[list[str]]:
        """The trials of each request."""
        return [names(request) for request in step.requests]

    def start(self, request: dg.RunRequest, status: DagsterRunStatus, **tags: str) -> dg.DagsterRun:
        """A run as Dagster makes one of a request."""
        return started(self.instance, request, status, **tags)

    def prepared(self) -> None:
        """Its data is there."""
        (request,) = self.step().requests
        self.start(request, DagsterRunStatus.SUCCESS)


def names(request: dg.RunRequest) -> list[str]:
    assert request.job_name == "concert_trials"
    tags = request.tags
    if request.partition_key:
        return [request.partition_key]
    first, last = (TRIALS.index(tags[f"dagster/asset_partition_range_{end}"]) for end in ("start", "end"))
    return TRIALS[first : last + 1]
