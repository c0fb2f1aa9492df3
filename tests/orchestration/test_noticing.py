"""A source that changes is looked at again: once it rests, once per change, and never because a drive is away."""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time

import dagster as dg
import pytest

from ml.studies.emotion.study import EMOTION
from orchestration import hanging, noticing
from orchestration.noticing import source_sensor, state_of
from orchestration.resources import Bench
from orchestration.study_assets import study_assets
from storage.lab import Lab


@pytest.fixture
def bench(tmp_path):
    source = tmp_path / "source"
    (source / "happy").mkdir(parents=True)
    (source / "happy" / "a.png").write_bytes(b"one")
    lab = Lab.open(tmp_path / "lab")
    lab.sources_file.write_text(f"emotion: {source}\n", encoding="utf-8")
    return Bench(lab)


def looked(bench, cursor):
    sensor = source_sensor(EMOTION, bench)
    with dg.build_sensor_context(cursor=cursor, definitions=None) as context:
        return sensor.evaluate_tick(context)


def test_new_files_are_looked_at_when_they_have_come_to_rest(bench, tmp_path):
    first = looked(bench, None)
    assert not first.run_requests and "1 files" in first.skip_message
    calm = looked(bench, first.cursor)
    assert not calm.run_requests and "nothing has changed" in calm.skip_message

    (tmp_path / "source" / "happy" / "b.png").write_bytes(b"half")
    moving = looked(bench, calm.cursor)
    assert not moving.run_requests and "come to rest" in moving.skip_message
    (tmp_path / "source" / "happy" / "b.png").write_bytes(b"whole now")
    still_moving = looked(bench, moving.cursor)
    assert not still_moving.run_requests
    at_rest = looked(bench, still_moving.cursor)
    assert len(at_rest.run_requests) == 1
    again = looked(bench, at_rest.cursor)
    assert not again.run_requests and "nothing has changed" in again.skip_message


def test_a_source_that_comes_back_to_what_it_was_is_looked_at_again(bench, tmp_path):
    later = tmp_path / "source" / "happy" / "b.png"
    cursor = looked(bench, None).cursor
    requests = []
    for there in (True, False, True):
        if there:
            later.write_bytes(b"two")
            os.utime(later, ns=(1, 1))
        else:
            later.unlink()
        cursor = looked(bench, cursor).cursor
        at_rest = looked(bench, cursor)
        requests += at_rest.run_requests
        cursor = at_rest.cursor
    assert len(requests) == 3
    keys = [request.run_key for request in requests if request.run_key is not None]
    assert len(set(keys)) == len(keys), "Dagster starts one run for a key, ever"


def test_it_takes_the_inventory_and_nothing_else(bench):
    defs = dg.Definitions(sensors=[source_sensor(EMOTION, bench)], assets=study_assets(EMOTION, bench))
    (target,) = defs.get_sensor_def("emotion_source").targets
    selected = defs.resolve_job_def(target.job_name).asset_layer.selected_asset_keys
    assert selected == {dg.AssetKey(["emotion", "source_inventory"])}


def test_a_drive_that_is_away_has_changed_nothing(bench, tmp_path):
    first = looked(bench, None)
    shutil.move(tmp_path / "source", tmp_path / "away")
    away = looked(bench, first.cursor)
    assert not away.run_requests and "cannot be read now" in away.skip_message
    shutil.move(tmp_path / "away", tmp_path / "source")
    back = looked(bench, away.cursor or first.cursor)
    assert not back.run_requests and "nothing has changed" in back.skip_message


def test_a_share_that_hangs_is_waited_for_a_moment_and_asked_once(bench, monkeypatch):
    first = looked(bench, None)
    network, asked = threading.Event(), []

    def hangs(source):
        asked.append(source)
        network.wait(60)
        return state_of(source)

    monkeypatch.setattr(noticing, "state_of", hangs)
    monkeypatch.setattr(hanging, "PATIENCE", 0.1)
    began = time.monotonic()
    for _ in range(3):
        away = looked(bench, first.cursor)
        assert not away.run_requests and "cannot be read now (it does not answer: " in away.skip_message
    assert time.monotonic() - began < 30 and len(asked) == 1, "threads that hang are not heaped up"
    network.set()
    monkeypatch.setattr(hanging, "PATIENCE", 30)
    assert "nothing has changed" in looked(bench, first.cursor).skip_message and len(asked) == 1
    assert "nothing has changed" in looked(bench, first.cursor).skip_message and len(asked) == 2


def test_without_a_source_it_says_what_to_set(tmp_path):
    said = looked(Bench(Lab.open(tmp_path / "lab")), None)
    assert not said.run_requests
    assert "NOCTURNE_EMOTION_SOURCE" in said.skip_message and "sources.yaml" in said.skip_message


@pytest.mark.skipif(sys.platform == "win32", reason="links need a right there")
def test_links_are_not_followed(tmp_path):
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "round").symlink_to(tmp_path / "source", target_is_directory=True)
    assert state_of(tmp_path / "source")[0] == 1
