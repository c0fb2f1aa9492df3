"""The benchmark of streams runs and says what it is meant to say; its speeds are for a quiet machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from ml.models.saved import save_model
from tests.benchmarks.streaming import main
from tests.ml.inference.small import small_denoiser


def test_it_prints_every_figure_with_its_bound(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_model(small_denoiser(), tmp_path, {"sample_rate": 44_100})
    code = main(["--model", str(tmp_path), "--seconds", "1"])
    lines = capsys.readouterr().out.splitlines()
    assert code == any("NOT MET" in line for line in lines)
    for what, bound, number in (
        ("latency of a stream at", "<= 100 ms", 2),
        ("stream against", "<= -60 dB", 4),
        ("a sine through --bypass", ">= 1", 1),
        ("bytes that went out", ">= 1", 1),
    ):
        found = [line for line in lines if line.strip().startswith(what)]
        assert len(found) == number
        assert all(bound in line and line.endswith(" met") for line in found), found
    speeds = [line for line in lines if "<= 0.5 s" in line]
    assert len(speeds) == 3
