"""What a night asks for, from real records and Dagster's books: each thing once, again what was lost, and no more."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import pytest
from dagster import DagsterRunStatus

from ml.studies.concert.study import CONCERT
from ml.training import machine
from orchestration import resources
from orchestration.nights import clock, marks
from orchestration.nights.driving import IN_QUEUE, begin, patience
from tests.orchestration.nights.evenings import HOUR, TRIALS, Evening, hours, names
from tests.small_lab import small_lab, write_yaml


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
    small_lab(evening.bench.lab.root, evening.corpus, night=hours(evening.now), trials_per_run=2)
    evening.prepared()
    said = evening.step()
    assert evening.asked(said) == [TRIALS[:2], TRIALS[2:4], TRIALS[4:]]
    evening.start(said.requests[0], DagsterRunStatus.STARTED)
    assert evening.asked(evening.step()) == [TRIALS[2:4], TRIALS[4:]]


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


def test_what_takes_its_run_with_it_comes_last_and_alone(evening: Evening) -> None:
    small_lab(evening.bench.lab.root, evening.corpus, night=hours(evening.now), trials_per_run=5)
    evening.prepared()
    assert evening.asked(evening.step()) == [TRIALS]
    with pytest.raises(KeyboardInterrupt), evening.bench.records.begin("concert", TRIALS[1], "a run"):
        raise KeyboardInterrupt  # nothing is recorded, as when a process is killed
    others = evening.step()
    assert evening.asked(others) == [[TRIALS[0]], TRIALS[2:]]
    runs = [evening.start(request, DagsterRunStatus.STARTED) for request in others.requests]
    assert evening.step().requests == (), "a retry of one of them would come after what is asked for now"
    for run in runs:
        evening.instance.report_run_canceled(run)
    assert evening.asked(evening.step()) == [[TRIALS[1]]]
    for run in runs:
        evening.instance.delete_run(run.run_id)
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
