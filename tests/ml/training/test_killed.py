"""A real process, killed at random moments and started again, ends with the same numbers."""

from __future__ import annotations

import json
import multiprocessing
import random
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.ml.training.killed import run, run_and_tell

SEED = 20261121
FORKS = "forkserver" in multiprocessing.get_all_start_methods()
KILLS, EPOCHS = (20, 30) if FORKS else (4, 10)
"""Where every start imports torch anew, a kill costs ten seconds."""


def lines(folder: Path) -> list[str]:
    log = folder / "log"
    return log.read_text().splitlines() if log.exists() else []


def begun_in(folder: Path) -> Counter[str]:
    return Counter(line for line in lines(folder) if line.startswith("begun"))


@pytest.mark.slow
def test_killed_at_random_moments_ends_as_one_that_ran_through(tmp_path: Path) -> None:
    print(f"seed={SEED}")
    rng = random.Random(SEED)
    processes = multiprocessing.get_context("forkserver" if FORKS else "spawn")
    if FORKS:
        processes.set_forkserver_preload(["tests.ml.training.killed"])
    folder = tmp_path / "killed"
    folder.mkdir()
    kills = 0
    while kills < KILLS:
        before = begun_in(folder).total()
        child = processes.Process(target=run_and_tell, args=(folder, EPOCHS, 0.02))
        child.start()
        try:
            while begun_in(folder).total() == before and child.is_alive():
                time.sleep(0.002)
            time.sleep(rng.uniform(0.0, 0.3))  # an epoch takes about 0.13 s
        finally:
            child.kill()
            child.join()
        if child.exitcode == 0:
            break  # it was through before it could be killed
        kills += 1
    assert kills >= KILLS // 2, "too few kills to show anything"
    last = processes.Process(target=run_and_tell, args=(folder, EPOCHS, 0.0))
    last.start()
    last.join()
    assert last.exitcode == 0
    account = json.loads((folder / "account.json").read_text())

    (tmp_path / "whole").mkdir()
    assert account == run(tmp_path / "whole", EPOCHS, nap=0.0)

    begun = begun_in(folder)
    print(f"kills={kills} epochs begun={begun.total()} of {EPOCHS}")
    assert set(begun) == {f"begun {epoch}" for epoch in range(1, EPOCHS + 1)}
    assert begun.total() <= EPOCHS + kills, "each kill costs at most the epoch that it hit"
    assert begun.total() > EPOCHS, "no kill hit an epoch: the test shows nothing"
    # An epoch whose end was told is never begun again.
    done: set[str] = set()
    for line in lines(folder):
        word, _, epoch = line.partition(" ")
        assert not (word == "begun" and epoch in done)
        if word == "done":
            done.add(epoch)
