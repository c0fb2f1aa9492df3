"""A file with a grid is a trial for every point: their names, their order, and what is refused."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from ml.studies.denoise.study import DENOISE
from ml.studies.experiments import Trials, load_trials, told_apart
from tests.small_lab import write_yaml

SETTINGS = DENOISE.settings()


def grid(folder: Path, stem: str = "mine", /, **said: object) -> Trials:
    write_yaml(folder / f"{stem}.yaml", said)
    return load_trials(DENOISE, SETTINGS, [folder])


@pytest.fixture(scope="module")
def own() -> Trials:
    return load_trials(DENOISE, SETTINGS, [DENOISE.experiments])


def test_the_grids_are_those_of_the_guide(own: Trials) -> None:
    assert own.problems == () and own.notes == ()
    assert Counter(trial.mode or trial.name for trial in own.trials) == {"default": 1, "quick": 8, "full": 864}
    modes = [trial.mode or trial.name for trial in own.trials]
    assert modes == ["default"] + ["quick"] * 8 + ["full"] * 864
    values = {
        setting: sorted({str(point[setting]) for name, point in told_apart(own.trials[9:]).items()})
        for setting in told_apart(own.trials)["default"]
    }
    assert values == {
        "training.batch_size": ["16", "32", "8"],
        "training.lr": ["0.0001", "0.0002", "0.0005", "5e-05"],
        "training.epochs": ["100", "150", "75"],
        "training.optimizer": ["adam", "adamw"],
        "training.scheduler_patience": ["12", "15", "8"],
        "training.scheduler_factor": ["0.3", "0.5"],
        "training.early_stop": ["20", "25"],
    }
    for trial in own.trials[1:9]:
        said = trial.config.training
        assert (said.optimizer, said.scheduler_patience, said.scheduler_factor, said.early_stop) == (
            "adam",
            10,
            0.5,
            15,
        )
        assert (said.batch_size in (8, 16), said.lr in (1e-4, 5e-4), said.epochs in (30, 50)) == (True, True, True)


def test_a_name_carries_every_setting(own: Trials) -> None:
    assert len({trial.name for trial in own.trials}) == 873
    trial = own.named("bs8_lr5e-05_ep75_adam_sp8_sf0.5_es20")
    said = trial.config.training
    assert (said.batch_size, said.lr, said.epochs, said.optimizer) == (8, 5e-5, 75, "adam")
    assert (said.scheduler_patience, said.scheduler_factor, said.early_stop) == (8, 0.5, 20)
    assert DENOISE.remarks(trial) == [], "a grid as a whole tells its settings apart"


def test_families_stand_together_and_share_their_beginning(own: Trials) -> None:
    families = [DENOISE.family(trial) for trial in own.trials[9:]]
    assert all(len(set(families[first : first + 36])) == 1 for first in range(0, 864, 36))
    assert len(set(families)) == 24
    assert len({DENOISE.chain(trial) for trial in own.trials[9:]}) == 24 * 6


def test_another_setting_of_a_grid_is_in_the_names_too(tmp_path: Path) -> None:
    found = grid(tmp_path, grid={"seed": [1, 2], "training.early_stop": [20]})
    names = [trial.name for trial in found.trials]
    assert names == [f"bs8_lr0.0001_ep75_adam_sp8_sf0.5_es20_seed{seed}" for seed in (1, 2)]
    assert [trial.config.seed for trial in found.trials] == [1, 2] and found.trials[0].mode == "mine"


def test_what_two_grids_have_is_one_trial(tmp_path: Path) -> None:
    write_yaml(tmp_path / "a.yaml", {"grid": {"training.epochs": [75, 100]}})
    found = grid(tmp_path, "b", grid={"training.epochs": [100, 150]})
    assert [(trial.mode, trial.config.training.epochs) for trial in found.trials] == [("a", 75), ("a", 100), ("b", 150)]
    assert found.problems == () and "b.yaml: 1 of its 2 points are those of another grid" in found.notes[0]


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        (
            {"grid": {"training.speed": [1]}},
            "there is no setting `training.speed`; allowed there: batch_size, clip_norm",
        ),
        ({"grid": {"training.epochs": 5}}, "`training.epochs` is 5; expected a list of values"),
        ({"grid": {"training.epochs": []}}, "`training.epochs` is []; expected a list of values"),
        ({"grid": []}, "`grid` is []; expected lines such as `training.lr: [1e-4, 5e-4]` below it"),
        ({"grid": {"training.lr": [-1.0]}}, "`training.lr` is -1.0"),
        ({"grid": {"training.epochs": [5, 5]}}, "two points of the grid are named bs8_lr0.0001_ep5_"),
        ({"grid": {"training.epochs": [5]}, "name": "x"}, "`name` is of one trial"),
        ({"grid": {"seed": list(range(200)), "training.epochs": list(range(1, 200))}}, "200 x 199 = 39800 points"),
        ({"grid": {"mix.seed": [1, 2]}}, "`mix`"),
    ],
)
def test_a_grid_that_cannot_be_is_refused_in_a_sentence(tmp_path: Path, said: dict[str, object], sentence: str) -> None:
    found = grid(tmp_path, **said)
    assert not found.trials and len(found.problems) == 1
    assert sentence in found.problems[0] and "mine.yaml" in found.problems[0]
