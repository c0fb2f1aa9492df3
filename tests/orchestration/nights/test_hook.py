"""`on_morning`: a command of a person's own, whatever it does."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from orchestration.nights.hook import on_morning
from storage.lab import Lab
from tests.small_lab import write_yaml

NOTES = "import os, sys; open('noted.txt', 'w').write(repr((sys.argv[1:], os.getcwd(), sys.stdin.read())))"

STARTS = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(120)"])
open("child", "w").write(str(child.pid))
"""


def run(lab: Lab, command: object, seconds: float = 30) -> str:
    write_yaml(lab.nights_file, {"on_morning": command})
    return on_morning(lab, lab.reports / "2026-11-21 a;b.html", seconds)


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab.open(tmp_path / "lab")


def test_the_path_of_the_report_is_its_last_argument(lab: Lab) -> None:
    assert run(lab, [sys.executable, "-c", NOTES, "hello"]).endswith(") was run")
    said = (lab.root / "noted.txt").read_text()
    assert said == repr((["hello", str(lab.reports / "2026-11-21 a;b.html")], str(lab.root), ""))


@pytest.mark.parametrize(
    "more", ["; touch {}", ";touch {}; x", "> {}", ">> {}", "2>{}", "&& touch {}", "|| x", "| tee {}", "&"]
)
def test_what_only_a_shell_understands_is_refused_and_not_handed_to_a_program(lab: Lab, more: str) -> None:
    said = run(lab, f"{sys.executable} -c pass {more.format(lab.root / 'touched')}")
    assert said.startswith("on_morning was not run: no shell reads it, and `") and said.endswith("sh -c '…'")
    assert not (lab.root / "touched").exists()


@pytest.mark.parametrize(
    "quoted", ["'a; b;'", '"a > b"', "'>'", "'&&'", "http://nowhere/?a=1&b=2", "->", "a|b", "<b>hello</b>"]
)
def test_what_is_quoted_or_within_a_word_is_meant_as_it_stands(lab: Lab, quoted: str) -> None:
    assert run(lab, f"{sys.executable} -c pass {quoted}").endswith(") was run")
    assert run(lab, [sys.executable, "-c", "import sys; sys.exit(0);", ";"]).endswith(") was run")
    assert "`>>` is for one" in run(lab, [sys.executable, "-c", "pass", ">>", "file"])


def test_without_a_command_nothing_is_said(lab: Lab) -> None:
    assert on_morning(lab, lab.reports / "a.html") == ""


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ([sys.executable, "-c", "import sys; sys.exit('no display')"], "ended with 1: no display"),
        (["/no/such/program"], "could not be run: No such file"),
        ("notify 'unbalanced", "was not run: No closing quotation"),
        ({"not": "a command"}, "was not run: "),
    ],
)
def test_its_failure_is_told_and_harmless(lab: Lab, command: object, said: str) -> None:
    assert said in run(lab, command)


def test_what_hangs_is_ended(lab: Lab) -> None:
    began = time.monotonic()
    assert run(lab, [sys.executable, "-c", "import time; time.sleep(60)"], seconds=1).endswith("was ended after 1 s")
    assert time.monotonic() - began < 30


@pytest.fixture
def child(lab: Lab) -> Iterator[Path]:
    """Where a command that STARTS one writes the id of its child, which is gone afterwards."""
    noted = lab.root / "child"
    yield noted
    if noted.is_file() and lives(noted):
        psutil.Process(int(noted.read_text())).kill()


def lives(noted: Path) -> bool:
    try:
        return psutil.Process(int(noted.read_text())).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_what_it_leaves_behind_is_not_waited_for_and_lives_on(lab: Lab, child: Path) -> None:
    began = time.monotonic()
    assert run(lab, [sys.executable, "-c", STARTS]).endswith(") was run")
    assert time.monotonic() - began < 20 and lives(child)


def test_the_failure_of_one_that_leaves_something_behind_is_told_too(lab: Lab, child: Path) -> None:
    said = run(lab, [sys.executable, "-c", f"{STARTS}\nsys.exit('no display')"])
    assert said.endswith("ended with 1: no display") and lives(child)


@pytest.mark.parametrize("hangs", ["time.sleep(60)", "child.wait()"])
def test_what_hangs_is_ended_with_all_that_it_started(lab: Lab, child: Path, hangs: str) -> None:
    assert run(lab, [sys.executable, "-c", f"{STARTS}\n{hangs}"], seconds=2).endswith("was ended after 2 s")
    by = time.monotonic() + 10
    while lives(child) and time.monotonic() < by:  # what is killed takes a moment to go
        time.sleep(0.05)
    assert not lives(child)


def test_one_that_prints_without_an_end_is_ended_before_the_disk_is_full(lab: Lab) -> None:
    began = time.monotonic()
    said = run(lab, [sys.executable, "-c", "while True: print('y' * 10_000)"])
    assert said.endswith("was ended when it had printed more than 16 MB") and time.monotonic() - began < 20


def test_of_much_that_a_failed_one_printed_the_end_is_told(lab: Lab) -> None:
    said = run(lab, [sys.executable, "-c", "import sys; print('é' * 10_000); sys.exit('no display')"])
    assert said.endswith("é no display") and len(said) < 500
