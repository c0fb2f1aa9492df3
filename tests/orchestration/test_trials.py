"""One trial in an orderly night and in a bad one: what is recorded, what is said, and that the others go on."""

from __future__ import annotations

import os
import signal
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from ml.studies.concert.study import CONCERT, ConcertStudy
from ml.studies.study import Outcome, TrialJob
from ml.training import walk
from ml.training.accounts import OutOfMemory
from orchestration import account as accounts
from orchestration import data, execute, trials
from orchestration.failures import may_pass, passes_later
from orchestration.resources import Bench, NotReady
from orchestration.trials import Answer, TrialFailed, run_trial
from storage.durable import LabFull
from tests.orchestration.commands import command
from tests.small_lab import small_lab, write_yaml

REAL = ConcertStudy.run_trial


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, corpus: Path) -> Bench:
    """A lab whose features are built; every test trains trials of its own."""
    bench = small_lab(
        tmp_path_factory.mktemp("trials") / "lab", corpus, trials_per_run=3, retries=1, retry_delay_seconds=0.1
    )
    data.take_inventory(bench, CONCERT, lambda share, words: None)
    data.divide(bench, CONCERT)
    data.build_features(bench, CONCERT, lambda share, words: None)
    return bench


@pytest.fixture
def declare(lab: Bench) -> Any:
    """Declares trials of one test; they are gone after it."""
    written: list[Path] = []

    def write(name: str, seed: int) -> None:
        written.append(lab.lab.experiments("concert") / f"{name}.yaml")
        write_yaml(written[-1], {"seed": seed})

    yield write
    for path in written:
        path.unlink(missing_ok=True)


def asked(bench: Bench, name: str, said: list[str], forced_by: str | None = None, run_id: str = "by hand") -> Answer:
    return run_trial(bench, CONCERT, name, run_id=run_id, forced_by=forced_by, say=said.append)


def account(bench: Bench, name: str) -> dict[str, Any]:
    record = bench.records.latest("concert", name)
    assert record is not None
    return record.account


def no_database(lab: Any) -> None:
    raise OSError("the database is on a lost drive")


def test_a_database_that_cannot_be_written_costs_no_trial(
    lab: Bench, declare: Callable[[str, int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    declare("published", 1)
    monkeypatch.setattr(trials, "publish", no_database)
    for found in (False, True):
        said: list[str] = []
        assert asked(lab, "published", said).found is found
        assert "recorded; results.duckdb shows the state before: the database is on a lost drive" in said
    assert account(lab, "published")["status"] == "finished"

    declare("unpublished", 2)

    def broken(study: ConcertStudy, job: TrialJob) -> Outcome:
        raise ValueError("the real trouble")

    monkeypatch.setattr(ConcertStudy, "run_trial", broken)
    with pytest.raises(TrialFailed, match="the real trouble"):
        asked(lab, "unpublished", [])
    assert account(lab, "unpublished")["error"].startswith("the real trouble\n")


@pytest.mark.parametrize("where", ["model", "account", "commit"])
def test_what_fails_after_the_training_is_recorded_too(
    lab: Bench, declare: Callable[[str, int], None], monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    declare(f"late_{where}", 3)

    def late(study: ConcertStudy, job: TrialJob) -> Outcome:
        def save(folder: Path) -> dict[str, Any]:
            raise RuntimeError("the weights cannot be written")

        outcome = REAL(study, job)
        if where == "model":
            return replace(outcome, save_model=save)
        if where == "account":
            return replace(outcome, selection_value="high")  # type: ignore[arg-type]
        return replace(outcome, tables=outcome.tables | {"strange": outcome.tables["epochs"]})

    with monkeypatch.context() as patch:
        patch.setattr(ConcertStudy, "run_trial", late)
        if where == "model":  # trials of one seed share epochs, and a model is found by its epoch
            patch.setattr(accounts, "fingerprint", lambda *parts: "0" * 31 + "1")
        with pytest.raises(TrialFailed) as failed:
            asked(lab, f"late_{where}", [])
    words = {"model": "the weights cannot be written", "account": "selection_value", "commit": "tables strange"}
    assert words[where] in failed.value.sentence and not failed.value.again
    said = account(lab, f"late_{where}")
    assert (said["status"], said["epochs_done"], said["again"]) == ("failed", 2, False)
    assert words[where] in said["error"]
    assert asked(lab, f"late_{where}", []).record.account["status"] == "finished", "and its epochs are kept"


def test_settings_that_broke_in_the_night_fail_the_trial_and_not_the_run(
    lab: Bench, declare: Callable[[str, int], None]
) -> None:
    with pytest.raises(TrialFailed, match="its file is gone; no trial has this name now"):
        asked(lab, "deleted", [])
    declare("typo", 4)
    (lab.lab.experiments("concert") / "typo.yaml").write_text("sede: 4")
    with pytest.raises(TrialFailed, match="unknown key `sede`"):
        asked(lab, "typo", [])
    before = lab.lab.studies_file.read_text()
    try:
        lab.lab.studies_file.write_text("concert: [")
        with pytest.raises(TrialFailed, match="not valid YAML") as failed:
            asked(lab, "balance_0.50", [])
        assert not failed.value.again
    finally:
        lab.lab.studies_file.write_text(before)


def test_epochs_that_were_found_count_when_a_trial_is_interrupted(
    lab: Bench, declare: Callable[[str, int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    declare("resumed", 5)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(ConcertStudy, "run_trial", lambda study, job: REAL(study, replace(job, report=interrupt)))
        asked(lab, "resumed", [])

    def at_once(*arguments: Any, **more: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(walk, "train_epoch", at_once)
        asked(lab, "resumed", [])
    said = account(lab, "resumed")
    assert (said["status"], said["epochs_done"], said["epochs_trained"]) == ("paused", 1, 0)
    said = asked(lab, "resumed", []).record.account
    assert (said["epochs_done"], said["epochs_trained"]) == (2, 1)


def interrupt(note: object) -> None:
    raise KeyboardInterrupt


class Ballast:
    """What a failed trial held: its network, its features."""


@pytest.mark.slow
def test_one_failure_neither_stops_the_others_nor_keeps_its_memory_nor_is_tried_in_vain(
    lab: Bench, declare: Callable[[str, int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, name in enumerate(("night_1", "night_2", "night_3")):
        declare(name, 60 + number)
    held: list[weakref.ref[Ballast]] = []
    tried: list[str] = []
    freed: list[bool] = []

    def bad_night(study: ConcertStudy, job: TrialJob) -> Outcome:
        tried.append(job.trial.name)
        if held:
            freed.append(held[-1]() is None)
        if job.trial.name == "night_3":
            return REAL(study, job)
        ballast = Ballast()
        ballast.itself = ballast  # type: ignore[attr-defined]  # as modules and their hooks do
        held.append(weakref.ref(ballast))
        if job.trial.name == "night_1":
            raise ValueError("a setting that no retry mends")
        raise OSError("the drive is away")

    monkeypatch.setattr(ConcertStudy, "run_trial", bad_night)
    said = command(lab, "run", "concert", "--filter", "night_", "--yes")
    assert said.code == 1 and said.trained == ["night_3"], said.err
    assert tried == ["night_1", "night_2", "night_3", "night_2"], "what cannot pass is not tried again"
    assert freed and all(freed)
    assert "2 of 3 trials failed; the others stand:" in said.err
    assert "\n  night_1: a setting that no retry mends\n  night_2: the drive is away\n" in said.err


@pytest.mark.skipif(os.name == "nt", reason="signals are of POSIX")
@pytest.mark.slow
def test_an_interrupted_force_goes_on_with_the_same_command(
    lab: Bench, declare: Callable[[str, int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    declare("again_1", 71)
    declare("again_2", 72)
    assert command(lab, "run", "concert", "--filter", "again_", "--yes").code == 0

    def epochs() -> dict[str, list[tuple[str, int]]]:
        return {
            name: [
                (record.account["status"], record.account["epochs_trained"])
                for record in lab.records.history("concert", name)
            ]
            for name in ("again_1", "again_2")
        }

    def interrupted(study: ConcertStudy, job: TrialJob) -> Outcome:
        def report(note: walk.EpochNote) -> None:
            job.report(note)
            if job.trial.name == "again_2":
                signal.raise_signal(signal.SIGINT)

        return REAL(study, replace(job, report=report))

    force = ("run", "concert", "--filter", "again_", "--force", "--yes")
    with monkeypatch.context() as patch:
        patch.setattr(ConcertStudy, "run_trial", interrupted)
        said = command(lab, *force)
    assert said.code == 130
    assert "interrupted: 1 of 2 trials are done and kept; again_2 is paused" in said.err, said.err
    assert epochs() == {"again_1": [("finished", 2)] * 2, "again_2": [("finished", 2), ("paused", 1)]}

    said = command(lab, *force)
    assert (said.code, said.trained) == (0, ["again_2"]), said.err
    assert "note: goes on with --force of " in said.out and "1 of 2 trials ended" in said.out
    assert epochs()["again_2"] == [("finished", 2), ("paused", 1), ("finished", 1)]
    assert len(epochs()["again_1"]) == 2

    said = command(lab, *force)
    assert (said.code, said.trained) == (0, ["again_1", "again_2"]), "what is ended is a new request"
    assert epochs()["again_1"] == [("finished", 2)] * 3


def test_a_run_that_fails_without_a_word_is_no_success(
    lab: Bench, declare: Callable[[str, int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    declare("wordless", 80)
    whole = execute.Terminal.materialize

    def silent(terminal: Any, keys: Any, partitions: Any, tags: Any) -> tuple[bool, list[str]]:
        return (False, []) if partitions else whole(terminal, keys, partitions, tags)

    monkeypatch.setattr(execute.Terminal, "materialize", silent)
    said = command(lab, "run", "concert", "wordless", "--yes")
    assert said.code == 1
    assert "1 of 1 trial failed:\n  wordless: its run ended without a word" in said.err


def test_our_own_sentence_is_told_before_the_cause_below_it() -> None:
    @dg.asset
    def not_ready() -> None:
        try:
            Path("/nowhere/at/all").read_text()
        except OSError as problem:
            raise NotReady("connect the drive: then run again") from problem

    result = dg.materialize([not_ready], raise_on_error=False, instance=dg.DagsterInstance.ephemeral())
    (event,) = [event for event in result.all_events if event.is_step_failure]
    assert execute._sentences(event) == ["not_ready: connect the drive: then run again"]


@pytest.mark.parametrize(
    ("problem", "within_seconds", "the_same_night"),
    [
        (OSError("the drive is gone"), True, True),
        (RuntimeError("CUDA error: the launch timed out"), True, True),
        (LabFull("no room"), False, True),
        (OutOfMemory("a game has the GPU"), False, True),
        (NotReady("no source"), False, False),
        (ValueError("a bad setting"), False, False),
    ],
)
def test_what_may_pass_is_tried_again_and_when(problem: Exception, within_seconds: bool, the_same_night: bool) -> None:
    assert (may_pass(problem), passes_later(problem)) == (within_seconds, the_same_night)
