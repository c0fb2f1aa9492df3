"""`on_morning`: a command of a person's own, whatever it does."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from orchestration.nights.hook import on_morning
from storage.lab import Lab
from tests.small_lab import write_yaml

NOTES = "import os, sys; open('noted.txt', 'w').write(repr((sys.argv[1:], os.getcwd(), sys.stdin.read())))"


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


def test_no_shell_reads_it(lab: Lab) -> None:
    assert run(lab, f"{sys.executable} -c pass ; touch {lab.root / 'touched'}").endswith("was run")
    assert not (lab.root / "touched").exists()


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
