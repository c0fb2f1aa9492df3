"""Dagster's books in the morning: what was retried, reaped, and what was never made."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster import DagsterRunStatus
from dagster._core.storage.tags import RETRY_NUMBER_TAG

from orchestration.instance_home import prepare_instance
from orchestration.nights import clock
from orchestration.nights.advice import of_the_house
from orchestration.nights.house import runs_in
from orchestration.nights.looking_back import Evening
from orchestration.reaper import reap

PARTITION = "dagster/partition"


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    monkeypatch.setenv("DAGSTER_HOME", "is set by prepare_instance")
    prepare_instance(tmp_path / "home")
    with dg.DagsterInstance.get() as made:
        yield made


@dg.asset
def features() -> None:
    """Never made: its runs are only in the books."""


@dg.asset
def leaderboard() -> None:
    """Likewise."""


defs = dg.Definitions(
    assets=[features, leaderboard],
    jobs=[dg.define_asset_job(f"{one.key.to_user_string()}_job", [one]) for one in (features, leaderboard)],
)


def a_run(
    instance: dg.DagsterInstance, status: DagsterRunStatus, what: str = "leaderboard", **tags: str
) -> dg.DagsterRun:
    return instance.create_run_for_job(defs.resolve_job_def(f"{what}_job"), status=status, tags=tags)


def test_runs_of_the_night_are_counted_and_what_was_never_made_is_named(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestration.reaper.GRACE_SECONDS", -1.0)
    now = clock.now()
    evening = Evening("2026-11-21", now - dt.timedelta(hours=1), now, now + dt.timedelta(hours=1))
    a_run(instance, DagsterRunStatus.STARTED, **{PARTITION: "one"})
    assert len(reap(instance)) == 1
    a_run(instance, DagsterRunStatus.SUCCESS, **{PARTITION: "one", RETRY_NUMBER_TAG: "1"})
    instance.report_run_failed(a_run(instance, DagsterRunStatus.STARTED, "features"), "the drive\n is away")
    instance.report_run_failed(a_run(instance, DagsterRunStatus.STARTED, "leaderboard"), "no luck")
    a_run(instance, DagsterRunStatus.SUCCESS, "leaderboard")
    found = runs_in(instance, evening, now)
    assert (found.ended, found.retried, found.reaped, found.steps_retried) == (5, 1, 1, 0)
    assert found.failed == ((("features",), "the drive is away"),), (
        "a trial speaks for itself; what was made since is made"
    )
    before = Evening("2026-11-20", now - dt.timedelta(hours=9), now, now - dt.timedelta(hours=2))
    assert runs_in(instance, before, now).ended == 0


def test_what_failed_together_is_over_for_each_thing_that_was_made_since_in_whatever_company(
    instance: dg.DagsterInstance,
) -> None:
    now = clock.now()
    evening = Evening("2026-11-21", now - dt.timedelta(hours=1), now, now + dt.timedelta(hours=1))
    fails = []

    @dg.asset
    def board() -> None: ...

    @dg.asset(deps=[board])
    def best() -> None:
        if fails:
            raise RuntimeError(fails[0])

    @dg.asset(deps=[best])
    def page() -> None: ...

    def run(*assets: dg.AssetsDefinition) -> None:
        dg.materialize([*assets], instance=instance, raise_on_error=False)

    def waits() -> list[str]:
        return [one.what for one in of_the_house([], runs_in(instance, evening, now))]

    fails.append("Query interrupted")  # Ctrl+C in the middle of a query of DuckDB
    run(board, best, page)
    assert waits() == [], "whoever broke it off knows"
    fails[0] = "the disk is full"
    run(board, best, page)
    assert waits() == ["best, page failed and were not made since"], "the first of them was made"
    run(board)
    assert waits() == ["best, page failed and were not made since"]
    del fails[0]
    run(board, best)
    assert waits() == ["page failed and was not made since"]
    run(page)
    assert waits() == []


def test_a_step_that_was_tried_again_is_counted(instance: dg.DagsterInstance) -> None:
    tries = []

    @dg.asset(retry_policy=dg.RetryPolicy(max_retries=2))
    def shaky() -> None:
        tries.append(1)
        if len(tries) < 3:
            raise OSError("the drive is away")

    now = clock.now()
    assert dg.materialize([shaky], instance=instance).success
    evening = Evening("2026-11-21", now - dt.timedelta(hours=1), now, now + dt.timedelta(hours=1))
    assert runs_in(instance, evening, now).steps_retried == 2
