"""The benchmark of the features runs and says what it is meant to say; its figures are for a quiet machine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.mark.slow
def test_the_benchmark_prints_every_figure_with_its_bound() -> None:
    command = [sys.executable, "-m", "tests.benchmarks.features", "--minutes", "0.5", "--long-minutes", "1"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=250)
    assert ran.returncode in (0, 1), ran.stderr
    lines = ran.stdout.splitlines()
    for beginning, bound in {
        "peak memory of a build": "<= 1.5 GiB",
        "our frames against transformers' extractor": ">= 1 x",
        "building features of WAV": ">= 2.5 x",
        "data work of 5 trials x 5 epochs": ">= 20 x",
    }.items():
        found = [line for line in lines if line.startswith(beginning)]
        assert found and all(bound in line and line.lower().endswith("met") for line in found)
    assert (ran.returncode == 1) == ("NOT MET" in ran.stdout)
