"""The benchmarks of the features run and say what they are meant to say; their figures are for a quiet machine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def lines_of(benchmark: str, *arguments: str) -> list[str]:
    """What it prints; its exit code says whether a bound was missed."""
    command = [sys.executable, "-m", f"tests.benchmarks.{benchmark}", *arguments]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=250)
    assert ran.returncode in (0, 1), ran.stderr
    assert (ran.returncode == 1) == ("NOT MET" in ran.stdout)
    return ran.stdout.splitlines()


def verdict(lines: list[str], beginning: str, bound: str) -> list[str]:
    """The verdicts of the lines that begin so, all with this bound."""
    found = [line for line in lines if line.startswith(beginning)]
    assert found and all(bound in line for line in found)
    return [line.split(bound)[1].strip() for line in found]


@pytest.mark.slow
def test_the_benchmark_prints_every_figure_with_its_bound() -> None:
    lines = lines_of("features", "--minutes", "0.5", "--long-minutes", "1")
    for beginning, bound in {
        "peak memory of a build": "<= 1.5 GiB",
        "our frames against transformers' extractor": ">= 1 x",
        "building features of WAV": ">= 2.5 x",
        "data work of 5 trials x 5 epochs": ">= 20 x",
    }.items():
        assert set(verdict(lines, beginning, bound)) <= {"met", "NOT MET"}


def test_the_benchmark_of_pictures_stays_within_its_memory() -> None:
    lines = lines_of("pictures", "--pictures", "300", "--workers", "2")
    assert verdict(lines, "peak memory of preparing 300 pictures at 224x224", "<= 1 GiB") == ["met"]
    assert verdict(lines, "a prepared picture in a batch against", ">= 5 x")[0] in ("met", "NOT MET")
