"""The settings of `orchestration/instance/dagster.yaml` load, and mean what they say."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.storage.dagster_run import DagsterRunStatus
from dagster_shared.yaml_utils import load_yaml_from_path

from orchestration.instance_home import POOL, SETTINGS, limit_pool, prepare_instance


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DAGSTER_HOME", "is set by prepare_instance")
    monkeypatch.setenv("DAGSTER_DISABLE_TELEMETRY", "is set by prepare_instance")
    return tmp_path / "a lab" / "dagster"


def test_the_instance_lives_in_its_folder_with_our_settings(home: Path) -> None:
    prepare_instance(home)
    assert os.environ["DAGSTER_HOME"] == str(home)
    with dg.DagsterInstance.get() as instance:
        assert instance.is_persistent
        assert Path(instance.root_directory) == home
        assert not instance.telemetry_enabled
        assert instance.run_retries_enabled
        assert instance.run_retries_max_retries == 2
        assert not instance.run_retries_retry_on_asset_or_op_failure
        assert instance.run_monitoring_enabled
        assert instance.run_monitoring_max_resume_run_attempts == 0
        queue, pools = instance.get_concurrency_config().run_queue_config, instance.get_concurrency_config().pool_config
        assert queue is not None
        assert queue.max_concurrent_runs == 2
        assert pools.default_pool_limit == 1
        assert pools.pool_granularity is not None
        assert pools.pool_granularity.value == "run"
        assert instance.get_runs_count(dg.RunsFilter(statuses=[DagsterRunStatus.STARTED])) == 0
    assert (home / "history").is_dir(), "run history lies in DAGSTER_HOME"


def test_what_trains_is_in_the_pool_that_is_limited() -> None:
    from orchestration import study_assets

    assert study_assets.POOL == POOL


def test_the_pool_holds_from_the_first_run_on(home: Path) -> None:
    prepare_instance(home)
    with dg.DagsterInstance.get() as instance:
        limit_pool(instance)
        limit_pool(instance)
        assert instance.event_log_storage.get_concurrency_info(POOL).slot_count == 1


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_only_the_owner_may_enter(home: Path) -> None:
    home.mkdir(parents=True, mode=0o755)
    prepare_instance(home)
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert stat.S_IMODE((home / "dagster.yaml").stat().st_mode) == 0o600


def test_preparing_again_brings_back_our_settings_and_leaves_nothing_else(home: Path) -> None:
    prepare_instance(home)
    (home / "dagster.yaml").write_text("telemetry:\n  enabled: true\n")
    prepare_instance(home)
    assert (home / "dagster.yaml").read_bytes() == SETTINGS.read_bytes()
    assert [path.name for path in home.iterdir()] == ["dagster.yaml"]


def test_a_misspelled_key_is_an_error_when_the_instance_is_loaded(home: Path) -> None:
    prepare_instance(home)
    text = SETTINGS.read_text(encoding="utf-8")
    assert "max_runtime_seconds" in text
    (home / "dagster.yaml").write_text(text.replace("max_runtime_seconds", "max_runtme_seconds"), encoding="utf-8")
    with pytest.raises(dg.DagsterInvalidConfigError, match="max_runtme_seconds"):
        dg.DagsterInstance.get()


def test_every_sensor_can_be_looked_at_at_once(tmp_path: Path) -> None:
    """One that waits for a share keeps none from driving the nights."""
    from orchestration.definitions import build_definitions
    from orchestration.resources import Bench
    from storage.lab import Lab

    settings = load_yaml_from_path(str(SETTINGS))
    assert isinstance(settings, dict)
    sensors = list(build_definitions(Bench(Lab.open(tmp_path / "lab"))).sensors or ())
    assert len(sensors) < settings["sensors"]["num_workers"]


def test_nothing_is_said_about_storage_so_that_everything_lies_in_the_lab() -> None:
    settings = load_yaml_from_path(str(SETTINGS))
    assert isinstance(settings, dict)
    assert not {"storage", "run_storage", "event_log_storage", "compute_logs"} & set(settings)
