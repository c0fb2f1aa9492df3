"""Before somebody goes home: whether the night that the plan tells of will begin by itself."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.run_request import InstigatorType
from filelock import FileLock

from ml.studies.concert.study import CONCERT
from ml.studies.denoise.study import DENOISE
from orchestration.nights.awake import Sleep, turned_off
from storage.lab import Lab
from tests.orchestration.commands import command
from tests.orchestration.nights.on_the_page import known, turn_off, turn_on
from tests.small_lab import small_lab

NIGHT = {"timezone": "UTC", "starts": "17:00", "ends": "10:00"}
SLEEPS = "`nocturne up` does not run on this lab"


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    """A lab; where a test asks for an `instance` after it, its books are that lab's."""
    return Lab.open(tmp_path)


def test_in_a_lab_where_nobody_was_ever_up_it_is_said_and_nothing_is_made(lab: Lab) -> None:
    assert Sleep(lab).of_all.startswith(SLEEPS) and Sleep(lab).of(CONCERT) == ""
    assert list(lab.dagster_home.iterdir()) == []


def test_what_was_turned_off_on_the_page_is_said_until_it_is_on_again(lab: Lab, instance: dg.DagsterInstance) -> None:
    schedule = known(instance, "concert_night", InstigatorType.SCHEDULE)
    sensor = known(instance, "nights", InstigatorType.SENSOR)
    with FileLock(lab.locks / "up.lock"):
        awake = Sleep(lab)
        assert (awake.of_all, awake.of(CONCERT), turned_off(instance)) == ("", "", set())
        turn_off(instance, schedule)
        turn_off(instance, sensor)
        sleep = Sleep(lab)
        assert sleep.of(CONCERT).startswith("its schedule concert_night is turned off on the page (Automation)")
        assert sleep.of(DENOISE) == "" and sleep.of_all.startswith("the sensor `nights` is turned off on the page")
        turn_on(instance, schedule)
        turn_on(instance, sensor)
        assert (Sleep(lab).of_all, Sleep(lab).of(CONCERT)) == ("", "")
    assert Sleep(lab).of_all.startswith(SLEEPS), "whoever was up has ended"


def test_the_plan_tells_it(lab: Lab, corpus: Path, instance: dg.DagsterInstance) -> None:
    bench = small_lab(lab.root, corpus, night=NIGHT)
    turn_off(instance, known(instance, "concert_night", InstigatorType.SCHEDULE))
    said = command(bench, "plan", "concert").out.splitlines()
    assert said[1].startswith(SLEEPS)
    night = next(number for number, line in enumerate(said) if line.startswith("the "))
    assert said[night + 2].startswith("but its schedule concert_night is turned off on the page")
