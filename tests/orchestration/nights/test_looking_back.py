"""Which evening a report is about, whatever became of its hours; and how its night is named."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import dagster as dg
import pytest

from ml.studies.night import NightConfig
from ml.studies.registry import ALL_STUDIES
from orchestration.nights import marks
from orchestration.nights.looking_back import Evening, evening_at
from orchestration.nights.report_written import write_report
from orchestration.nights.window import Night
from orchestration.resources import Bench
from storage.lab import Lab
from tests.orchestration.tiny_definitions import defs
from tests.small_lab import write_yaml

EVENING = "2026-11-21"


def at(said: str) -> dt.datetime:
    return dt.datetime.fromisoformat(f"{said}+00:00")


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    made = Bench(Lab.open(tmp_path / "lab"))
    write_yaml(made.lab.sources_file, {"concert": str(tmp_path)})
    return made


def say(bench: Bench, starts: str, ends: str, **more: object) -> None:
    night = {"starts": starts, "ends": ends, "timezone": "UTC"} | more
    write_yaml(bench.lab.studies_file, {"concert": {"night": night}})


def ran(instance: dg.DagsterInstance, begins: str, ends: str) -> None:
    night = Night("concert", EVENING, at(begins), at(ends))
    tags = marks.marks(night, NightConfig(), marks.DATA)
    instance.create_run_for_job(defs.resolve_job_def("quick_job"), status=dg.DagsterRunStatus.SUCCESS, tags=tags)


def heading(bench: Bench, instance: dg.DagsterInstance, now: str) -> str:
    _, page = write_report(bench, instance, at(now), EVENING)
    return page.read_text(encoding="utf-8").partition('<p class="when">')[2].partition("</p>")[0]


def hours(found: Evening) -> tuple[str, str, str]:
    return found.name, f"{found.begins:%H:%M}", f"{found.ends:%H:%M}"


def test_an_evening_whose_hours_were_moved_begins_with_its_first_run(
    bench: Bench, instance: dg.DagsterInstance
) -> None:
    ran(instance, "2026-11-22T01:17", "2026-11-22T01:27")
    say(bench, "01:36", "01:43")
    now, later = at("2026-11-22T01:30"), at("2026-11-22T01:44")
    assert hours(evening_at(bench, now, EVENING, ALL_STUDIES, instance)) == (EVENING, "01:17", "01:27")
    for name in (EVENING, None):
        found = evening_at(bench, later, name, ALL_STUDIES, instance)
        assert hours(found) == (EVENING, "01:17", "01:43") and found.until == later
    ran(instance, "2026-11-22T01:36", "2026-11-22T01:43")
    assert hours(evening_at(bench, later, EVENING, ALL_STUDIES, instance)) == (EVENING, "01:17", "01:43")
    assert hours(evening_at(bench, later, EVENING)) == (EVENING, "01:36", "01:43"), "nobody asked the books"


def test_an_evening_is_told_of_when_its_nights_were_turned_off_meanwhile(
    bench: Bench, instance: dg.DagsterInstance
) -> None:
    ran(instance, "2026-11-21T18:00", "2026-11-22T07:00")
    say(bench, "18:00", "07:00", on=False)
    found = evening_at(bench, at("2026-11-22T12:00"), EVENING, ALL_STUDIES, instance)
    assert hours(found) == (EVENING, "18:00", "07:00") and set(found.nights) == {"concert"}


def test_the_heading_says_the_day_on_which_the_night_begins(bench: Bench, instance: dg.DagsterInstance) -> None:
    say(bench, "01:17", "01:27")
    said = heading(bench, instance, "2026-11-22T02:00")
    assert said == "Night of Sunday, 22 November 2026, 01:17 to 01:27 (evening of 21 November)"
    say(bench, "01:17:30", "01:27")
    assert "2026, 01:17:30 to 01:27 (" in heading(bench, instance, "2026-11-22T02:00")
    say(bench, "17:00", "01:00")
    assert heading(bench, instance, "2026-11-22T02:00") == "Night of Saturday, 21 November 2026, 17:00 to 01:00"
