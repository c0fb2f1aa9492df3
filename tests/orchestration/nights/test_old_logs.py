"""Logs of long ago go, but for those that somebody writes to; reports stay for ever."""

from __future__ import annotations

import datetime as dt
import os
from pathlib import Path

import pytest

from orchestration.nights.cleaning import clean
from orchestration.nights.old_logs import old_logs, remove_logs
from orchestration.nights.unneeded import Found, unneeded
from orchestration.parts import start
from orchestration.resources import Bench
from storage.lab import Lab
from tests.small_lab import nocturne
from tests.storage.processes import Other

NOW = dt.datetime.now(dt.UTC)
UP = """
import sys
from filelock import FileLock

with FileLock(sys.argv[1], timeout=0):
    print("up", flush=True)
    sys.stdin.readline()
"""
PARTS = ("code-server", "daemon", "webserver")


def written(path: Path, days: float) -> Path:
    """A file to which something was added so long ago."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"said\n" * 100)
    then = (NOW - dt.timedelta(days=days)).timestamp()
    os.utime(path, (then, then))
    return path


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    """With the logs of two starts of `up` and of two looks of a sensor, half of them old."""
    lab = Lab.open(tmp_path / "lab")
    home = lab.dagster_home
    for name in PARTS:
        written(home / "up" / f"{name}.before.log", 100)
        written(home / "up" / f"{name}.log", 91)
    written(home / "storage" / "__repository__" / "nights" / "1.err", 95)
    written(home / "storage" / "__repository__" / "nights" / "2.err", 89)
    written(home / "storage" / "0afa7320-a5aa-40a7-984b-ff59c5b9a9bb" / "compute_logs" / "x.err", 95)
    written(home / "up" / "notes of mine.txt", 1000)
    written(lab.reports / "2024-01-01.html", 400)
    return lab


def names(lab: Lab, now: dt.datetime = NOW) -> list[str]:
    return [one.path.name for one in old_logs(lab, now)]


def logs_in(lab: Lab) -> Found:
    found = unneeded(Bench(lab), NOW, studies=[])
    return Found([one for one in found.leftovers if one.kind == "logs"])


def test_what_nobody_has_open_goes_after_three_months(lab: Lab) -> None:
    assert names(lab, NOW - dt.timedelta(days=11)) == []
    assert sorted(names(lab)) == sorted(
        [*(f"{name}.before.log" for name in PARTS), *(f"{name}.log" for name in PARTS), "1.err"]
    )
    assert names(lab)[3] == "1.err", "the oldest first"
    (logs,) = logs_in(lab).leftovers
    assert (logs.number, logs.bytes) == (7, 7 * 500) and "more than 90 days ago" in logs.why
    done = clean(Bench(lab), [logs])
    assert (done.number, done.problems) == (7, ()) and names(lab) == []
    left = {path.name for path in lab.root.rglob("*") if path.suffix in (".log", ".err", ".txt", ".html")}
    assert left == {"2.err", "x.err", "notes of mine.txt", "README.txt", "2024-01-01.html"}
    assert not remove_logs(lab, []) and logs_in(lab).leftovers == []


def test_those_of_an_up_that_works_stay_however_long_it_says_nothing(lab: Lab) -> None:
    (seen_before,) = logs_in(lab).leftovers
    with Other(UP, lab.locks / "up.lock") as up:
        assert up.hear() == "up"
        assert names(lab) == [*names(lab)[:3], "1.err"] and not {f"{name}.log" for name in PARTS} & set(names(lab))
        assert clean(Bench(lab), [seen_before]).problems == ()
        assert {path.name for path in (lab.dagster_home / "up").glob("*.log")} == {f"{name}.log" for name in PARTS}
        assert not remove_logs(lab, old_logs(lab, NOW))
    assert sorted(names(lab)) == [f"{name}.log" for name in PARTS], "it has ended"


def test_a_log_that_is_written_to_again_is_another(lab: Lab) -> None:
    seen = old_logs(lab, NOW)
    part = start("daemon", ["-c", "print('at work')"], lab.dagster_home / "up", os.environ, speaks_for_code=False)
    assert part.ended_within(30) and part.new_lines() == []
    remove_logs(lab, seen)
    left = {path.name: path.read_text() for path in (lab.dagster_home / "up").glob("*.log")}
    assert left["daemon.log"] == "at work\n" and left["daemon.before.log"].startswith("said"), "moved there since"


def test_the_command_lists_them_and_keeps_reports(lab: Lab) -> None:
    shown = nocturne(Bench(lab), "clean", "--yes")
    assert shown.returncode == 0, shown.stderr
    (line,) = [line for line in shown.stdout.splitlines() if line.startswith("logs ")]
    assert line.split()[1] == "7" and "what `nocturne up` and its sensors said" in line
    assert names(lab) == [] and (lab.reports / "2024-01-01.html").is_file()
