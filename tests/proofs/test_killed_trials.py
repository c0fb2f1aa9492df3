"""Trials killed with SIGKILL at random moments end with the numbers of those that ran through.

Most are killed as a light process that answers one trial; some as the real command, which runs them through Dagster;
some while the features are being built. After every kill the lab is looked at as a stranger would.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ml.studies.concert.study import CONCERT
from orchestration import data
from orchestration.resources import Bench
from storage.query import query
from tests.orchestration.servers import wait_until
from tests.proofs import driver
from tests.proofs.numbers import Told, told, weights
from tests.proofs.wholeness import assert_whole, epochs_that_stand, family, in_progress, left_over, living
from tests.small_lab import ROOT, environment, small_lab

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SEED = 20261121
EPOCHS = 8
FORKS = "forkserver" in multiprocessing.get_all_start_methods()
KILLS_PER_TRIAL, COMMAND_KILLS, FEATURES_KILLS = (6, 4, 4) if FORKS else (2, 2, 2)
"""Where every start imports torch anew, a kill costs ten seconds."""

TRIALS = [f"balance_{strength}" for strength in ("0.00", "0.50", "1.00")]
COMMANDED = "balance_0.50"

SLOW = {
    "trial": {
        "window": {"seconds": 2.97, "hop_seconds": 0.7},  # many windows: an epoch takes about half a second
        "training": {"epochs": EPOCHS, "batch": 16, "learning_rate": 1e-3},
    }
}
ANNOUNCED = re.compile(rf"{COMMANDED}: epoch (\d+)\b")


@dataclass(frozen=True)
class Whole:
    """A lab in which every trial ran through."""

    bench: Bench
    told: dict[str, Told]
    epoch_seconds: float
    features: list[tuple[str, str]]


@pytest.fixture(scope="module")
def processes() -> Any:
    context = multiprocessing.get_context("forkserver" if FORKS else "spawn")
    if FORKS:
        context.set_forkserver_preload(["tests.proofs.driver"])
    return context


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, corpus: Path, processes: Any) -> Whole:
    folder = tmp_path_factory.mktemp("whole")
    bench = lab_without_features(folder / "lab", corpus)
    data.build_features(bench, CONCERT, lambda share, words: None)
    answers = {}
    for trial in TRIALS:
        child = processes.Process(target=driver.train, args=(bench.lab.root, trial, folder / "log"))
        child.start()
        child.join()
        record = bench.records.latest("concert", trial)
        assert record is not None and record.account["status"] == "finished"
        assert record.attempt == 1 and record.account["epochs_trained"] == EPOCHS
        answers[trial] = told(bench, record)
    seconds = record.account["seconds_standalone"] / EPOCHS
    assert_whole(bench, published=True)
    return Whole(bench, answers, seconds, features_of(bench))


def lab_without_features(folder: Path, corpus: Path) -> Bench:
    bench = small_lab(folder, corpus, **SLOW)
    data.take_inventory(bench, CONCERT, lambda share, words: None)
    data.divide(bench, CONCERT)
    return bench


def features_of(bench: Bench) -> list[tuple[str, str]]:
    """Digest of every file of the features."""
    from storage import durable

    folder = bench.shelf("features").find(bench.data(CONCERT).features_key)
    assert folder is not None
    return [(path.name, durable.sha256_of(path)) for path in sorted(folder.iterdir())]


def lines(log: Path) -> list[str]:
    return log.read_text(encoding="utf-8").splitlines() if log.exists() else []


def test_processes_killed_while_they_train(tmp_path: Path, corpus: Path, whole: Whole, processes: Any) -> None:
    rng = random.Random(SEED)
    bench = lab_without_features(tmp_path / "lab", corpus)
    data.build_features(bench, CONCERT, lambda share, words: None)
    kills, repeated, worst = 0, 0, 0
    for trial in TRIALS:
        log, left, killed = tmp_path / f"{trial}.log", KILLS_PER_TRIAL, True
        before_this_trial = len(epochs_that_stand(bench))
        begun_before: Counter[str] = Counter()
        while killed:
            stood = len(epochs_that_stand(bench)) - before_this_trial
            log.write_text("")
            child = processes.Process(target=driver.train, args=(bench.lab.root, trial, log))
            child.start()
            if left:
                wait_until(lambda: lines(log) or not child.is_alive(), 60, "the training is under way")  # noqa: B023
                time.sleep(rng.uniform(0, 1.5 * (EPOCHS - stood) / left) * whole.epoch_seconds)
                child.kill()
                left -= 1
            child.join()
            killed = child.exitcode == -signal.SIGKILL
            assert killed or child.exitcode == 0
            kills += killed
            assert_whole(bench, published=not killed)
            begun = Counter(line.removeprefix("begun ") for line in lines(log) if line.startswith("begun "))
            assert not begun or int(min(begun, key=int)) == stood + 1, "it goes on after the last epoch that stands"
            again = (begun & begun_before).total()
            assert begun.total() == len(begun) and again <= 1, f"one kill cost {again} epochs"
            repeated, worst = repeated + again, max(worst, again)
            begun_before |= begun
            stands = len(epochs_that_stand(bench)) - before_this_trial
            print(f"{trial}: {'killed' if killed else 'answered'}, epochs that stand {stood} -> {stands}")
        assert set(begun_before) == {str(epoch) for epoch in range(1, EPOCHS + 1)}
        assert_answered_as(bench, trial, whole)
        assert not left_over(bench)
    print(f"seed={SEED} kills={kills} epochs begun again={repeated}, at most {worst} per kill; all numbers the same")
    assert kills >= 2 * KILLS_PER_TRIAL, "too few kills to show anything"
    assert repeated > 0, "no kill hit an epoch: the test shows nothing"


def test_killed_between_the_record_and_the_database(tmp_path: Path, corpus: Path, whole: Whole, processes: Any) -> None:
    bench = lab_without_features(tmp_path / "lab", corpus)
    data.build_features(bench, CONCERT, lambda share, words: None)
    child = processes.Process(target=driver.die_before_publishing, args=(bench.lab.root, COMMANDED, tmp_path / "log"))
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    record = bench.records.latest("concert", COMMANDED)
    assert record is not None and record.account["status"] == "finished"
    assert len(query(bench.lab, "select * from leaderboard")) == 0
    assert_whole(bench, published=False)

    child = processes.Process(target=driver.train, args=(bench.lab.root, COMMANDED, tmp_path / "log"))
    child.start()
    child.join()
    assert child.exitcode == 0
    assert len(bench.records.history("concert", COMMANDED)) == 1, "it is found, not trained again"
    assert_whole(bench, published=True)
    assert query(bench.lab, "select trial from leaderboard")["trial"].tolist() == [COMMANDED]
    assert_answered_as(bench, COMMANDED, whole)


def assert_answered_as(bench: Bench, trial: str, whole: Whole) -> None:
    record = bench.records.latest("concert", trial)
    assert record is not None and record.account["status"] == "finished"
    found = told(bench, record)
    for table, expected in whole.told[trial].items():
        assert found[table] == expected, f"{trial}: {table}"
    assert record.account["epochs_done"] == EPOCHS


def test_processes_killed_while_they_build_the_features(
    tmp_path: Path, corpus: Path, whole: Whole, processes: Any
) -> None:
    rng = random.Random(SEED + 1)
    bench = lab_without_features(tmp_path / "lab", corpus)
    kills, worst = 0, 0.0
    log = tmp_path / "log"
    while kills < FEATURES_KILLS:
        log.write_text("")
        child = processes.Process(target=driver.features, args=(bench.lab.root, log))
        child.start()
        try:
            assert child.pid is not None
            pid = child.pid
            wait_until(lambda: len(family(pid)) > 1 or not child.is_alive(), 60, "children decode")  # noqa: B023
            time.sleep(rng.uniform(0, 0.6))
            all_of_them = family(pid)
        finally:
            child.kill()
            child.join()
        if child.exitcode == 0:
            break  # it was through before it could be killed
        kills += 1
        since = time.monotonic()
        wait_until(lambda: not living(all_of_them), 10, "the children die with their parent")  # noqa: B023
        worst = max(worst, time.monotonic() - since)
        assert_whole(bench, published=True)
    last = processes.Process(target=driver.features, args=(bench.lab.root, log))
    last.start()
    last.join()
    assert last.exitcode == 0
    assert features_of(bench) == whole.features
    assert_whole(bench, published=True)
    assert not left_over(bench)
    print(f"seed={SEED + 1} kills={kills} worst seconds until all children were gone={worst:.2f}")
    assert kills >= FEATURES_KILLS // 2, "too few kills to show anything"


@pytest.mark.skipif(os.name != "posix", reason="a session of its own, killed by its leader's id")
def test_the_command_killed_while_it_builds_and_while_it_trains(tmp_path: Path, corpus: Path, whole: Whole) -> None:
    rng = random.Random(SEED + 2)
    bench = small_lab(tmp_path / "lab", corpus, **SLOW)
    output = tmp_path / "output"
    told_epochs: list[int] = []
    kills, worst = 0, 0.0

    def start() -> subprocess.Popen[bytes]:
        with output.open("wb") as handle:
            return subprocess.Popen(
                [sys.executable, "-m", "orchestration.cli", "run", "concert", COMMANDED, "--yes"],
                cwd=ROOT,
                env=environment(bench),
                stdin=subprocess.DEVNULL,
                stdout=handle,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def check_after_kill(everybody: list[Any]) -> None:
        nonlocal worst
        since = time.monotonic()
        wait_until(lambda: not living(everybody), 10, "nothing outlives the command")
        worst = max(worst, time.monotonic() - since)
        assert_whole(bench, published=False)

    # While the features are being built: the children that decode must go too.
    process = start()
    wait_until(
        lambda: (building(bench) and len(family(process.pid)) > 1) or process.poll() is not None, 120, "children decode"
    )
    everybody = family(process.pid)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, output.read_text()
    assert len(everybody) > 1
    check_after_kill(everybody)

    while True:
        stood = len(epochs_that_stand(bench))
        process = start()
        if kills < COMMAND_KILLS and stood < EPOCHS - 1:
            wait_until(
                lambda: len(epochs_that_stand(bench)) > stood or process.poll() is not None,  # noqa: B023
                180,
                "the training is under way",
            )
            time.sleep(rng.uniform(0, 1.0) * whole.epoch_seconds)
            everybody = family(process.pid)
            os.kill(process.pid, signal.SIGKILL)
        process.wait()
        killed = process.returncode == -signal.SIGKILL
        said = output.read_text(encoding="utf-8")
        own = [int(found) for found in ANNOUNCED.findall(said)]
        assert own == list(range(stood + 1, stood + 1 + len(own))), "no epoch that stands is trained again"
        told_epochs += own
        if not killed:
            assert own[-1] == EPOCHS, said
            break
        kills += 1
        check_after_kill(everybody)
        assert len(in_progress(bench)) == 1, "only the run just killed; the one before was ended by this start"
        print(f"kill {kills} stood {stood} -> {len(epochs_that_stand(bench))}")
    assert process.returncode == 0, said
    assert len(told_epochs) == len(set(told_epochs)), f"an epoch was told twice: {told_epochs}"
    assert_answered_as(bench, COMMANDED, whole)
    assert_whole(bench, published=True)
    assert not in_progress(bench)
    assert not left_over(bench)
    record = bench.records.latest("concert", COMMANDED)
    assert record is not None and record.account["model_key"]
    assert weights(bench.lab.artifacts / "models" / record.account["model_key"] / "files")
    print(f"seed={SEED + 2} kills={kills}, and 1 in the features; epochs told {told_epochs}; gone in {worst:.2f} s")
    assert kills >= COMMAND_KILLS - 1, "too few kills to show anything"


def building(bench: Bench) -> bool:
    return any((bench.lab.artifacts / "features").glob(".building-*"))
