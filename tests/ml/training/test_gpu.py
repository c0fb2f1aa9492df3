"""Who holds the GPU, asked of a stand-in for nvidia-smi: what it prints, and that it may fail or hang."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from ml.training.gpu import GpuHolder, describe, holders

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the stand-in is a script with a first line for the kernel")


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program named nvidia-smi, the only one on PATH; its Python body is appended by the test."""
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!{sys.executable}\nimport os, sys, time\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    return program


def say(program: Path, body: str) -> None:
    program.write_text(program.read_text() + body)


def test_the_holders_are_named(stand_in: Path) -> None:
    lines = [
        "4711, /usr/bin/python3, 8192",
        "12, C:\\Program Files\\Game, Inc\\game.exe, [N/A]",
        f"{os.getpid()}, python, 300",
        "No running processes found",
    ]
    say(stand_in, f"print({chr(10).join(lines)!r})")

    found = holders()

    assert found == [
        GpuHolder(4711, "/usr/bin/python3", 8192),
        GpuHolder(12, "C:\\Program Files\\Game, Inc\\game.exe", None),
    ], "this process itself is no stranger"
    sentence = describe(found)
    assert "/usr/bin/python3 (process 4711, 8,192 MiB)" in sentence and "game.exe (process 12)" in sentence


def test_it_is_asked_for_computing_programs(stand_in: Path) -> None:
    say(stand_in, "print('1,' + ' '.join(sys.argv[1:]).replace(',', ';') + ',1')")
    assert holders()[0].name == "--query-compute-apps=pid;process_name;used_memory --format=csv;noheader;nounits"


def test_nobody_and_no_program(stand_in: Path) -> None:
    say(stand_in, "pass")
    assert holders() == [] and describe([]) == ""
    stand_in.unlink()
    assert holders() == []


def test_a_failure_is_logged_and_costs_nothing(stand_in: Path, caplog: pytest.LogCaptureFixture) -> None:
    say(stand_in, "print('1, half, 1'); sys.exit('Driver/library version mismatch')")
    assert holders() == []
    assert "failed (1)" in caplog.text and "version mismatch" in caplog.text


def test_one_that_hangs_is_left_after_five_seconds(stand_in: Path, caplog: pytest.LogCaptureFixture) -> None:
    say(stand_in, "print('1, half, 1', flush=True); time.sleep(60)")
    began = time.monotonic()
    assert holders() == []
    assert 4.5 < time.monotonic() - began < 10
    assert "no answer in 5 s" in caplog.text
