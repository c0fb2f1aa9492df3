"""Which trials share a run, which come next, and which states go when a family is finished."""

from __future__ import annotations

from pathlib import Path

import pytest

from ml.studies.denoise.demo import write_corpus
from ml.studies.denoise.study import DENOISE
from orchestration import data, trials
from orchestration.asking import wanted_trials
from orchestration.estimating import Cost, longest_of_chains
from orchestration.models import find_model
from orchestration.ordering import neighbours, smartly
from orchestration.resources import Bench, NotReady
from storage.artifacts import Shelf
from storage.durable import LabFull
from tests.orchestration.commands import command
from tests.small_lab import small_lab, write_yaml

GRID = {
    "training": {"scheduler_patience": 0, "early_stop": 3, "lr": 1e-2},
    "grid": {
        "training.batch_size": [4, 8],
        "training.scheduler_factor": [0.5, 0.1],
        "training.epochs": [2, 4],
    },
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("noise") / "corpus"
    folder.mkdir()
    write_corpus(folder, scale=0.1)
    return folder


@pytest.fixture
def bench(tmp_path: Path, corpus: Path) -> Bench:
    bench = small_lab(tmp_path / "lab", corpus, "denoise")
    write_yaml(bench.lab.experiments("denoise") / "small.yaml", GRID)
    return bench


@pytest.fixture
def ready(bench: Bench) -> Bench:
    data.take_inventory(bench, DENOISE, lambda share, words: None)
    data.divide(bench, DENOISE)
    data.build_features(bench, DENOISE, lambda share, words: None)
    return bench


def names(bench: Bench, mode: str) -> list[str]:
    return [trial.name for trial in wanted_trials(DENOISE, bench.trials(DENOISE), (), None, None, mode)]


def run(bench: Bench, name: str) -> trials.Answer:
    return trials.run_trial(bench, DENOISE, name, run_id="r", forced_by=None, say=lambda words: None)


def test_families_stay_in_one_run_where_they_fit(bench: Bench) -> None:
    every = bench.trials(DENOISE).trials
    groups = neighbours(bench, DENOISE, every)
    families = {trial.name: DENOISE.family(trial) for trial in every}
    assert [name for group in groups for name in group] == [trial.name for trial in every]
    assert max(map(len, groups)) <= 36
    for family in set(families.values()):
        assert sum(any(families[name] == family for name in group) for group in groups) <= 2
    full = wanted_trials(DENOISE, bench.trials(DENOISE), (), None, None, "full")
    assert [len(group) for group in neighbours(bench, DENOISE, full)] == [36] * 24
    hole = [trial for trial in full if trial.name != full[5].name]
    assert [len(group) for group in neighbours(bench, DENOISE, hole)][:3] == [5, 30, 36]


def test_what_is_expected_counts_a_chain_once(bench: Bench) -> None:
    full = wanted_trials(DENOISE, bench.trials(DENOISE), (), None, None, "full")
    costs = [Cost(float(epochs), float(epochs), 1, "") for epochs in map(DENOISE.planned_epochs, full)]
    longest = longest_of_chains(DENOISE, full, costs)
    assert [cost.seconds for cost in longest] == [150.0] * 144


def test_siblings_share_epochs_and_their_states_go_with_the_last_of_them(ready: Bench) -> None:
    small = names(ready, "small")
    states = ready.shelf("states")
    trained = {}
    for name in small[:3]:
        trained[name] = run(ready, name).record.account
    assert states.keys(), "a sibling has not come yet"
    trained[small[3]] = run(ready, small[3]).record.account
    kept = len(states.keys())
    assert 1 <= kept <= 4, "all of the family are finished: of its two chains the last and the best state stay"
    done = [account["epochs_done"] for account in trained.values()]
    assert sum(account["epochs_trained"] for account in trained.values()) < sum(done)
    assert trained[small[1]]["epochs_trained"] == done[1] - done[0], "the longer one goes on from the shorter one"
    for account in trained.values():
        assert account["status"] == "finished" and account["seconds_standalone"] > 0
        assert ready.shelf("models").find(account["model_key"])
    again = run(ready, small[0])
    assert again.found
    longer = {**GRID, "grid": {**GRID["grid"], "training.batch_size": [4], "training.epochs": [6]}}
    write_yaml(ready.lab.experiments("denoise") / "longer.yaml", longer)
    account = run(ready, names(ready, "longer")[0]).record.account
    assert account["epochs_trained"] == account["epochs_done"] - done[1], "more epochs go on from the last"


def test_states_go_also_where_trials_of_the_family_diverge(ready: Bench) -> None:
    write_yaml(
        ready.lab.experiments("denoise") / "steep.yaml",
        {
            "training": {"lr": 1e30, "clip_norm": None},
            "grid": {"training.epochs": [2, 3], "training.early_stop": [1, 2]},
        },
    )
    steep = names(ready, "steep")
    said: list[str] = []
    for name in steep:
        with pytest.raises(trials.TrialFailed, match="epoch") as problem:
            run(ready, name)
        said.append(problem.value.sentence)
        record = ready.records.latest("denoise", name)
        assert record is not None and record.account["status"] == "diverged"
    assert len(set(said)) == 1, "the first one's answer is that of all"
    assert ready.shelf("states").keys() == []


def test_what_diverged_is_told_with_what_to_do(ready: Bench) -> None:
    write_yaml(
        ready.lab.experiments("denoise") / "steep.yaml",
        {"training": {"lr": 1e30, "clip_norm": None, "epochs": 2}},
    )
    said = command(ready, "run", "denoise", "steep", "--yes")
    assert said.code == 1 and "steep: epoch 1: " in said.err
    assert "diverge again" in said.err and "--force" in said.err


def test_states_that_cannot_be_released_cost_no_trial(ready: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    small = names(ready, "small")
    for name in small[:3]:
        run(ready, name)

    def full(shelf: Shelf, keys: object) -> int:
        raise LabFull("no room to write")

    monkeypatch.setattr(Shelf, "release", full)
    said: list[str] = []
    answer = trials.run_trial(ready, DENOISE, small[3], run_id="r", forced_by=None, say=said.append)
    assert answer.record.account["status"] == "finished"
    assert [line for line in said if "no room to write" in line and "stay on the disk" in line]


def test_a_model_that_was_damaged_is_told_apart_from_a_trial_that_never_was(ready: Bench) -> None:
    name = names(ready, "small")[0]
    folder = ready.shelf("models").find(run(ready, name).record.account["model_key"])
    assert folder is not None and find_model(ready, DENOISE, name) == folder
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    for said in (name, f"unet1d_{name}"):
        with pytest.raises(NotReady, match=f"the model of {name} is missing or damaged: .*{name} --force"):
            find_model(ready, DENOISE, said)
    with pytest.raises(NotReady, match="no finished trial"):
        find_model(ready, DENOISE, "never")


def test_the_smart_order_asks_each_once_whatever_becomes_of_it(ready: Bench) -> None:
    wanted = wanted_trials(DENOISE, ready.trials(DENOISE), (), None, None, "small")
    asked = []
    for [name] in smartly(ready, DENOISE, wanted):
        asked.append(name)
        if len(asked) < 3:
            run(ready, name)
    assert sorted(asked) == sorted(trial.name for trial in wanted)
