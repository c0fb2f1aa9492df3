"""How a run says that it belongs to a night: tags, which Dagster hands on to the retries of the run."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping

import dagster as dg
from dagster._core.storage.tags import AUTO_RETRY_RUN_ID_TAG

from ml.studies.night import NightConfig
from orchestration.nights.bell import Bell
from orchestration.nights.window import Night

NIGHT = "nocturne/night"
"""The study and the date of the evening: `STUDY 2026-11-21`. Of the morning's report: `report 2026-11-21`."""
PART = "nocturne/night_part"
"""What of the night it does: DATA, TRIALS or REPORT."""
BEGINS, ENDS = "nocturne/night_begins", "nocturne/night_ends"
"""ISO 8601, UTC."""
GRACE = "nocturne/night_grace"
"""Seconds."""

WITHDRAWN = "nocturne/withdrawn"
"""Of a run that the morning ended: nobody decided against its trials."""

ASKED = "nocturne/asked_to_end"
"""ISO 8601, UTC: since when it is asked to end, because it has outlived the grace of its night."""

DATA, TRIALS, REPORT = "data", "trials", "report"

SENSOR = "nights"
"""Drives the nights of all studies."""


def marks(night: Night, config: NightConfig, part: str) -> dict[str, str]:
    """The tags of a run that does `part` of the night."""
    return {
        NIGHT: night.tag,
        PART: part,
        BEGINS: night.begins.isoformat(),
        ENDS: night.ends.isoformat(),
        GRACE: f"{config.grace_seconds:g}",
    }


def job_name(study: str, part: str) -> str:
    """The job that does a part of a study's nights."""
    return f"{study}_{part}"


def schedule_name(study: str) -> str:
    """The schedule that begins the study's nights."""
    return f"{study}_night"


def bell_of(tags: Mapping[str, str]) -> Bell | None:
    """When the run with these tags has to end; None where it belongs to no night."""
    if ENDS not in tags:
        return None
    return Bell(dt.datetime.fromisoformat(tags[ENDS]), float(tags.get(GRACE, "0")))


def asked_by_a_person(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Whether somebody has executed a run of a night again, from the page: the tags are copied, no night is meant."""
    parent = instance.get_run_by_id(run.parent_run_id) if run.parent_run_id else None
    return parent is not None and parent.tags.get(AUTO_RETRY_RUN_ID_TAG) != run.run_id


def night_of(tags: Mapping[str, str]) -> Night | None:
    """The night that the run with these tags belongs to."""
    if BEGINS not in tags or ENDS not in tags:
        return None
    study, _, name = tags[NIGHT].rpartition(" ")
    begins, ends = (dt.datetime.fromisoformat(tags[each]) for each in (BEGINS, ENDS))
    return Night(study, name, begins, ends)
