"""Same recordings, same settings, same machine: the same bits, wherever the lab and the recordings lie."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from ml.studies.concert.study import CONCERT
from orchestration import data, plan
from orchestration.resources import Bench
from orchestration.trials import Answer, run_trial
from storage.lab import Lab
from tests.proofs.numbers import Told, told
from tests.small_lab import nocturne, small_lab, write_yaml

SHARED, OTHER_SEED = "balance_0.50", "other_seed"


@dataclass(frozen=True)
class Labs:
    """`together` was made by the command, all trials in one run; `alone` by hand, trial by trial, elsewhere."""

    together: Bench
    alone: Bench
    alone_corpus: Path


def look(bench: Bench) -> None:
    """Inventory, split and features, as the graph makes them."""
    data.take_inventory(bench, CONCERT, lambda share, words: None)
    data.divide(bench, CONCERT)
    data.build_features(bench, CONCERT, lambda share, words: None)


def answer(bench: Bench, trial: str) -> Answer:
    return run_trial(bench, CONCERT, trial, run_id="by hand", forced_by=None, say=print)


def told_of(bench: Bench, trial: str) -> Told:
    record = bench.records.latest("concert", trial)
    assert record is not None and record.account["status"] == "finished"
    return told(bench, record)


def states(bench: Bench) -> dict[str, str]:
    return {state.trial.name: state.state for state in plan.trial_states(bench, CONCERT)}


@pytest.fixture(scope="module")
def labs(tmp_path_factory: pytest.TempPathFactory, corpus: Path) -> Labs:
    together = small_lab(tmp_path_factory.mktemp("here") / "lab", corpus, trials_per_run=5)
    ran = nocturne(together, "run", "concert", "--filter", "balance_0.", "--yes")
    assert ran.returncode == 0, ran.stdout + ran.stderr

    elsewhere = tmp_path_factory.mktemp("elsewhere")
    copied = Path(shutil.copytree(corpus, elsewhere / "ćwiczenia" / "the same, copied"))
    alone = small_lab(elsewhere / "another lab", copied)
    write_yaml(alone.lab.experiments("concert") / f"{OTHER_SEED}.yaml", {"balance_strength": 0.5, "seed": 43})
    look(alone)
    for trial in (SHARED, OTHER_SEED):
        answer(alone, trial)
    return Labs(together, alone, copied)


@pytest.mark.slow
def test_two_labs_tell_the_same_bits(labs: Labs) -> None:
    """One ran four trials in one run of Dagster in another process, the other this one trial alone, in this process."""
    runs = {record.account["run_id"] for record in labs.together.records.all()[0]}
    assert len(runs) == 1, "the trials of the first lab were to share one run"
    here, elsewhere = told_of(labs.together, SHARED), told_of(labs.alone, SHARED)
    for table in here:
        assert here[table] == elsewhere[table], table
    assert len(here["predictions"]) > 20
    print(f"equal: {', '.join(f'{len(each)} rows of {name}' for name, each in here.items())}")


def test_another_seed_tells_other_numbers(labs: Labs) -> None:
    """So the test above can fail."""
    one, other = told_of(labs.alone, SHARED), told_of(labs.alone, OTHER_SEED)
    for table in ("epochs", "predictions", "draws", "model"):
        assert one[table] != other[table], table


def test_another_strength_tells_other_numbers(labs: Labs) -> None:
    assert told_of(labs.together, "balance_0.25")["model"] != told_of(labs.together, SHARED)["model"]


def test_training_again_by_force_tells_the_same_bits(labs: Labs) -> None:
    """A trial trained anew shares no state with the first: its numbers are made again, not found."""
    before = told_of(labs.alone, SHARED)
    again = run_trial(labs.alone, CONCERT, SHARED, run_id="by hand", forced_by="a person", say=print)
    assert not again.found
    assert again.record.account["epochs_trained"] == again.record.account["epochs_done"] == 2
    anew = told(labs.alone, again.record)
    assert len(anew["epochs"]) == len(before["epochs"])
    assert [row[:-1] for row in anew["epochs"]] == [row[:-1] for row in before["epochs"]]  # the last is the state's key
    for table in ("metrics", "confusion", "predictions", "draws", "model"):
        assert anew[table] == before[table], table


def test_moving_recordings_and_lab_makes_nothing_stale(labs: Labs, tmp_path: Path) -> None:
    first = tmp_path / "first"
    lab = Path(shutil.copytree(labs.alone.lab.root, first / "lab"))
    corpus = Path(shutil.copytree(labs.alone_corpus, first / "recordings"))
    bench = Bench(Lab.open(lab))
    write_yaml(bench.lab.sources_file, {"concert": str(corpus)})
    look(bench)
    assert answer(bench, SHARED).found

    moved = Bench(Lab.open(Path(shutil.move(lab, tmp_path / "moved lab"))))
    write_yaml(moved.lab.sources_file, {"concert": str(shutil.move(corpus, tmp_path / "renamed"))})
    look(moved)
    found = states(moved)
    assert found == dict.fromkeys(found, "missing") | {SHARED: "done", OTHER_SEED: "done"}
    assert answer(moved, SHARED).found
