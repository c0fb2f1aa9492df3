"""When a night begins nothing: out of its hours, turned off, without room on the disk, while another has the GPU."""

from __future__ import annotations

import datetime as dt
import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
from dagster import DagsterRunStatus
from dagster._core.definitions.run_request import InstigatorType

from ml.studies.concert.study import CONCERT
from orchestration.nights import marks
from orchestration.nights.driving import begin
from storage import durable
from tests.orchestration.nights.evenings import HOUR, TRIALS, Evening, names
from tests.orchestration.nights.on_the_page import known, turn_off, turn_on
from tests.small_lab import write_yaml


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


def test_what_waits_for_hours_that_were_edited_is_withdrawn_and_asked_for_again_with_the_new_bell(
    evening: Evening,
) -> None:
    evening.prepared()
    waits = evening.start(evening.step().requests[0], DagsterRunStatus.NOT_STARTED).run_id
    works = evening.start(evening.step().requests[-1], DagsterRunStatus.STARTED).run_id
    assert evening.instance.get_run_by_id(waits).tags[marks.ENDS] == evening.night.ends.isoformat()
    ends = evening.now + 2 * HOUR
    evening.say(ends=f"{ends:%H:%M:%S}")
    asked = evening.tick().run_requests
    (run,) = evening.instance.get_runs(dg.RunsFilter([waits]))
    assert run.status == DagsterRunStatus.CANCELED and run.tags[marks.WITHDRAWN] == "true"
    assert {request.tags[marks.ENDS] for request in asked} == {evening.night.ends.isoformat()}
    assert evening.instance.get_run_by_id(works).status == DagsterRunStatus.STARTED


def test_what_waits_is_withdrawn_when_the_nights_are_for_another_mode_by_now(evening: Evening) -> None:
    evening.prepared()
    request = evening.step().requests[0]
    waits = evening.start(request, DagsterRunStatus.NOT_STARTED).run_id
    only = next(name for name in TRIALS if name not in names(request))
    evening.say(mode=only)
    said = evening.tick()
    (run,) = evening.instance.get_runs(dg.RunsFilter([waits]))
    assert run.status == DagsterRunStatus.CANCELED and run.tags[marks.WITHDRAWN] == "true"
    assert [names(each) for each in said.run_requests] == [[only]]


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
    evening.say(starts=f"{evening.now - HOUR:%H:%M}")
    begins = evening.step()
    for name, begun in (("denoise_night", begins.requests), ("concert_night", ())):
        schedule = known(evening.instance, name, InstigatorType.SCHEDULE)
        turn_off(evening.instance, schedule)
        said = evening.step()
        assert said.requests == begun
    assert said.sentences == ("concert: its schedule concert_night is turned off on the page: nothing is begun",)
    turn_on(evening.instance, schedule)
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
