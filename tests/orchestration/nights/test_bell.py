"""The bell at the end of a night: nothing is begun after it, what runs is paused, and the machine is free in time."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from ml.studies.concert.study import CONCERT, ConcertStudy
from ml.studies.study import Outcome, TrialJob
from orchestration import data
from orchestration.nights import clock
from orchestration.nights.bell import Bell
from orchestration.resources import Bench
from orchestration.trials import Answer, NightOver, run_trial
from tests.small_lab import small_lab, write_yaml

REAL = ConcertStudy.run_trial
MORNING = dt.datetime(2026, 11, 22, 9, tzinfo=dt.UTC)


class Wall:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.shows = MORNING - dt.timedelta(minutes=1)

    def move(self, seconds: float) -> None:
        """To so many seconds after the bell."""
        self.shows = MORNING + dt.timedelta(seconds=seconds)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, corpus: Path) -> Bench:
    bench = small_lab(tmp_path_factory.mktemp("bell") / "lab", corpus)
    data.take_inventory(bench, CONCERT, lambda share, words: None)
    data.divide(bench, CONCERT)
    data.build_features(bench, CONCERT, lambda share, words: None)
    return bench


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> Wall:
    made = Wall()
    monkeypatch.setattr(clock, "now", lambda: made.shows)
    return made


def trained(bench: Bench, name: str, seed: int, say: Callable[[str], None] = lambda words: None) -> Answer:
    write_yaml(bench.lab.experiments("concert") / f"{name}.yaml", {"seed": seed})
    return run_trial(bench, CONCERT, name, run_id="night", forced_by=None, say=say, bell=Bell(MORNING, 60))


def account(bench: Bench, name: str) -> dict[str, Any]:
    record = bench.records.latest("concert", name)
    assert record is not None
    return record.account


def test_nothing_is_begun_after_the_bell(lab: Bench, wall: Wall) -> None:
    wall.move(1)
    with pytest.raises(NightOver, match="late is not begun: the night is over"):
        trained(lab, "late", 1)
    assert lab.records.begun("concert", "late") == {}, "it never was an attempt"


def test_a_trial_pauses_at_the_border_of_its_epoch_and_goes_on_from_there(lab: Bench, wall: Wall) -> None:
    def ring(words: str) -> None:
        if ": epoch 1 " in words:
            wall.move(1)

    with pytest.raises(NightOver, match=r"border is paused with 1 of 2 epochs: .* the next goes on from there"):
        trained(lab, "border", 2, ring)
    said = account(lab, "border")
    assert (said["status"], said["epochs_done"], said["error"]) == ("paused", 1, "the night ended after epoch 1")
    wall.move(-30)
    said = trained(lab, "border", 2).record.account
    assert (said["status"], said["epochs_done"], said["epochs_trained"]) == ("finished", 2, 1)


def test_an_epoch_that_outlasts_the_grace_ends_in_its_middle(
    lab: Bench, wall: Wall, monkeypatch: pytest.MonkeyPatch
) -> None:
    shares: list[tuple[int, float]] = []

    def slow(study: ConcertStudy, job: TrialJob) -> Outcome:
        def progress(epoch: int, share: float) -> None:
            wall.move(44 if epoch == 1 else 46)  # of 60: an epoch may end within 45
            shares.append((epoch, share))
            job.progress(epoch, share)

        return REAL(study, replace(job, progress=progress, stop=lambda: False))

    monkeypatch.setattr(ConcertStudy, "run_trial", slow)
    with pytest.raises(NightOver, match="middle is paused with 1 of 2 epochs"):
        trained(lab, "middle", 3)
    assert shares[-1][0] == 2 and shares[-1][1] < 1
    said = account(lab, "middle")
    assert (said["status"], said["epochs_done"], said["again"]) == ("paused", 1, True)
    assert said["error"] == "the night ended; finished epochs are kept"


def test_an_evaluation_that_does_not_end_is_interrupted(
    lab: Bench, wall: Wall, monkeypatch: pytest.MonkeyPatch
) -> None:
    def endless(study: ConcertStudy, job: TrialJob) -> Outcome:
        wall.move(50)
        time.sleep(30)
        raise AssertionError("nobody woke it")

    monkeypatch.setattr(ConcertStudy, "run_trial", endless)
    began = time.monotonic()
    with pytest.raises(NightOver, match="endless is paused with 0 of 2 epochs"):
        trained(lab, "endless", 4)
    assert time.monotonic() - began < 10
    assert account(lab, "endless")["status"] == "paused"


def test_who_waits_for_the_machine_goes_home_at_the_bell(lab: Bench, wall: Wall) -> None:
    def ring(words: str) -> None:
        if "the machine is busy with" in words:
            wall.move(1)

    with FileLock(lab.lab.locks / "machine.lock"), pytest.raises(NightOver, match="waits is not begun"):
        trained(lab, "waits", 5, ring)
    assert lab.records.begun("concert", "waits") == {}
