"""A cleaner that is killed at any moment, again and again, while trials of a family are trained beside it.

They come to exactly what they come to without it, and no epoch is trained twice. `NOCTURNE_TEST_KILLS=40` kills more
often, `NOCTURNE_TEST_SEED` at other moments.
"""

from __future__ import annotations

import datetime as dt
import multiprocessing
import os
import random
import shutil
import threading
import time
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from ml.studies.denoise.study import DENOISE
from orchestration import trials
from orchestration.nights.cleaning import AlreadyCleaning, clean
from orchestration.nights.unneeded import unneeded
from orchestration.resources import Bench
from storage.lab import Lab
from tests.orchestration.nights.cleaned import LATER, lab_of_a_grid
from tests.proofs.wholeness import epochs_that_stand

SEED = int(os.environ.get("NOCTURNE_TEST_SEED", "20261121"))
KILLS = int(os.environ.get("NOCTURNE_TEST_KILLS", "5"))
NOBODYS = 40
START_SECONDS = 60.0
"""So long a cleaner may take until it is at work, on a machine with a lot to do."""
GRID = {
    "training": {"scheduler_patience": 0, "early_stop": 4, "lr": 1e-2, "batch_size": 4},
    "grid": {"training.scheduler_factor": [0.5, 0.1], "training.epochs": [2, 4, 6]},
}

pytestmark = pytest.mark.skipif(
    "forkserver" not in multiprocessing.get_all_start_methods(), reason="every start would import torch anew"
)


def clean_on_and_on(root: str, experiments: str, at_work: Event) -> None:
    """The process that is killed: it takes everything for older than an hour, and cleans what it finds."""
    type(DENOISE).experiments = Path(experiments)
    bench = Bench(Lab(Path(root)))
    while True:
        found = unneeded(bench, dt.datetime.now(dt.UTC) + LATER, runs=False, studies=[DENOISE])
        at_work.set()
        try:
            clean(bench, found.leftovers)
        except AlreadyCleaning:
            time.sleep(0.01)


class Killer(threading.Thread):
    """Keeps two cleaners going and kills one after the other, at moments of its own while they are at work."""

    def __init__(self, bench: Bench, seed: int) -> None:
        super().__init__(daemon=True)
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["orchestration.nights.cleaning", "ml.training.engine"])
        self._arguments = (str(bench.lab.root), str(DENOISE.experiments))
        self._random, self._over = random.Random(seed), threading.Event()
        self.kills = 0

    def run(self) -> None:
        cleaners = [self._start(), self._start()]
        while not self._over.wait(self._random.uniform(0.05, 1.5)):
            number = self._random.randrange(2)
            cleaner, at_work = cleaners[number]
            at_work.wait(START_SECONDS)
            if cleaner.is_alive():
                cleaner.kill()
                self.kills += 1
            cleaner.join()
            cleaners[number] = self._start()
        for cleaner, _ in cleaners:
            cleaner.kill()
            cleaner.join()

    def end(self) -> None:
        self._over.set()
        self.join()

    def _start(self) -> tuple[BaseProcess, Event]:
        at_work = self._context.Event()
        process = self._context.Process(target=clean_on_and_on, args=(*self._arguments, at_work))
        process.start()
        return process, at_work


@pytest.fixture(scope="module")
def looked_at(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lab_of_a_grid(tmp_path_factory.mktemp("killed"), GRID)


def nobodys(bench: Bench) -> None:
    """States of a trial that is gone: something to remove all the time."""
    origin = DENOISE.origin(bench.data(DENOISE).fingerprint, bench.data(DENOISE).features_key)
    whose = {"study": "denoise", "family": "gone", "origin": origin, "precision": "fp32"}
    shelf = bench.shelf("states", whose)
    for number in range(NOBODYS):
        shelf.build(f"nobodys{number}", lambda folder: {"x": (folder / "x").write_bytes(b"x" * 100_000)})


def removed(bench: Bench) -> bool:
    """Whether the cleaners got at some of them."""
    return len({key for key in epochs_that_stand(bench) if key.startswith("nobodys")}) < NOBODYS


def trained(bench: Bench) -> tuple[dict[str, list[tuple[int, float]]], int]:
    """Every trial's losses, epoch by epoch, and how many epochs were trained for them."""
    told: dict[str, list[tuple[int, float]]] = {}
    count = 0
    for trial in bench.trials(DENOISE).trials:
        record = trials.run_trial(bench, DENOISE, trial.name, run_id="r", forced_by=None, say=lambda words: None).record
        rows = record.table("epochs").dropna(subset=["value"])
        told[trial.name] = sorted(zip(rows["epoch"], rows["value"], strict=True))
        count += record.account["epochs_trained"]
    return told, count


def test_cleaners_that_are_killed_again_and_again_change_nothing(
    looked_at: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(DENOISE), "experiments", tmp_path / "none")
    shutil.copytree(looked_at, tmp_path / "alone")
    alone = trained(Bench(Lab.open(tmp_path / "alone")))
    assert all(len(epochs) > 1 for epochs in alone[0].values())
    kills = rounds = 0
    while kills < KILLS:
        root = tmp_path / f"round {rounds}"
        shutil.copytree(looked_at, root)
        bench = Bench(Lab.open(root))
        nobodys(bench)
        killer = Killer(bench, SEED + rounds)
        killer.start()
        deadline = time.monotonic() + 5 * START_SECONDS
        try:
            assert trained(bench) == alone, f"seed={SEED + rounds}"
            while (kills + killer.kills < KILLS and killer.kills < 8) or not removed(bench):
                assert time.monotonic() < deadline, "the cleaners remove nothing"
                time.sleep(0.1)
        finally:
            killer.end()
        kills, rounds = kills + killer.kills, rounds + 1
        for kind in ("states", "features", "models"):
            shelf = Bench(bench.lab).shelf(kind)
            assert all(shelf.find(key) is not None for key in set(shelf.keys())), f"seed={SEED + rounds - 1}"
            assert not list(shelf.folder.glob(".damaged-*"))
        stand = epochs_that_stand(bench)
        assert len({key for key in stand if not key.startswith("nobodys")}) == alone[1], (
            "there is a note of every epoch"
        )
        healthy, damaged = bench.records.all()
        assert len(healthy) == len(alone[0]) and damaged == []
        shutil.rmtree(root)
    print(f"seed={SEED} kills={kills} rounds={rounds} trials={len(alone[0]) * rounds} epochs trained twice=0 damaged=0")
