"""A real program, killed at random moments and started again, ends with the same numbers."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.ml.training.killed import run

ROOT = Path(__file__).parents[3]
EPOCHS, KILLS, SEED = 10, 4, 20261121


def start(folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "tests.ml.training.killed", str(folder), str(EPOCHS)], cwd=ROOT)


def lines(folder: Path) -> list[str]:
    log = folder / "log"
    return log.read_text().splitlines() if log.exists() else []


def begun_in(folder: Path) -> Counter[str]:
    return Counter(line for line in lines(folder) if line.startswith("begun"))


@pytest.mark.slow
def test_killed_at_random_moments_ends_as_one_that_ran_through(tmp_path: Path) -> None:
    print(f"seed={SEED}")
    rng = random.Random(SEED)
    folder = tmp_path / "killed"
    folder.mkdir()
    kills = 0
    while kills < KILLS:
        before = begun_in(folder).total()
        child = start(folder)
        try:
            while begun_in(folder).total() == before and child.poll() is None:
                time.sleep(0.005)
            time.sleep(rng.uniform(0.0, 0.3))  # an epoch takes about 0.13 s
        finally:
            child.kill()
            ended = child.wait()
        if ended == 0:
            break  # it was through before it could be killed
        kills += 1
    assert kills >= 3, "too few kills to show anything"
    assert start(folder).wait() == 0
    account = json.loads((folder / "account.json").read_text())

    (tmp_path / "whole").mkdir()
    assert account == run(tmp_path / "whole", EPOCHS, nap=0.0)

    begun = begun_in(folder)
    print(f"kills={kills} epochs begun={begun.total()} of {EPOCHS}")
    assert sorted(begun) == [f"begun {epoch}" for epoch in range(1, EPOCHS + 1)]
    assert begun.total() <= EPOCHS + kills, "each kill costs at most the epoch that it hit"
    assert begun.total() > EPOCHS, "no kill hit an epoch: the test shows nothing"
    # An epoch whose end was told is never begun again.
    done: set[str] = set()
    for line in lines(folder):
        word, _, epoch = line.partition(" ")
        assert not (word == "begun" and epoch in done)
        if word == "done":
            done.add(epoch)
