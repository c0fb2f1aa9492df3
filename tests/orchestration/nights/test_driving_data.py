"""How a night prepares its data: where its source is away, or what was prepared is lost, it says so and tries again."""

from __future__ import annotations

import datetime as dt
import shutil
import threading
from pathlib import Path

import dagster as dg
import pytest
from dagster import DagsterRunStatus

from ml.studies.concert.study import CONCERT
from orchestration import hanging
from orchestration.nights import clock
from orchestration.nights.driving import begin, patience
from orchestration.nights.holdups import HOLDUPS
from orchestration.resources import Bench
from storage.lab import Lab
from tests.orchestration.nights.evenings import HOUR, TRIALS, Evening
from tests.orchestration.nights.made_up import measured
from tests.small_lab import write_yaml


def test_a_source_that_is_away_or_not_set_is_said(evening: Evening, monkeypatch: pytest.MonkeyPatch) -> None:
    evening.say(starts=f"{evening.now - HOUR:%H:%M}")
    monkeypatch.setenv(CONCERT.source_variable, "/nowhere/at/all")
    said = evening.step()
    assert said.requests == () and "concert: /nowhere/at/all: no such folder; connect the drive" in said.sentences[0]
    monkeypatch.delenv(CONCERT.source_variable)
    listed = evening.bench.lab.sources_file.read_text()
    write_yaml(evening.bench.lab.sources_file, {})
    assert evening.step().sentences[0] == "concert: no source folder is set (its schedule says how)"
    said = begin(evening.bench, CONCERT, evening.instance, evening.now)
    assert isinstance(said, str) and f"set {CONCERT.source_variable}, or write" in said
    evening.bench.lab.sources_file.write_text(listed)


def test_a_source_that_does_not_answer_keeps_nobody_waiting(evening: Evening, monkeypatch: pytest.MonkeyPatch) -> None:
    network, source = threading.Event(), evening.corpus
    there = Path.exists

    def hangs(path: Path) -> bool:
        return bool(path != source or network.wait(60)) and there(path)

    monkeypatch.setattr(Path, "exists", hangs)
    monkeypatch.setattr(hanging, "PATIENCE", 0.1)
    said = evening.step()
    assert said.requests == ()
    assert f"concert: {source} cannot be read now (it does not answer: the drive hangs" in said.sentences[0]
    assert any(words in said.sentences[0] for words in HOLDUPS), "the report says what held the night up"
    network.set()
    monkeypatch.setattr(hanging, "PATIENCE", 30)
    assert [request.job_name for request in evening.step().requests] == ["concert_data"]


def test_settings_that_cannot_be_read_are_said(evening: Evening) -> None:
    evening.say(ends=17)
    said = evening.step()
    assert said.requests == () and said.sentences[0].startswith("concert: its settings cannot be read: ")
    assert "studies.yaml: concert: `night.ends` is 17" in said.sentences[0]


def test_data_that_failed_is_tried_again_after_a_while_and_not_when_a_person_ended_it(evening: Evening) -> None:
    (request,) = evening.step().requests
    run = evening.start(request, DagsterRunStatus.STARTED)
    evening.instance.report_run_failed(run)
    evening.instance.add_run_tags(run.run_id, {"dagster/will_retry": "false"})
    said = evening.step()
    assert said.requests == () and "its data could not be prepared (run" in said.sentences[0]
    evening.now = clock.now() + dt.timedelta(seconds=patience(evening.night) + 1)
    (again,) = evening.step().requests
    assert again.run_key != request.run_key, "Dagster starts no run for a key twice"
    evening.instance.report_run_canceled(evening.start(again, DagsterRunStatus.STARTED))
    assert "was ended by a person" in evening.step().sentences[0]


def test_features_that_are_gone_are_built_again_in_the_same_night_and_not_for_ever(
    evening: Evening, tmp_path: Path
) -> None:
    def built(request: dg.RunRequest) -> None:
        run = evening.start(request, DagsterRunStatus.STARTED)
        done = dg.DagsterEvent(dg.DagsterEventType.RUN_SUCCESS.value, run.job_name)
        evening.instance.report_dagster_event(done, run.run_id)

    evening.bench = Bench(Lab.open(shutil.copytree(evening.bench.lab.root, tmp_path / "own")))
    built(*evening.step().requests)
    assert evening.asked(evening.step()) == [[name] for name in TRIALS]
    (own,) = evening.bench.shelf("features").keys()
    folder = evening.bench.shelf("features").folder
    (folder / own).rename(folder / f".damaged-{own}")
    said = evening.step()
    assert said.requests == () and "its features are gone, or its settings have changed" in said.sentences[0]
    assert any(words in said.sentences[0] for words in HOLDUPS)
    evening.now = clock.now() + dt.timedelta(seconds=patience(evening.night) + 1)
    (request,) = evening.step().requests
    assert request.job_name == "concert_data"
    run = evening.start(request, DagsterRunStatus.STARTED)
    assert evening.step().sentences == ("concert: its data is being prepared",)
    evening.instance.report_run_canceled(run)
    built(request)
    evening.now = clock.now() + dt.timedelta(seconds=patience(evening.night) + 1)
    assert evening.step().requests == (), "the more often, the longer it takes until the next"
    for name in TRIALS:
        measured(evening.bench, CONCERT, name, 1.0)
    assert "all done" in evening.step().sentences[0], "what no trial needs may stay away"


def test_a_run_that_a_person_deletes_brings_no_key_back(evening: Evening) -> None:
    """Dagster would drop the request without a word, all night."""
    asked: list[dg.RunRequest] = []
    runs: list[dg.DagsterRun] = []
    for _ in range(2):
        asked += evening.step().requests
        assert evening.step().requests[0].run_key == asked[-1].run_key, "two who look at once ask for one run"
        runs.append(evening.start(asked[-1], DagsterRunStatus.STARTED))
        evening.instance.report_run_failed(runs[-1])
        evening.instance.add_run_tags(runs[-1].run_id, {"dagster/will_retry": "false"})
        evening.now = clock.now() + dt.timedelta(hours=0.9)
    evening.instance.delete_run(runs[0].run_id)
    (again,) = evening.step().requests
    assert again.run_key not in {request.run_key for request in asked}
