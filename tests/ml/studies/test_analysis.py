"""What `nocturne analyze` prints, of a grid and of a study that is none, against the records it comes from."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ml.studies.analysis import analysis, importance_of, top
from ml.studies.results import Results
from storage.lab import Lab
from storage.records import Records
from tests.ml.studies.published import results_of
from tests.storage import grid, night

DIVERGED = "bs16_lr0.0005_ep50"


@pytest.fixture(scope="module")
def of_grid(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """The eight, one of which diverged; and a ninth that ended with the model of the best."""
    lab = Lab.open(tmp_path_factory.mktemp("grid") / "lab")
    records = grid.write_grid(lab, diverge=[DIVERGED])
    point = {"training.batch_size": 16, "training.lr": 1e-4, "training.epochs": 50}
    with records.begin(grid.STUDY, "twin", "r") as attempt:
        attempt.commit(grid.account("twin", point), grid.tables(point))
    return results_of(lab, grid.STUDY)


def section(text: str, title: str) -> list[str]:
    """The lines below a title, as words."""
    lines = text.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(title)) + 1
    end = next((n for n in range(start, len(lines)) if not lines[n]), len(lines))
    return [" ".join(line.split()) for line in lines[start:end]]


def test_the_top_lists_models_once(of_grid: Results) -> None:
    shown = top(of_grid)
    losses = sorted(min(grid.curve(point)[1]) for name, point in grid.points().items() if name != DIVERGED)
    assert list(shown["validation_loss"]) == losses[:5] and not shown["trial"].duplicated().any()
    assert list(shown["others with this model"]) == [1, 0, 0, 0, 0]
    first = section(analysis(of_grid), "TOP 5")[1].split()
    assert first[:4] == ["1", f"{losses[0]:.4g}", shown["trial"].iloc[0], "1"]


def test_the_values_of_each_setting_are_listed_with_the_best_marked(of_grid: Results) -> None:
    said = section(analysis(of_grid), "WHAT EACH SETTING BRINGS")
    assert next(line for line in said if line in grid.SMALL) == "training.epochs", "what is furthest apart comes first"
    assert set(grid.SMALL) <= set(said)
    epochs = {line.split()[0]: line.split()[1:] for line in said[said.index("training.epochs") + 1 :][:2]}
    assert epochs["50"][0] == "4" and epochs["50"][-1] == "*" and "*" not in epochs["30"]
    mean = of_grid.ask("impact").set_index(["setting", "value"])["mean"]["training.epochs", "30"]
    assert epochs["30"][1] == f"{mean:.4g}"


def test_failures_and_verdicts_are_told(of_grid: Results) -> None:
    text = analysis(of_grid, ["2 good, 1 fair."])
    assert section(text, "VERDICTS") == ["2 good, 1 fair."]
    assert section(text, "FAILED TRIALS") == [f"{DIVERGED}: diverged: epoch 4: the loss of step 17 is nan"]
    assert "VERDICTS" not in analysis(of_grid)
    assert text.startswith("8 trials, ranked by validation_loss (lower is better)")
    assert max(map(len, text.splitlines())) < 120


def test_overfitting_and_statistics(of_grid: Results) -> None:
    text = analysis(of_grid)
    fits = of_grid.ask("fits").dropna(subset=["gap"])
    said = section(text, "OVERFITTING")
    assert f"mean {fits['gap'].mean():.4g}" in said[0] and fits.loc[fits["gap"].idxmax(), "trial"] in said[1]
    assert said[3].startswith("stopped early: 0 of 8 trials; epochs on average 40.0 of 40.0 planned")
    said = section(text, "STATISTICS")
    assert said[0] == "trials 8, different models 7"
    assert said[2] == "time: 8.0 min if each trial had run alone, 24 s spent"


def test_a_study_that_is_no_grid_is_analysed_as_far_as_it_goes(tmp_path: Path) -> None:
    lab = Lab.open(tmp_path / "lab")
    night.write_night(lab)
    night.write_experiments(lab)
    text = analysis(results_of(lab, night.STUDY))
    assert "5 trials, ranked by macro_f1 (higher is better)" in text
    assert "Too few trials, or no grid" in text and "balance_strength" in text
    assert "over all values of the other settings" in text, "it is the only one that differs"
    assert "balance_0.30: failed, epoch 6: the source vanished" in text
    text = analysis(results_of(lab, "emotion"))
    assert "No training loss beside the validation loss was recorded." in text
    assert section(text, "FAILED TRIALS") == ["none"]


def test_a_trial_that_was_killed_says_no_epoch(tmp_path: Path) -> None:
    lab = Lab.open(tmp_path / "lab")
    grid.write_grid(lab)
    with pytest.raises(KeyboardInterrupt), Records(lab).begin(grid.STUDY, "killed", "r"):
        raise KeyboardInterrupt
    (said,) = section(analysis(results_of(lab, grid.STUDY)), "FAILED TRIALS")
    assert said.startswith("killed: interrupted: ")


def test_one_trial_alone(tmp_path: Path) -> None:
    lab = Lab.open(tmp_path / "lab")
    point = {"training.batch_size": 16, "training.lr": 1e-4, "training.epochs": 50}
    with Records(lab).begin(grid.STUDY, "default", "r") as attempt:
        attempt.commit(grid.account("default", point), grid.tables(point))
    text = analysis(results_of(lab, grid.STUDY))
    assert "The trials differ in no setting." in text and "deviation -" in text


def test_a_whole_grid_is_said_to_be_exact(tmp_path: Path) -> None:
    lab = Lab.open(tmp_path / "lab")
    records = Records(lab)
    part = grid.FULL | {"training.batch_size": (8,), "training.optimizer": ("adamw",), "training.lr": (1e-4, 5e-4)}
    for trial, point in grid.points(part).items():
        with records.begin(grid.STUDY, trial, "r") as attempt:
            attempt.commit(grid.account(trial, point), {})
    results = results_of(lab, grid.STUDY)
    text = analysis(results)
    assert "exact, over a whole grid of 72 trials" in text and len(importance_of(results)) == 5
    assert re.search(r"trials 72, different models \d\b", text)
    (first, *_) = section(text, "HOW MUCH EACH SETTING DECIDES")[2:]
    assert first.startswith("training.lr") and float(first.split()[1]) > 50


def test_two_grids_of_different_settings_are_told_apart(tmp_path: Path) -> None:
    """What tells them apart is no setting's doing: no table goes over both."""
    lab = Lab.open(tmp_path / "lab")
    records = Records(lab)
    common = {"training.batch_size": (8, 16), "training.lr": (1e-4, 5e-4)}
    for epochs, patience, early_stop in (((4, 8), 8, 20), ((20, 30), 2, 5)):
        own = {"training.scheduler_patience": (patience,), "training.early_stop": (early_stop,)}
        for trial, point in grid.points(common | {"training.epochs": epochs} | own).items():
            with records.begin(grid.STUDY, trial, "r") as attempt:
                attempt.commit(grid.account(trial, point), {})
    results = results_of(lab, grid.STUDY)
    text = analysis(results)
    assert not len(importance_of(results)) and "Too few trials, or no grid" in text
    said = text[text.index("WHAT EACH") : text.index("HOW MUCH")]
    first, second = said.split("\n\n")[1:3]
    assert "8 trials with training.early_stop 5, training.scheduler_patience 2" in " ".join(first.split())
    assert "8 trials with training.early_stop 20, training.scheduler_patience 8" in " ".join(second.split())
    for part in (first, second):
        words = [line.strip() for line in part.splitlines()]
        assert {"training.epochs", "training.lr", "training.batch_size"} <= set(words)
        assert "training.early_stop" not in words and "all values of the other settings" in part


def test_the_means_are_over_the_trials_that_the_importance_rests_on(tmp_path: Path) -> None:
    lab = Lab.open(tmp_path / "lab")
    records = grid.write_grid(lab)
    default = {"training.batch_size": 8, "training.lr": 1e-4, "training.epochs": 75}
    with records.begin(grid.STUDY, "default", "r") as attempt:
        attempt.commit(grid.account("default", default), {})
    results = results_of(lab, grid.STUDY)
    said = section(analysis(results), "WHAT EACH SETTING BRINGS")
    assert said[0] == "Over the 8 trials of one grid; 1 trial with other values left aside."
    assert (importance_of(results)["trials"] == 8).all() and not any(line.startswith("75 ") for line in said)
