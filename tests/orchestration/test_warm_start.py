"""Runs are forked from a process that has torch loaded, and live and die as processes of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import psutil
import pytest

from orchestration.warm_start import fork_runs_from_a_warm_process
from tests.small_lab import ROOT


def test_only_a_code_server_is_changed():
    assert not fork_runs_from_a_warm_process()


@pytest.mark.skipif(sys.platform != "linux", reason="forked on Linux only")
def test_runs_begin_warm_are_noticed_when_killed_and_outlive_their_server(tmp_path):
    output = tmp_path / "said"
    with output.open("w") as handle:  # a file: the run that is left would keep a pipe open
        ran = subprocess.run(
            [sys.executable, "-m", "tests.orchestration.warm_probe"],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=handle,
            stderr=subprocess.DEVNULL,
            timeout=200,
        )
    said = output.read_text().splitlines()
    assert ran.returncode == -signal.SIGKILL
    assert said[:3] == ["loaded True True own process True code 0"] * 3
    assert said[3:5] == ["warm is faster True", "killed -9"]
    left = psutil.Process(int(said[5].removeprefix("left ")))
    assert left.is_running() and left.status() != psutil.STATUS_ZOMBIE
    left.kill()
