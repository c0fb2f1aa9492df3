"""Which evening a report is about, whatever became of its hours; and how its night is named."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path

import dagster as dg
import pytest

from ml.studies.night import NightConfig
from ml.studies.registry import ALL_STUDIES
from orchestration.instance_home import prepare_instance
from orchestration.nights import clock, marks
from orchestration.nights.advice import of_the_house
from orchestration.nights.hook import on_morning
from orchestration.nights.house import runs_in
from orchestration.nights.looking_back import Evening, evening_at
from orchestration.nights.report_written import write_report
from orchestration.nights.window import DAY, Night
from orchestration.resources import Bench
from storage.lab import Lab
from tests.orchestration.commands import command
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


def ran(instance: dg.DagsterInstance, begins: str, ends: str, evening: str = EVENING) -> None:
    night = Night("concert", evening, at(begins), at(ends))
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


def test_of_an_evening_of_which_nothing_is_known_no_page_is_written(bench: Bench) -> None:
    prepare_instance(bench.lab.dagster_home)
    say(bench, "17:00", "10:00")
    none = command(bench, "report", "2026-01-05")
    (newest,) = re.findall(r"known are (\d{4}-\d\d-\d\d)$", none.err.strip())
    assert none.code == 3 and none.err.startswith("nocturne: nothing is known of the evening of 2026-01-05: ")
    assert command(bench, "report", "2126-11-21").code == 3 and not list(bench.lab.reports.glob("*"))
    assert command(bench, "report", newest).code == 0 and (bench.lab.reports / f"{newest}.html").is_file()
    with dg.DagsterInstance.from_config(str(bench.lab.dagster_home)) as instance:
        ran(instance, "2026-01-04T17:00", "2026-01-05T10:00", "2026-01-04")
    assert "2026-01-04" in command(bench, "report", "2026-01-05").err
    assert command(bench, "report", "2026-01-04").code == 0
    say(bench, "17:00", "10:00", on=False)
    assert command(bench, "report", "2026-01-05").code == 3


def test_a_lab_without_nights_tells_of_a_date_what_was_done_then_and_not_today(bench: Bench) -> None:
    now, noon = at("2026-11-22T09:00"), dt.datetime.fromisoformat("2026-11-10T12:00").astimezone()
    write_yaml(bench.lab.sources_file, {})
    found = evening_at(bench, now, "2026-11-10")
    assert (found.begins, found.ends, found.until) == (noon, noon + DAY, noon + DAY)
    assert evening_at(bench, now).until == now


def test_rules_of_the_nights_that_cannot_be_read_are_said_and_the_rest_is_told(bench: Bench) -> None:
    bench.lab.nights_file.write_text("keep_free: 3", encoding="utf-8")
    for name, rest in (("report", "Nothing was trained"), ("clean", "nothing lies here")):
        told = command(bench, name)
        assert told.code == 0 and rest in told.out and told.out.count("unknown key `keep_free`") == 1, told


def test_a_command_of_the_morning_that_failed_is_said_until_it_works(
    bench: Bench, instance: dg.DagsterInstance
) -> None:
    def waits(command: str) -> list[tuple[str, str, bool]]:
        write_yaml(bench.lab.nights_file, {"on_morning": command})
        said = {"on_morning": on_morning(bench.lab, bench.lab.reports / "2026-11-21.html")}
        instance.report_runless_asset_event(dg.AssetMaterialization("morning_report", metadata=said))
        now = clock.now()
        evening = Evening(EVENING, now - DAY, now, now)
        return [(one.what, one.why, one.urgent) for one in of_the_house([], runs_in(instance, evening, now))]

    what = "on_morning failed when the last report was written"
    assert waits("false") == [(what, "it (false) ended with 1", False)]
    ((_, why, _),) = waits("echo good morning >> file")
    assert why.startswith("it was not run: no shell reads it")
    assert waits("true") == []


def test_what_nobody_needs_is_counted_after_it_is_said_what_is_not_known(lab: Bench) -> None:
    write_yaml(lab.lab.experiments("concert") / "third.yaml", {"sed": 3})
    lines = command(lab, "clean").out.splitlines()
    at = [number for number, line in enumerate(lines) if line.startswith("note: what was built for concert stays: ")]
    assert at and lines.index("nothing else lies here that nobody needs") > at[0]
