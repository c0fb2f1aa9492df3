"""The benchmark of the denoiser's steps runs and says what it is meant to say; its figures are for a quiet machine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_it_says_both_parts_and_their_product() -> None:
    small = ["--seconds", "0.05", "--rounds", "1", "--steps", "3", "--tree", "12"]
    ran = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.unet", *small], cwd=ROOT, capture_output=True, text=True, timeout=200
    )
    assert ran.returncode in (0, 1), ran.stderr
    assert (ran.returncode == 1) == ("NOT MET" in ran.stdout)
    lines = ran.stdout.splitlines()
    for what in ("the engine adds", "+ fused optimizer", "all together", "less processor time"):
        assert any(line.strip().startswith(what) for line in lines), what
    product = next(line for line in lines if " x fewer epochs times " in line).split()
    fewer, faster, whole = float(product[0]), float(product[5]), float(product[10])
    assert fewer == 12.0 and abs(whole - fewer * faster) < 0.05 * 12 + 0.5
