"""Runs of long ago leave Dagster's books, but for those that made what is there now."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from orchestration.instance_home import prepare_instance
from orchestration.nights.old_runs import old_runs, remove_run

DAY = dt.timedelta(days=1)
PARTS = dg.StaticPartitionsDefinition(["a", "b"])


@dg.asset(name="plain")
def plain() -> None:
    print("said while it was made")


@dg.asset(name="parted", partitions_def=PARTS)
def parted() -> None:
    pass


@dg.asset(name="broken")
def broken() -> None:
    raise ValueError("broken")


@dg.asset_check(asset=plain)
def checked() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=True)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("DAGSTER_HOME", "is set by prepare_instance")
    monkeypatch.setenv("DAGSTER_DISABLE_TELEMETRY", "is set by prepare_instance")
    prepare_instance(tmp_path / "dagster")
    yield tmp_path / "dagster"


def made(instance: dg.DagsterInstance, *assets: dg.AssetsDefinition, partition: str | None = None) -> str:
    done = dg.materialize(list(assets), instance=instance, partition_key=partition, raise_on_error=False)
    return done.run_id


def later(home: Path, days: int) -> dt.datetime:
    return dt.datetime.now(dt.UTC) + days * DAY


def test_only_what_nothing_stands_on_leaves_the_books(home: Path) -> None:
    with dg.DagsterInstance.get() as instance:
        first, second = made(instance, plain), made(instance, plain)
        of_a, of_b, again_a = (made(instance, parted, partition=name) for name in "aba")
        failed = made(instance, broken)
        job = dg.define_asset_job("later").resolve(asset_graph=dg.Definitions([plain]).resolve_asset_graph())
        queued = instance.create_run_for_job(job, status=dg.DagsterRunStatus.NOT_STARTED).run_id
        started = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED).run_id
    assert old_runs(home, later(home, 89)) == []
    found = {run.run_id: run for run in old_runs(home, later(home, 91))}
    whole = {run_id for run_id, run in found.items() if run.whole}
    assert whole == {first, of_a, failed} and not {queued, started} & set(found)
    assert all(run.bytes > 0 for run in found.values())
    for run in found.values():
        assert remove_run(home, run)
    assert all(remove_run(home, run) for run in found.values()), "two may do it one after the other"
    with dg.DagsterInstance.get() as instance:
        left = {run.run_id for run in instance.get_runs()}
        assert left == {second, of_b, again_a, queued, started}
        assert instance.get_materialized_partitions(dg.AssetKey("parted")) == {"a", "b"}
        newest = instance.get_latest_materialization_event(dg.AssetKey("plain"))
        assert newest is not None and newest.run_id == second
        assert instance.all_logs(second), "what was made in it can be read on its page"
    assert not list(home.rglob(f"*{first}*")) and not (home / "storage" / second).exists()
    assert old_runs(home, later(home, 91)) == []


def test_what_checks_said_stays(home: Path) -> None:
    with dg.DagsterInstance.get() as instance:
        done = dg.materialize([plain, checked], instance=instance)
        newer = made(instance, plain)
    assert all(not run.whole for run in old_runs(home, later(home, 91)) if run.run_id == done.run_id)
    with dg.DagsterInstance.get() as instance:
        assert {run.run_id for run in instance.get_runs()} == {done.run_id, newer}


def test_a_lab_without_old_runs_is_not_asked(tmp_path: Path) -> None:
    assert old_runs(tmp_path / "dagster", dt.datetime.now(dt.UTC)) == []
    assert not (tmp_path / "dagster").exists()
