"""When nights begin and end: over the jumps of the clock, around the week, and with a clock that was moved."""

from __future__ import annotations

import datetime as dt
import time
from pathlib import Path

import pytest

from ml.studies.concert.study import CONCERT
from ml.studies.night import NightConfig
from orchestration.nights import clock
from orchestration.nights.schedule import night_schedule
from orchestration.nights.window import DAY, Night, last_night, next_night, night_at
from orchestration.resources import Bench
from storage.lab import Lab
from tests.small_lab import write_yaml

BERLIN = NightConfig(timezone="Europe/Berlin")
HOUR = dt.timedelta(hours=1)


def at(said: str) -> dt.datetime:
    return dt.datetime.fromisoformat(said).replace(tzinfo=dt.UTC)


def test_a_night_begins_in_the_evening_and_ends_on_the_next_day():
    night = night_at(BERLIN, at("2026-11-21 22:00"), "concert")
    assert night == Night(
        "concert", "2026-11-21", at("2026-11-21 16:00"), at("2026-11-22 09:00"), clock.zone(BERLIN.timezone)
    )
    assert night.tag == "concert 2026-11-21"
    assert (night.shown(night.begins), night.shown(night.ends)) == ("17:00", "10:00 (Sun 22 Nov)")


@pytest.mark.parametrize(
    ("now", "name"),
    [
        ("2026-11-21 15:59:59", None),
        ("2026-11-21 16:00:00", "2026-11-21"),
        ("2026-11-22 08:59:59", "2026-11-21"),
        ("2026-11-22 09:00:00", None),  # at the bell it is over
        ("2026-11-22 12:00:00", None),
    ],
)
def test_a_night_is_from_its_first_moment_to_the_bell(now: str, name: str | None):
    night = night_at(BERLIN, at(now), "concert")
    assert (night.name if night else None) == name


def test_next_and_last_stand_around_the_present_one():
    now = at("2026-11-21 22:00")
    before, after = last_night(BERLIN, now, "concert"), next_night(BERLIN, now, "concert")
    assert before is not None and after is not None
    assert (before.name, after.name) == ("2026-11-20", "2026-11-22")
    assert before.ends <= now < after.begins


@pytest.mark.parametrize(
    ("evening", "hours"),
    [("2026-03-27", 17), ("2026-03-28", 16), ("2026-10-23", 17), ("2026-10-24", 18), ("2026-10-25", 17)],
)
def test_the_clock_on_the_wall_decides_when_summer_begins_and_ends(evening: str, hours: int):
    night = night_at(BERLIN, at(f"{evening} 22:00"), "concert")
    assert night is not None
    assert night.name == evening
    assert night.ends - night.begins == hours * HOUR
    assert night.shown(night.begins) == "17:00"
    assert night.shown(night.ends).startswith("10:00")


@pytest.mark.parametrize("jump", ["2026-03-29", "2026-10-25"])
def test_every_minute_around_a_jump_is_in_the_night_once(jump: str):
    """A tick per minute over three days sees each night begin once, end once, and no other."""
    names: list[str | None] = []
    for minute in range(3 * 24 * 60):
        night = night_at(BERLIN, at(jump) - DAY + minute * HOUR / 60, "concert")
        names.append(night.name if night else None)
    changes = [b for a, b in zip([None, *names], names, strict=False) if a != b]
    evenings = [(dt.date.fromisoformat(jump) + days * DAY).isoformat() for days in (-2, -1, 0, 1)]
    assert changes == [evenings[0], None, evenings[1], None, evenings[2], None, evenings[3]]


def test_minutes_that_the_clock_shows_twice_are_begun_at_the_first_and_leapt_over_are_no_night():
    twice = NightConfig(timezone="Europe/Berlin", starts="02:15", ends="02:45")
    night = next_night(twice, at("2026-10-24 12:00"), "concert")
    assert night is not None
    assert (night.begins, night.ends) == (at("2026-10-25 00:15"), at("2026-10-25 00:45"))
    gone = NightConfig(timezone="Europe/Berlin", starts="02:45", ends="03:15")  # 02:45 is 03:45 on that day
    night = next_night(gone, at("2026-03-28 12:00"), "concert")
    assert night is not None
    assert night.name == "2026-03-29"


def test_a_clock_moved_by_an_hour_gives_the_same_night_another_name_never():
    now = at("2026-11-21 20:00")
    nights = {night_at(BERLIN, now + hours * HOUR, "concert") for hours in (-1, 0, 1)}
    assert len(nights) == 1
    assert night_at(BERLIN, at("2026-11-21 16:30") - HOUR, "concert") is None  # moved back: it has not begun yet


def test_equal_times_are_a_whole_day_and_one_night_follows_the_other():
    always = NightConfig(timezone="UTC", starts="12:00", ends="12:00")
    night, after = night_at(always, at("2026-11-21 12:00"), "a"), night_at(always, at("2026-11-22 12:00"), "a")
    assert night is not None and after is not None
    assert night.ends - night.begins == 24 * HOUR
    assert after.begins == night.ends


def test_a_short_night_lies_within_one_day_and_its_seconds_are_shown():
    short = NightConfig(timezone="UTC", starts="12:00:30", ends="12:03:30")
    night = night_at(short, at("2026-11-21 12:01"), "a")
    assert night is not None
    assert night.left(at("2026-11-21 12:01")) == 150
    assert night.left(at("2026-11-21 11:00")) == 180
    assert night.left(at("2026-11-21 13:00")) == 0
    assert night.shown(night.ends) == "12:03:30"


@pytest.mark.parametrize(
    ("starts", "ends", "now", "name"),
    [
        ("01:00", "10:00", "2026-11-22 01:00", "2026-11-21"),
        ("00:00", "10:00", "2026-11-22 09:59", "2026-11-21"),
        ("07:00", "10:00", "2026-11-22 08:00", "2026-11-21"),
        ("01:00", "17:00", "2026-11-22 16:00", "2026-11-21"),  # while another study has the hours from 17:00
        ("17:00", "01:00", "2026-11-22 00:30", "2026-11-21"),
        ("17:00", "23:00", "2026-11-21 22:00", "2026-11-21"),
        ("00:00", "00:00", "2026-11-22 03:00", "2026-11-22"),
        ("08:00", "20:00", "2026-11-22 09:00", "2026-11-22"),  # a day
    ],
)
def test_what_begins_after_midnight_belongs_to_the_evening_before(starts: str, ends: str, now: str, name: str):
    config = NightConfig(timezone="UTC", starts=starts, ends=ends)
    night = night_at(config, at(now), "a")
    assert night is not None and night.name == name
    before, after = last_night(config, at(now), "a"), next_night(config, at(now), "a")
    assert before is not None and after is not None
    day = dt.date.fromisoformat(name)
    assert (before.name, after.name) == ((day - DAY).isoformat(), (day + DAY).isoformat())
    assert before.ends <= night.begins and night.ends <= after.begins


def test_days_are_evenings_for_a_night_that_begins_after_midnight_too():
    late = NightConfig(timezone="UTC", starts="01:00", ends="10:00", days=("fri", "sun"))
    begun = [night_at(late, at(f"2026-11-{day} 02:00"), "a") for day in range(20, 27)]  # from a Friday on
    assert [night.name if night else None for night in begun] == [
        None,
        "2026-11-20",
        None,
        "2026-11-22",
        None,
        None,
        None,
    ]
    assert late.days_of_beginning == ("sat", "mon")
    night = begun[1]
    assert night is not None
    assert (night.begins, night.shown(night.begins)) == (at("2026-11-21 01:00"), "01:00")
    assert (night.name, night.day) == ("2026-11-20", "2026-11-21")


def test_the_schedule_of_such_a_night_is_heard_on_the_day_on_which_it_begins(tmp_path: Path):
    bench = Bench(Lab.open(tmp_path / "lab"))
    for starts, cron in (("17:00", "0 17 * * fri,sun"), ("01:00", "0 1 * * sat,mon")):
        night = {"timezone": "UTC", "starts": starts, "ends": "10:00", "days": ["fri", "sun"]}
        write_yaml(bench.lab.studies_file, {"concert": {"night": night}})
        assert night_schedule(CONCERT, bench).cron_schedule == cron


def test_only_the_evenings_that_are_named_have_a_night():
    weekend = NightConfig(timezone="UTC", days=("fri", "sat"))
    night = night_at(weekend, at("2026-11-22 06:00"), "a")  # a Sunday morning: Saturday's
    assert night is not None and night.name == "2026-11-21"
    assert night_at(weekend, at("2026-11-22 18:00"), "a") is None
    after = next_night(weekend, at("2026-11-22 18:00"), "a")
    assert after is not None and after.name == "2026-11-27"


def test_where_nights_are_off_there_is_none():
    off, now = NightConfig(on=False), clock.now()
    assert (night_at(off, now, "a"), next_night(off, now, "a"), last_night(off, now, "a")) == (None, None, None)


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="the system's zone cannot be changed for one process")
def test_without_a_zone_the_rules_of_this_machine_hold(monkeypatch: pytest.MonkeyPatch):
    try:
        monkeypatch.setenv("TZ", "America/New_York")
        time.tzset()
        here = NightConfig()
        assert clock.zone_name(here.timezone) == "America/New_York"
        night = night_at(here, at("2026-11-01 02:00"), "a")  # the clock goes back in this night
        assert night is not None
        assert (night.name, night.ends - night.begins) == ("2026-10-31", 18 * HOUR)
        assert night.shown(night.ends) == "10:00 (Sun 01 Nov)"
    finally:
        monkeypatch.undo()
        time.tzset()


def test_what_the_zone_of_the_machine_is_called(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    assert clock.zone_name("Asia/Tokyo") == "Asia/Tokyo"
    monkeypatch.setenv("TZ", "")
    link = tmp_path / "localtime"
    link.symlink_to("/usr/share/zoneinfo/Europe/Paris")
    monkeypatch.setattr(clock, "_LOCALTIME", link)
    assert clock.zone_name(None) == "Europe/Paris"
    monkeypatch.setattr(clock, "_LOCALTIME", tmp_path / "none")
    named = tmp_path / "timezone"
    named.write_text("Europe/Rome\n")
    monkeypatch.setattr(clock, "_TIMEZONE", named)
    assert clock.zone_name(None) == "Europe/Rome"


def test_the_clock_can_be_moved(monkeypatch: pytest.MonkeyPatch):
    before = clock.now()
    monkeypatch.setenv(clock.OFFSET, "86400")
    assert DAY <= clock.now() - before < DAY + HOUR
