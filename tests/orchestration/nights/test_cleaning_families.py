"""States of families that lost their owner: a change in mid-grid, a request for one of them, a kill before release."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from ml.studies.denoise.study import DENOISE
from orchestration import trials
from orchestration.nights.cleaning import clean
from orchestration.nights.unneeded import Found
from orchestration.resources import Bench
from storage.lab import Lab
from tests.orchestration.nights import cleaned
from tests.orchestration.nights.cleaned import lab_of_a_grid, train
from tests.small_lab import small_lab, write_yaml

GRID = {
    "training": {"scheduler_patience": 0, "early_stop": 3, "lr": 1e-2, "batch_size": 4},
    "grid": {"training.scheduler_factor": [0.5, 0.1], "training.epochs": [2, 4]},
}
"""One family with two chains."""


@pytest.fixture(scope="module")
def looked_at(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lab with a grid of one family."""
    return lab_of_a_grid(tmp_path_factory.mktemp("families"), GRID)


@pytest.fixture
def bench(looked_at: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A copy of it, without the grids that come with the study."""
    shutil.copytree(looked_at, tmp_path / "lab")
    monkeypatch.setattr(type(DENOISE), "experiments", tmp_path / "none")
    return Bench(Lab.open(tmp_path / "lab"))


def names(bench: Bench) -> list[str]:
    return [trial.name for trial in bench.trials(DENOISE).trials]


def run(bench: Bench, name: str, forced_by: str | None = None) -> dict[str, Any]:
    return train(bench, name, forced_by, DENOISE)


def found(bench: Bench) -> Found:
    return cleaned.found(bench, study=DENOISE)


def reasons(what: Found) -> set[str]:
    return {one.why for one in what.leftovers if one.kind == "states"}


def states(bench: Bench) -> set[str]:
    return set(bench.shelf("states").keys())


def test_while_one_of_a_family_is_to_come_all_its_states_stay(bench: Bench) -> None:
    for name in names(bench)[:3]:
        run(bench, name)
    before = states(bench)
    what = found(bench)
    assert len(before) > 1 and reasons(what) == set() and what.spared == []
    clean(bench, what.leftovers)
    assert states(bench) == before
    last = run(bench, names(bench)[3])
    assert last["epochs_trained"] < last["epochs_done"], "it goes on from what was kept for it"
    assert reasons(found(bench)) == set(), "the last of a family has let go of the rest"
    assert {one.why for one in found(bench).spared} == {
        "finished trials would go on from there if they were given more epochs"
    }


@pytest.mark.parametrize("what", ["mix", "model"])
def test_a_change_in_mid_grid_leaves_states_that_go_and_the_new_ones_stay(bench: Bench, what: str) -> None:
    run(bench, names(bench)[0])
    old = states(bench)
    changed = {"mix": {"snr_db": [0.0, 1.0]}} if what == "mix" else {"model": {"channels": [8, 16]}}
    small_lab(bench.lab.root, bench.source(DENOISE, {}), "denoise", trial=changed)
    run(bench, names(bench)[0])
    new = states(bench) - old
    assert old and new and reasons(found(bench)) == {"of trials that are gone, or say something else now"}
    clean(bench, found(bench).leftovers)
    assert states(bench) == new
    second = run(bench, names(bench)[1])
    assert second["epochs_trained"] < second["epochs_done"]


def test_a_request_for_one_of_a_family_leaves_what_it_kept_for_the_others(bench: Bench) -> None:
    for name in names(bench):
        run(bench, name)
    plain = states(bench)
    run(bench, names(bench)[0], forced_by="request")
    forced = states(bench) - plain
    assert forced and reasons(found(bench)) == {"of a request to train again that is at its end"}
    clean(bench, found(bench).leftovers)
    assert states(bench) == plain and all(bench.shelf("states").note(key) is None for key in forced)


def test_killed_between_record_and_release(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: object) -> int:
        raise RuntimeError("killed here, as far as the states can tell")

    with monkeypatch.context() as patch:
        patch.setattr(trials, "release_states", killed)
        done = [run(bench, name) for name in names(bench)]
    before, what = states(bench), found(bench)
    assert reasons(what) == {"of families whose trials are all at their end"}
    clean(bench, what.leftovers)
    assert reasons(found(bench)) == set() and 0 < len(states(bench)) < len(before)
    assert len(states(bench)) == len(found(bench).spared)
    longest = max(account["epochs_done"] for account in done)
    longer = {**GRID, "grid": {"training.scheduler_factor": [0.5], "training.epochs": [longest + 2]}}
    write_yaml(bench.lab.experiments("denoise") / "small.yaml", longer)
    account = run(bench, names(bench)[0])
    assert account["epochs_trained"] == account["epochs_done"] - longest, "more epochs go on from the last"
