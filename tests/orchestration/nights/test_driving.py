"""What a night asks for, from real records and Dagster's books: each thing once, again what was lost, and no more."""

from __future__ import annotations

import datetime as dt
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster import DagsterRunStatus
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.definitions.sensor_definition import SensorExecutionData
from dagster._core.remote_origin import (
    ManagedGrpcPythonEnvCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import InstigatorState, InstigatorStatus, ScheduleInstigatorData
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin

from ml.studies.concert.study import CONCERT
from ml.training import machine
from orchestration import data, hanging, resources
from orchestration.instance_home import prepare_instance
from orchestration.nights import clock, marks
from orchestration.nights.driving import IN_QUEUE, Step, advance, begin, patience
from orchestration.nights.holdups import HOLDUPS
from orchestration.nights.schedule import nights_sensor
from orchestration.nights.window import Night, night_at
from orchestration.resources import Bench
from orchestration.study_assets import study_assets
from storage import durable
from storage.lab import Lab
from tests.orchestration.nights.made_up import measured
from tests.orchestration.tiny_definitions import defs
from tests.small_lab import small_lab, write_yaml

TRIALS = ["balance_0.00", "balance_0.25", "balance_0.50", "balance_0.75", "balance_1.00"]
HOUR = dt.timedelta(hours=1)


def hours(now: dt.datetime) -> dict[str, Any]:
    """A night that began an hour ago and goes on for an hour."""
    return {"starts": f"{now - HOUR:%H:%M:%S}", "ends": f"{now + HOUR:%H:%M:%S}", "timezone": "UTC"}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, corpus: Path) -> Bench:
    """A lab whose features are built."""
    bench = small_lab(tmp_path_factory.mktemp("driven") / "lab", corpus)
    data.take_inventory(bench, CONCERT, lambda share, words: None)
    data.divide(bench, CONCERT)
    data.build_features(bench, CONCERT, lambda share, words: None)
    bench.machine()
    return bench


class Evening:
    """A night of one study that goes on, and Dagster's books of it."""

    def __init__(self, bench: Bench, instance: dg.DagsterInstance) -> None:
        self.bench, self.instance = bench, instance
        self.now = clock.now()
        self.say(attempts=3)

    def say(self, **night: Any) -> None:
        """What the lab says of its nights."""
        settings = small_lab(self.bench.lab.root, self._corpus, night=hours(self.now) | night)
        assert settings.lab.root == self.bench.lab.root

    @property
    def _corpus(self) -> Path:
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
        own = {"dagster/partition": request.partition_key} if request.partition_key else {}
        job = defs.resolve_job_def("quick_job")
        return self.instance.create_run_for_job(job, status=status, tags={**request.tags, **own, **tags})

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


@pytest.fixture
def evening(built: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Evening]:
    monkeypatch.setenv("DAGSTER_HOME", "is set by prepare_instance")
    monkeypatch.setenv("DAGSTER_DISABLE_TELEMETRY", "is set by prepare_instance")
    prepare_instance(tmp_path / "dagster")
    with dg.DagsterInstance.get() as instance:
        yield Evening(built, instance)


def test_a_night_begins_with_its_data_and_asks_for_everything_once(evening: Evening) -> None:
    assert "the sensor `nights` begins it" in str(begin(evening.bench, CONCERT, evening.instance, evening.now))
    evening.say(starts=f"{evening.now - HOUR:%H:%M}")
    (request,) = evening.step().requests
    assert request.job_name == "concert_data"
    assert request.tags[marks.NIGHT] == evening.night.tag
    assert marks.bell_of(request.tags).rings == evening.night.ends  # type: ignore[union-attr]
    assert begin(evening.bench, CONCERT, evening.instance, evening.now) == request, "the schedule asks for the same"
    run = evening.start(request, DagsterRunStatus.NOT_STARTED)
    said = evening.step()
    assert said.requests == () and said.sentences == ("concert: its data is being prepared",)
    evening.instance.report_run_canceled(run)
    evening.start(request, DagsterRunStatus.SUCCESS)
    said = evening.step()
    assert evening.asked(said) == [[name] for name in TRIALS], "one trial per run, the order of the study"
    for request in said.requests:
        assert request.tags[marks.PART] == marks.TRIALS
        evening.start(request, DagsterRunStatus.NOT_STARTED)
    assert evening.step().requests == ()
    assert len(said.requests) <= IN_QUEUE


def test_neighbours_share_a_run_and_what_is_under_way_is_not_asked_for(evening: Evening) -> None:
    small_lab(evening.bench.lab.root, evening._corpus, night=hours(evening.now), trials_per_run=2)
    evening.prepared()
    said = evening.step()
    assert evening.asked(said) == [TRIALS[:2], TRIALS[2:4], TRIALS[4:]]
    evening.start(said.requests[0], DagsterRunStatus.STARTED)
    assert evening.asked(evening.step()) == [TRIALS[2:4], TRIALS[4:]]


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
    network, source = threading.Event(), evening._corpus
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


def test_what_a_person_ended_rests_until_the_next_night_and_what_the_morning_withdrew_does_not(
    evening: Evening,
) -> None:
    evening.prepared()
    stopped, withdrawn, *_ = evening.step().requests
    evening.instance.report_run_canceled(evening.start(stopped, DagsterRunStatus.STARTED))
    evening.instance.report_run_canceled(
        evening.start(withdrawn, DagsterRunStatus.NOT_STARTED, **{marks.WITHDRAWN: "true"})
    )
    said = evening.step()
    assert evening.asked(said) == [[name] for name in TRIALS[1:]]
    assert said.requests[0].run_key != withdrawn.run_key, "Dagster starts no run for a key twice"


def test_a_run_whose_process_died_is_the_daemons_until_it_had_its_time(evening: Evening) -> None:
    evening.prepared()
    (first, *_) = evening.step().requests
    run = evening.start(first, DagsterRunStatus.STARTED)
    evening.instance.report_run_failed(run)
    assert evening.instance.get_run_by_id(run.run_id).tags["dagster/will_retry"] == "true"  # type: ignore[union-attr]
    assert names(first) not in evening.asked(evening.step())
    evening.instance.add_run_tags(run.run_id, {"dagster/auto_retry_run_id": "the one that came"})
    assert names(first) not in evening.asked(evening.step()), "it failed just now"
    evening.now = clock.now() + dt.timedelta(seconds=patience(evening.night) + 1)
    assert names(first) in evening.asked(evening.step()), "its retry is over, and the trial is not done"


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


def test_what_takes_its_run_with_it_comes_last_and_alone(evening: Evening) -> None:
    small_lab(evening.bench.lab.root, evening._corpus, night=hours(evening.now), trials_per_run=5)
    evening.prepared()
    assert evening.asked(evening.step()) == [TRIALS]
    with pytest.raises(KeyboardInterrupt), evening.bench.records.begin("concert", TRIALS[1], "a run"):
        raise KeyboardInterrupt  # nothing is recorded, as when a process is killed
    assert evening.asked(evening.step()) == [[TRIALS[0]], TRIALS[2:], [TRIALS[1]]]
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt), evening.bench.records.begin("concert", TRIALS[1], "a run"):
            raise KeyboardInterrupt
    assert evening.asked(evening.step()) == [[TRIALS[0]], TRIALS[2:]], "three times in one night is enough"


def test_a_plan_that_came_to_nothing_is_not_made_again_at_once(evening: Evening) -> None:
    evening.prepared()
    evening.say(attempts=3, mode="balance_0.00")
    said = evening.step(known=lambda study, name: False)
    assert said.requests == () and said.at_rest == {"concert"} and 0 < said.rest_seconds <= 300
    assert "is new since the definitions were loaded: Reload on the page" in said.sentences[0]
    assert evening.step(at_rest=said.at_rest).requests == ()
    assert evening.asked(evening.step()) == [["balance_0.00"]]


def test_the_sensor_and_the_schedule_find_out_no_machine(evening: Evening, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new torch, or a GPU that came late: to find out what computes loads the one and takes the other into use, in a
    process that lives on."""
    evening.prepared()
    monkeypatch.setattr(resources, "version", lambda name: "another")
    monkeypatch.setattr(machine, "resolve_machine", None)
    with pytest.raises(TypeError):
        evening.bench.machine()
    assert TRIALS[0] in [request.partition_key for request in evening.tick().run_requests or ()]
    looks = replace(evening.bench, resolves=False)
    before = evening.bench.lab.machine_file.read_text()
    try:
        write_yaml(evening.bench.lab.machine_file, {"precision": "bf16"})
        assert looks.machine().precision == "bf16", "it is part of what each trial is"
        write_yaml(evening.bench.lab.machine_file, {"precision": "auto"})
        assert looks.machine().precision == "fp32"
    finally:
        evening.bench.lab.machine_file.write_text(before)


def test_out_of_its_hours_a_study_says_when_they_begin(evening: Evening) -> None:
    evening.now += 2 * HOUR
    assert evening.step().sentences[0].startswith("concert: its next night begins on ")
    write_yaml(evening.bench.lab.studies_file, {"concert": {"night": {"on": False}}})
    assert evening.step().sentences == ("concert: its nights are off",)


def test_nights_that_are_turned_off_in_the_middle_of_one_withdraw_what_waits(evening: Evening) -> None:
    evening.prepared()
    waits = evening.start(evening.step().requests[0], DagsterRunStatus.NOT_STARTED).run_id
    assert evening.tick().run_requests
    evening.say(on=False)
    said = evening.tick().skip_message or ""
    assert f"run {waits[:8]} is withdrawn: the night is over" in said
    assert "its nights are off" in said
    (run,) = evening.instance.get_runs(dg.RunsFilter([waits]))
    assert run.status == DagsterRunStatus.CANCELED and run.tags[marks.WITHDRAWN] == "true"


def test_a_night_that_begins_now_is_left_to_its_schedule_and_taken_up_when_that_is_not_heard_of(
    evening: Evening,
) -> None:
    begins = evening.now.replace(second=0, microsecond=0)
    evening.say(starts=f"{begins:%H:%M}")
    evening.now = begins + dt.timedelta(seconds=3)
    said = evening.step()
    assert said.requests == () and said.sentences == ("concert: its schedule begins its night now",)
    assert isinstance(begin(evening.bench, CONCERT, evening.instance, evening.now), dg.RunRequest)
    evening.now = begins + dt.timedelta(seconds=61)
    assert [request.job_name for request in evening.step().requests] == ["concert_data"]


def test_no_night_is_begun_while_its_schedule_is_turned_off_on_the_page(evening: Evening) -> None:
    place = ManagedGrpcPythonEnvCodeLocationOrigin(LoadableTargetOrigin(module_name="nowhere"), "nowhere")
    evening.say(starts=f"{evening.now - HOUR:%H:%M}")
    begins = evening.step()
    for name, begun in (("denoise_night", begins.requests), ("concert_night", ())):
        origin = RemoteInstigatorOrigin(RemoteRepositoryOrigin(place, "all"), name)
        times = ScheduleInstigatorData("0 17 * * *")
        state = InstigatorState(origin, InstigatorType.SCHEDULE, InstigatorStatus.STOPPED, times)
        evening.instance.add_instigator_state(state)
        said = evening.step()
        assert said.requests == begun
    assert said.sentences == ("concert: its schedule concert_night is turned off on the page: nothing is begun",)
    evening.instance.update_instigator_state(state.with_status(InstigatorStatus.DECLARED_IN_CODE))
    assert evening.step().requests == begins.requests


def test_no_trial_is_begun_while_the_disk_is_nearly_full_and_the_sentence_says_what_to_do(evening: Evening) -> None:
    evening.prepared()
    nights = evening.bench.lab.nights_file
    try:
        write_yaml(nights, {"keep_free_gb": 1e9})
        step = evening.step()
        assert step.requests == () and 0 < step.rest_seconds <= 300, "it is looked at again soon"
        assert "are to stay free: make room (`nocturne clean` shows what can go)" in step.sentences[0]
    finally:
        nights.unlink()
    assert evening.step().requests


@pytest.mark.skipif(os.name == "nt", reason="the stand-in is a script with a first line for the kernel")
def test_no_trial_is_begun_while_another_program_holds_the_gpu(
    evening: Evening, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evening.prepared()
    resolved = evening.bench.lab.root / "machine-resolved.json"
    before = resolved.read_bytes()
    said = durable.read_sealed(resolved)
    stranger = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!{sys.executable}\nprint('{stranger.pid}, blender, 9000')\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    try:
        durable.write_sealed(resolved, said | {"machine": said["machine"] | {"device": "cuda"}})
        step = evening.step()
        assert step.requests == () and step.rest_seconds > 0 and step.at_rest == frozenset(), "it waits for the GPU"
        assert f"the GPU is held by blender (process {stranger.pid}, 9,000 MiB)" in step.sentences[0]
        program.write_text(f"#!{sys.executable}\n")
        assert evening.step().requests, "it has ended"
    finally:
        stranger.kill()
        stranger.communicate()
        resolved.write_bytes(before)
