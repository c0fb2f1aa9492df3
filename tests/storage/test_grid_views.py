"""What SQL says of a grid of settings: how each training ended, what each setting brings, what failed."""

from __future__ import annotations

from pathlib import Path

import pytest

from storage.lab import Lab
from storage.records import Records
from storage.results import publish, query, read, rebuild
from tests.storage import grid, night

DIVERGED = "bs16_lr0.0005_ep50"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    lab = Lab.open(tmp_path_factory.mktemp("grid") / "lab")
    grid.write_grid(lab, diverge=[DIVERGED])
    assert publish(lab).published
    return lab


def test_fits_tell_of_each_training_how_it_ended(lab: Lab) -> None:
    fits = read(lab, "fits").set_index("trial")
    for trial, point in grid.points().items():
        row = fits.loc[trial]
        if trial == DIVERGED:
            assert row["status"] == "diverged" and row[["train_loss", "gap", "model_key"]].isna().all()
            continue
        train, validation, stopped = grid.curve(point)
        assert row["train_loss"] == train[-1] and row["validation_loss"] == validation[-1]
        assert row["best_validation_loss"] == min(validation) and row["gap"] == validation[-1] - train[-1]
        assert (row["epochs_done"], row["epochs_planned"]) == (len(validation), point["training.epochs"])
        assert row["stopped_early"] == stopped and row["verdict"].startswith("good: ")
    assert list(fits["best_validation_loss"].dropna()) == sorted(fits["best_validation_loss"].dropna())


def test_impact_says_what_the_trials_of_each_value_reach(lab: Lab) -> None:
    impact = read(lab, "impact")
    assert sorted(set(impact["setting"])) == sorted(grid.SMALL), "only what differs"
    assert impact.groupby("setting")["trials"].sum().eq(7).all(), "what failed has no value"
    values = {
        name: min(grid.curve(point)[1])
        for name, point in grid.points().items()
        if point["training.lr"] == 1e-4 and name != DIVERGED
    }
    row = impact[(impact["setting"] == "training.lr") & (impact["number"] == 1e-4)].iloc[0]
    assert row["trials"] == 4 and row["mean"] == pytest.approx(sum(values.values()) / 4)
    assert row["best"] == min(values.values()) and row["worst"] == max(values.values()), "lower is better here"
    assert row["best_trial"] == min(values, key=values.__getitem__)


def test_the_spread_counts_models_and_not_trials(tmp_path: Path) -> None:
    lab = Lab.open(tmp_path / "lab")
    records = Records(lab)
    for number, key in enumerate(("one", "one", "two", None)):
        with records.begin("s", f"t{number}", "r") as attempt:
            attempt.commit(night.account(0.5, selection_value=float(number), model_key=key), {})
    with records.begin("s", "older", "r") as attempt:
        said = {"data_fingerprint": "d0", "ended": "2020-01-01T00:00:00+00:00"}
        attempt.commit(night.account(0.5, selection_value=99.0, **said), {})
    publish(lab)
    (row,) = read(lab, "spread").to_dict("records")
    assert (row["trials"], row["distinct_models"]) == (4, 3), "a trial without a key is one of its own"
    assert (row["mean"], row["median"], row["best"], row["worst"]) == (1.5, 1.5, 3.0, 0.0), "higher is better here"
    assert row["deviation"] == pytest.approx(1.2910, abs=1e-4)
    assert row["epochs"] == 20 and row["seconds_standalone"] == row["seconds_spent"] == 4 * 12_600


def test_failures_say_the_epoch_and_the_error_in_one_line(lab: Lab, tmp_path: Path) -> None:
    (row,) = read(lab, "failures").to_dict("records")
    assert (row["trial"], row["status"], row["epoch"], row["has_result"]) == (DIVERGED, "diverged", 4, False)
    assert row["error"] == "epoch 4: the loss of step 17 is nan"
    other = Lab.open(tmp_path / "lab")
    records = Records(other)
    night.finish(records, "t", 0.5, study=night.STUDY)
    night.fail(records, "t", 0.5, "the drive vanished\nTraceback: long")
    with records.begin(night.STUDY, "paused", "r") as attempt:
        attempt.commit(night.account(0.5, status="paused", error="interrupted"), {})
    publish(other)
    (row,) = read(other, "failures").to_dict("records")
    assert (row["trial"], row["error"], row["has_result"]) == ("t", "the drive vanished", True)


def test_scores_are_kept_by_file_and_by_what_the_file_belongs_to(lab: Lab) -> None:
    trial = next(iter(grid.points()))
    kept = query(lab, "SELECT * FROM scores WHERE trial = ? ORDER BY path, metric", [trial])
    given = grid.tables(grid.points()[trial])["scores"].sort_values(["path", "metric"])
    assert list(kept["path"]) == list(given["path"]) and list(kept["recording"]) == list(given["recording"])
    assert list(kept["value"]) == list(given["value"]), "every digit"


def test_the_leaderboard_has_the_gain_in_decibel_and_the_verdict(lab: Lab) -> None:
    board = read(lab, "leaderboard")
    assert list(board["selection_value"]) == sorted(board["selection_value"])
    best = board.iloc[0]
    gains = query(
        lab,
        "SELECT part, avg(value) AS mean FROM scores WHERE trial = ? AND metric = 'si_sdr_improvement' GROUP BY part",
        [best["trial"]],
    ).set_index("part")["mean"]
    assert best["test_si_sdr_improvement"] == pytest.approx(gains["test"])
    assert best["validation_si_sdr_improvement"] == pytest.approx(gains["validation"])
    assert best["test_si_sdr_improvement_low"] < best["test_si_sdr_improvement"] < best["test_si_sdr_improvement_high"]
    assert best["verdict"] == f"good: validation loss {best['selection_value']:.4f}"
    assert board["validation_accuracy"].isna().all() and board["worst_class"].isna().all()


def test_importance_comes_and_goes_with_the_comparison(tmp_path: Path) -> None:
    lab = Lab.open(tmp_path / "lab")
    records = grid.write_grid(lab)
    publish(lab)
    shown = read(lab, "importance")
    assert sorted(shown["setting"]) == sorted(grid.SMALL) and shown["whole"].all()
    records.note(grid.STUDY, "comparison", {"fingerprint": "c2"}, {})
    publish(lab)
    assert not len(read(lab, "importance"))
    assert rebuild(lab).published and not len(read(lab, "importance"))
