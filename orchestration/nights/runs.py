"""The runs of a night as Dagster's books have them, retries included."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

import dagster as dg
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
    PARTITION_NAME_TAG,
)

from orchestration.nights import marks
from orchestration.nights.bell import Bell

RETRY_COMES_SECONDS = 120.0
"""Within this time the daemon has started the retry of a run whose process died."""

_WAITING = (dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.QUEUED)


@dataclass(frozen=True)
class NightRun:
    """One run that belongs to a night."""

    run: dg.DagsterRun
    ended: dt.datetime | None
    """UTC; None while it has not ended."""

    @property
    def part(self) -> str:
        return self.run.tags.get(marks.PART, "")

    @property
    def bell(self) -> Bell | None:
        return marks.bell_of(self.run.tags)

    @property
    def span(self) -> tuple[str, str] | None:
        """The first and the last of its trials, in the order of partitions."""
        tags = self.run.tags
        first = tags.get(ASSET_PARTITION_RANGE_START_TAG) or tags.get(PARTITION_NAME_TAG)
        last = tags.get(ASSET_PARTITION_RANGE_END_TAG) or first
        return (first, last) if first and last else None

    def waits(self) -> bool:
        """Is it still to be started?"""
        return self.run.status in _WAITING

    def unfinished(self) -> bool:
        """Is it waiting or at work, or about to be tried again?"""
        if self.run.status in NOT_FINISHED_STATUSES:
            return True
        if not self.run.is_complete_and_waiting_to_retry or self.ended is None:
            return False
        return (dt.datetime.now(dt.UTC) - self.ended).total_seconds() < RETRY_COMES_SECONDS

    def ended_as(self, status: dg.DagsterRunStatus) -> bool:
        """Did it end so, for good?"""
        return self.run.status == status and not self.unfinished()

    def stopped(self) -> bool:
        """Was it ended by a person, and not by the morning?"""
        canceled = self.run.status == dg.DagsterRunStatus.CANCELED
        return canceled and self.run.tags.get(marks.WITHDRAWN) != "true"

    def names(self, in_order: Sequence[str]) -> set[str]:
        """Its trials, where all of them stand in `in_order`."""
        if self.span is None or not set(self.span) <= set(in_order):
            return set(self.span or ())
        first, last = (in_order.index(name) for name in self.span)
        return set(in_order[first : last + 1])


def runs_of(instance: dg.DagsterInstance, night: str) -> list[NightRun]:
    """All runs that are marked with this night, oldest first."""
    return _found(instance, dg.RunsFilter(tags={marks.NIGHT: night}))


def unfinished_runs(instance: dg.DagsterInstance) -> list[NightRun]:
    """Runs of any night that wait or are at work, oldest first."""
    found = _found(instance, dg.RunsFilter(statuses=NOT_FINISHED_STATUSES))
    return [one for one in found if marks.NIGHT in one.run.tags]


def runs_since(instance: dg.DagsterInstance, part: str, since: dt.datetime) -> list[NightRun]:
    """The runs that do this part of a night and were made since then (as recorded), oldest first."""
    return _found(instance, dg.RunsFilter(tags={marks.PART: part}, created_after=since))


def _found(instance: dg.DagsterInstance, filters: dg.RunsFilter) -> list[NightRun]:
    return [
        NightRun(record.dagster_run, dt.datetime.fromtimestamp(record.end_time, dt.UTC) if record.end_time else None)
        for record in reversed(instance.get_run_records(filters=filters))
    ]
