"""When the morning's page is asked for: after every night with runs, and after one in which nothing could begin."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster import DagsterRunStatus

from ml.studies.night import NightConfig
from ml.studies.registry import ALL_STUDIES
from orchestration.nights import clock, marks
from orchestration.nights.report_asset import morning_report
from orchestration.nights.report_written import write_report
from orchestration.nights.reporting import RETRY_SECONDS, looked_after, report_request
from orchestration.nights.runs import runs_since
from orchestration.nights.schedule import nights_sensor
from orchestration.nights.window import DAY, Night
from orchestration.resources import Bench
from storage.lab import Lab
from tests.orchestration.tiny_definitions import defs
from tests.small_lab import write_yaml

STARTS, ENDS = "17:00", "10:00"
NIGHT = {"starts": STARTS, "ends": ENDS, "timezone": "UTC"}
TODAY = clock.now().replace(hour=0, minute=0, second=0, microsecond=0)
"""At midnight: an evening that began at 17:00 is `EVENING`, and ends at ten today."""
EVENING, TONIGHT = f"{TODAY - DAY:%Y-%m-%d}", f"{TODAY:%Y-%m-%d}"


def at(hour: float) -> dt.datetime:
    """Today by the clock; hours below zero are yesterday's."""
    return TODAY + dt.timedelta(hours=hour)


class House:
    """A lab whose one study has a source, and Dagster's books of it; the other studies have none."""

    def __init__(self, folder: Path, instance: dg.DagsterInstance) -> None:
        self.bench, self.instance = Bench(Lab.open(folder / "lab")), instance
        self.source = folder / "source"
        self.hours: dict[str, NightConfig] = {}
        self.bells: dict[str, dt.datetime] = {}
        write_yaml(self.bench.lab.sources_file, {"concert": str(self.source)})
        self.say(NIGHT)

    def say(self, night: dict[str, Any]) -> None:
        """What the lab says of the nights of the study."""
        write_yaml(self.bench.lab.studies_file, {"concert": {"night": night}})

    def look(self, now: dt.datetime) -> None:
        self.bells = looked_after(self.bench, ALL_STUDIES, now, self.bells, self.hours)

    def due(self, now: dt.datetime) -> str | None:
        """The evening whose report is asked for."""
        request = report_request(self.bench, self.instance, now, ALL_STUDIES, self.bells)
        return request.tags[marks.NIGHT].removeprefix("report ") if request else None

    def asked(self, now: dt.datetime) -> dg.RunRequest:
        """The request that is made now."""
        request = report_request(self.bench, self.instance, now, ALL_STUDIES, self.bells)
        assert request is not None
        return request

    def ran(self, evening: str, status: DagsterRunStatus = DagsterRunStatus.SUCCESS) -> dg.DagsterRun:
        begins = dt.datetime.fromisoformat(f"{evening}T{STARTS}:00+00:00")
        night = Night("concert", evening, begins, begins + dt.timedelta(hours=17))
        return self._run(marks.marks(night, NightConfig(), marks.DATA), status)

    def reported(self, now: dt.datetime, status: DagsterRunStatus = DagsterRunStatus.SUCCESS) -> dg.DagsterRun:
        """The run that is asked for now, as it ends."""
        return self._run(self.asked(now).tags, status)

    def _run(self, tags: dict[str, str], status: DagsterRunStatus) -> dg.DagsterRun:
        job = defs.resolve_job_def("quick_job")
        run = self.instance.create_run_for_job(job, status=DagsterRunStatus.STARTED, tags=tags)
        if status == DagsterRunStatus.SUCCESS:
            self.instance.report_dagster_event(
                dg.DagsterEvent(dg.DagsterEventType.PIPELINE_SUCCESS.value, run.job_name), run.run_id
            )
        elif status == DagsterRunStatus.FAILURE:
            self.instance.report_run_failed(run)
            self.instance.add_run_tags(run.run_id, {"dagster/will_retry": "false"})
        return run


@pytest.fixture
def house(tmp_path: Path, instance: dg.DagsterInstance) -> House:
    return House(tmp_path, instance)


def test_it_is_asked_for_once_when_the_last_run_of_the_evening_has_ended(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert house.due(at(11)) is None, "there was no night"
    run = house.ran(EVENING, DagsterRunStatus.STARTED)
    assert house.due(at(9)) is None, "the night goes on"
    assert house.due(at(11)) is None, "one of its runs does"
    house.instance.report_run_canceled(run)
    assert house.due(at(9)) is None
    assert house.due(at(11)) == EVENING
    report = house.reported(at(11), DagsterRunStatus.STARTED)
    assert house.due(at(11)) is None
    house.instance.report_run_failed(report)
    house.instance.add_run_tags(report.run_id, {"dagster/will_retry": "false"})
    soon, later = clock.now() + DAY, dt.timedelta(seconds=RETRY_SECONDS + 60)
    monkeypatch.setenv(clock.OFFSET, str(DAY.total_seconds()))
    assert house.due(soon) is None and house.due(soon + later) == EVENING, "it is tried again after a while"
    again = house.asked(soon + later)
    assert again.run_key == f"report {EVENING} after {report.run_id}", "no key comes twice, whatever a person deletes"
    assert [run.part for run in runs_since(house.instance, marks.REPORT, at(-24))] == [marks.REPORT]


def test_every_evening_of_the_last_week_with_runs_has_its_page_the_newest_first(house: House) -> None:
    days = [f"{TODAY - number * DAY:%Y-%m-%d}" for number in (1, 3, 6)]
    for evening in days:
        house.ran(evening)
    house.ran(TONIGHT, DagsterRunStatus.STARTED)  # the next night has begun before the sensor looked
    asked = []
    while (evening := house.due(at(18))) is not None:
        asked.append(evening)
        house.reported(at(18))
    assert asked == days


def test_a_night_in_which_nothing_could_begin_has_its_page_once(house: House) -> None:
    for hour in (-7, 0, 9.9):
        house.look(at(hour))
        assert house.due(at(hour)) is None, "it goes on, and the drive may come"
    house.look(at(10))
    assert house.due(at(10)) == EVENING
    house.reported(at(10))
    for hour in (10.1, 16, 18):
        house.look(at(hour))
        assert house.due(at(hour)) is None


def test_studies_that_share_a_night_one_before_and_one_after_midnight_have_one_page(house: House) -> None:
    write_yaml(house.bench.lab.sources_file, {name: str(house.source) for name in ("concert", "denoise")})
    hours = {"concert": NIGHT | {"ends": "01:00"}, "denoise": NIGHT | {"starts": "01:00"}}
    write_yaml(house.bench.lab.studies_file, {name: {"night": night} for name, night in hours.items()})
    for hour in (-6, 0.9, 1.1, 9.9):
        house.look(at(hour))
        assert house.due(at(hour)) is None, "until ten the machine is at work"
    house.look(at(10))
    assert house.due(at(10)) == EVENING and set(house.bells) == {EVENING}
    told, page = write_report(house.bench, house.instance, at(10.1))
    assert (told.evening.begins, told.evening.ends) == (at(-7), at(10)) and set(told.evening.nights) == set(hours)
    assert f"Night of {at(-7):%A}, {at(-7).day} " in page.read_text(encoding="utf-8") and page.stem == EVENING


def test_that_is_so_too_when_nobody_looked_again_before_the_next_night(house: House) -> None:
    house.look(at(1))
    house.look(at(18))
    assert house.due(at(18)) == EVENING
    assert set(house.bells) == {EVENING, TONIGHT}
    house.look(at(18) + 6 * DAY)
    house.look(at(18) + 8 * DAY)
    assert EVENING not in house.bells and TONIGHT not in house.bells, "weeks do not pile up"


def test_of_a_night_in_which_nobody_looked_or_that_nobody_wanted_nothing_is_written(house: House) -> None:
    house.look(at(11))
    assert house.due(at(11)) is None, "the first start is in the morning"
    house.say(NIGHT | {"on": False})
    house.look(at(20))
    house.say(NIGHT)
    assert house.due(at(35)) is None
    write_yaml(house.bench.lab.sources_file, {})
    house.look(at(20))
    write_yaml(house.bench.lab.sources_file, {"concert": str(house.source)})
    house.look(at(35))
    assert house.due(at(35)) is None, "it has a source since this morning"


def test_settings_that_cannot_be_read_are_no_reason_to_be_silent(house: House) -> None:
    house.look(at(-8))
    house.say({"start": "17:00"})
    house.look(at(-6))
    assert house.due(at(9)) is None
    house.look(at(10))
    assert house.due(at(10)) == EVENING, "its hours were known before"
    told, page = write_report(house.bench, house.instance, at(10), EVENING)
    assert told.advice[0].urgent and told.advice[0].what == "concert: its settings cannot be read"
    assert "studies.yaml: concert: unknown key `night.start`" in told.advice[0].why
    assert "its settings cannot be read" in page.read_text(encoding="utf-8") and "concert" not in dict(told.silent)


def test_a_night_that_was_cut_short_or_turned_off_is_told_of_when_it_would_have_ended(house: House) -> None:
    house.look(at(-6))
    house.say(NIGHT | {"on": False})
    house.look(at(-5))
    assert house.due(at(-5)) is None and house.due(at(10)) == EVENING


def test_the_sensor_keeps_in_mind_what_it_looked_after_and_the_page_says_why_nothing_began(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = morning_report(ALL_STUDIES, house.bench)
    sensor, cursor = nights_sensor(ALL_STUDIES, house.bench, report), None

    def look(now: dt.datetime) -> dg.SensorResult:
        nonlocal cursor
        monkeypatch.setattr(clock, "now", lambda: now)
        result = sensor(dg.build_sensor_context(instance=house.instance, cursor=cursor))
        assert isinstance(result, dg.SensorResult)
        cursor = result.cursor
        return result

    said = look(at(-6))
    assert not said.run_requests and f"concert: {house.source}: no such folder" in str(said.skip_reason)
    assert json.loads(str(cursor))["bells"] == {EVENING: at(10).isoformat()}
    sensor = nights_sensor(ALL_STUDIES, house.bench, report)  # `nocturne up` was started anew
    (request,) = look(at(10.1)).run_requests or ()
    assert request.job_name == "report" and request.tags[marks.NIGHT] == f"report {EVENING}"
    done = dg.materialize([report], instance=house.instance, tags=request.tags)
    told = done.asset_materializations_for_node("morning_report")[0].metadata
    assert told["evening"].value == EVENING
    text = (house.bench.lab.reports / f"{EVENING}.html").read_text(encoding="utf-8")
    assert "Nothing was trained" in text and "concert: its source cannot be seen" in text
    assert f"{house.source}: no such folder; connect the drive or correct the path" in text
    assert not look(at(10.2)).run_requests
