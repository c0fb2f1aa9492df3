"""What a person reads and sees of the denoise study, and the files of its document, from records made by hand."""

from __future__ import annotations

import dataclasses
import json
import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from ml.studies.denoise.document import export, hyperparameter_results
from ml.studies.denoise.pictures import before_and_after, leaderboard_pictures, trial_pictures
from ml.studies.denoise.summary import summary
from ml.studies.results import Results
from storage.lab import Lab
from storage.records import Records
from tests.ml.studies.published import results_of
from tests.storage import grid, night

DIVERGED = "bs16_lr0.0005_ep50"
BEST = "bs16_lr0.0001_ep50"
POINT = {"training.batch_size": 16, "training.lr": 1e-4, "training.epochs": 50}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """The eight of `quick`, one of which diverged, one more with the model of the best, one killed without a word."""
    lab = Lab.open(tmp_path_factory.mktemp("denoise") / "lab")
    records = grid.write_grid(lab, diverge=[DIVERGED])
    with records.begin(grid.STUDY, "twin", "r") as attempt:
        attempt.commit(grid.account("twin", POINT), grid.tables(POINT))
    with pytest.raises(SystemExit), records.begin(grid.STUDY, "killed", "r"):
        raise SystemExit
    columns = ["trial", "against", "part", "recordings", "better_on", "worse_on", "difference", "p_value", "verdict"]
    names = [name for name in grid.points() if name not in (DIVERGED, BEST)]
    rows = [
        (name, BEST, "validation", 8, 1, 7, -0.5, chance, "in words")
        for name, chance in zip(names, (1e-4, 1e-4, 0.02, 0.5, 0.9, 1.0), strict=True)
    ]
    rows.append(("twin", BEST, "validation", 8, 0, 0, 0.0, 1.0, "the same model as the leader"))
    frames = {"comparisons": pd.DataFrame(rows, columns=columns)}
    records.note(grid.STUDY, "comparison", {"fingerprint": "c2"}, frames)
    return lab


@pytest.fixture(scope="module")
def results(lab: Lab) -> Results:
    return results_of(lab, grid.STUDY)


def test_the_summary_tells_the_winner_and_what_it_gains(results: Results) -> None:
    text = summary(results)
    said = " ".join(text.split())
    assert "8 trials finished, 7 different models; 2 failed" in said
    assert f"BEST MODEL (chosen by validation loss): {BEST}; 1 other trial ended with the same model" in said
    own = results.ask("metrics").set_index(["trial", "part", "metric"]).loc[(BEST, "test", "si_sdr_improvement")]
    assert f"Test: {own['value']:+.1f} dB SI-SDR (95 % sure between {own['low']:+.1f} and {own['high']:+.1f})" in said
    assert "15 files of 8 recordings, sound and noise it never heard" in said
    scores = results.ask("scores")
    files = scores[(scores["trial"] == BEST) & (scores["part"] == "test") & (scores["metric"] == "si_sdr_improvement")]
    assert f"over the noisy input, median {files['value'].median():+.1f} dB; " in said
    assert "cannot be told from 0 dB" not in said and "MAKES SOUND WORSE" not in said
    assert f"least gained: {files['value'].min():+.1f} dB, {files.loc[files['value'].idxmin(), 'path']}" in said
    assert "became worse" not in said and "left out because the clean sound is silent: 1 file" in said
    assert max(map(len, text.splitlines())) <= 130


@pytest.mark.parametrize(
    ("low", "high", "told"),
    [
        (-0.4, 0.8, "its gain cannot be told from 0 dB"),
        (0.0, 0.8, "its gain cannot be told from 0 dB"),
        (-3.0, -0.1, "IT MAKES SOUND WORSE"),
        (0.1, 0.8, None),
        (float("nan"), float("nan"), None),
    ],
)
def test_a_winner_that_is_no_better_than_nothing_is_called_so(
    results: Results, low: float, high: float, told: str | None
) -> None:
    def ask(view: str) -> pd.DataFrame:
        frame = results.ask(view)
        return frame.assign(low=low, high=high) if view == "metrics" else frame

    lines = summary(dataclasses.replace(results, ask=ask)).splitlines()
    gain = next(number for number, line in enumerate(lines) if line.startswith("Test: "))
    after = next(line for line in lines[gain + 1 :] if not line.startswith("      "))
    if told is None:
        assert after.startswith("  least gained: ")
    else:
        assert told in after


def test_the_summary_tells_who_is_as_good_and_how_certain_that_is(results: Results) -> None:
    said = " ".join(summary(results).split())
    names = [name for name in grid.points() if name not in (DIVERGED, BEST)]
    assert "Against 6 other models, by decibels gained" in said, "the twin is no other model"
    ranked = [name for name in results.leaderboard["trial"] if name in names]
    worse = [name for name in ranked if name in names[:2]]
    assert f"2 certainly worse, with 6 comparisons made: {', '.join(worse)}" in said
    assert f"1 worse one by one (p < 0.05), which is not certain among so many comparisons: {names[2]}" in said
    alike = [name for name in ranked if name in names[3:]]
    assert f"3 cannot be told apart from it: {', '.join(alike)}" in said


def test_too_few_recordings_and_another_leader_are_said(results: Results) -> None:
    older = results.comparisons.assign(against="a leader of before")
    few = results.comparisons.assign(recordings=4, p_value=0.125)
    assert "4 recordings of validation: too few to be certain" in summary(dataclasses.replace(results, comparisons=few))
    assert "too few to be certain" not in summary(results)
    assert "Not compared with the other models yet" in summary(dataclasses.replace(results, comparisons=older))


def test_the_summary_tells_what_it_took_and_what_failed(results: Results) -> None:
    text = summary(results)
    assert "Trained: 18 epochs; each trial alone would have trained 320, 17.8 times fewer" in text
    assert "Time: 27 seconds spent; each trial alone, one after the other, 8.0 minutes" in text
    assert "  8 trials: 8 good, 0 fair, 0 trouble." in text
    assert f"  {DIVERGED}: epoch 4: the loss of step 17 is nan" in text
    assert "  killed: it ended without a word: killed, or the power went" in text


def test_without_test_files_or_scores_nothing_is_made_up(tmp_path: Path) -> None:
    lab = Lab.open(tmp_path / "lab")
    records = Records(lab)
    tables = grid.tables(POINT)
    kept = {name: frame[frame["part"] != "test"] if name != "epochs" else frame for name, frame in tables.items()}
    with records.begin(grid.STUDY, "default", "r") as attempt:
        attempt.commit(grid.account("default", POINT), kept)
    text = summary(results_of(lab, grid.STUDY))
    assert "Validation: +" in text and "there is no test part" in " ".join(text.split())
    assert "No other model to compare it with yet." in text and "Failed" not in text
    with records.begin(grid.STUDY, "default", "r") as attempt:
        attempt.commit(grid.account("default", POINT), {"epochs": tables["epochs"]})
    bare = results_of(lab, grid.STUDY)
    assert "no file of test or validation could be scored" in summary(bare)
    assert leaderboard_pictures(bare) == {}


def test_the_pictures_are_pictures_and_say_what_is_there(results: Results, tmp_path: Path) -> None:
    tables = grid.tables(POINT)
    rates = tables["epochs"].iloc[:4].assign(part="train", metric="lr", value=[1e-4, 1e-4, 5e-5, 5e-5])
    tables["epochs"] = pd.concat([tables["epochs"], rates])
    own = trial_pictures({"epochs": tables["epochs"]}) | trial_pictures({"scores": tables["scores"]})
    assert list(own) == ["loss", "SI-SDR before and after"]
    of_all = leaderboard_pictures(results)
    assert list(of_all) == ["what each setting brings", "SI-SDR before and after, best trial"]
    for title, png in (own | of_all).items():
        (tmp_path / "picture.png").write_bytes(png)
        pixels = np.asarray(Image.open(tmp_path / "picture.png").convert("L"))
        assert pixels.shape[0] > 150 and pixels.std() > 5, title
        assert len(png) < 200_000, title
    silent = tables["scores"][tables["scores"]["metric"] == "stoi"]
    assert trial_pictures({"scores": silent}) == {} and trial_pictures({}) == {}


def test_before_is_what_is_left_when_the_gain_is_taken_off() -> None:
    files = before_and_after(grid.scores(0.004))
    assert len(files) == 4 * grid.SPEAKERS - 1 and files["before"].to_numpy() == pytest.approx(5.0)


@pytest.fixture
def models(results: Results, tmp_path: Path) -> dict[str, Path]:
    """A folder for each model; the twins share theirs."""
    folders = {}
    for row in results.leaderboard.itertuples():
        folder = tmp_path / "models" / str(row.model_key)
        folder.mkdir(parents=True, exist_ok=True)
        save_file({"weight": torch.full((2,), float(row.selection_value))}, folder / "model.safetensors")
        (folder / "config.json").write_text('{"model_type": "unet1d"}')
        folders[str(row.model_name)] = folder
    return folders


def test_the_document_lists_every_trial_with_all_its_settings(
    results: Results, models: dict[str, Path], tmp_path: Path
) -> None:
    export(tmp_path / "out", results, models, pth=False)
    entries = json.loads((tmp_path / "out" / "hyperparameter_results.json").read_text(encoding="utf-8"))
    assert len(entries) == 10 and [entry["error"] is None for entry in entries] == [True] * 8 + [False] * 2
    first = entries[0]
    train, validation, stopped = grid.curve(POINT)
    assert first["name"] == BEST and first["model_path"] == f"unet1d_{BEST}.pth"
    assert (first["batch_size"], first["learning_rate"], first["epochs"], first["optimizer"]) == (16, 1e-4, 50, "adam")
    assert first["final_train_loss"] == train[-1] and first["final_val_loss"] == validation[-1]
    assert first["best_val_loss"] == min(validation) and first["epochs_completed"] == len(validation)
    assert first["train_val_gap"] == pytest.approx(validation[-1] - train[-1])
    assert first["early_stopped"] is stopped and first["seed"] == 42
    gains = results.leaderboard.iloc[0]
    assert first["si_sdr_improvement_db"] == gains["test_si_sdr_improvement"] != gains["validation_si_sdr_improvement"]
    assert first["si_sdr_improvement_part"] == "test"
    untested = dataclasses.replace(results, leaderboard=results.leaderboard.assign(test_si_sdr_improvement=None))
    first = hyperparameter_results(untested, set())[0]
    assert first["si_sdr_improvement_db"] == gains["validation_si_sdr_improvement"]
    assert first["si_sdr_improvement_part"] == "validation"
    failed = {entry["name"]: entry for entry in entries[8:]}
    assert failed[DIVERGED]["error"] == "epoch 4: the loss of step 17 is nan" and failed[DIVERGED]["batch_size"] == 16
    assert failed[DIVERGED]["failed_in_epoch"] == 4 and failed[DIVERGED]["model_path"] is None
    assert failed["killed"]["status"] == "interrupted" and failed["killed"]["error"]


def test_models_are_state_dicts_and_one_model_is_one_file(
    results: Results, models: dict[str, Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    written = export(out, results, models, pth=False)
    assert sorted(written) == sorted(out.iterdir()), "nothing else is left there"
    names = {f"unet1d_{name}.pth" for name in [*grid.points(), "twin"] if name != DIVERGED}
    assert {path.name for path in out.glob("*.pth")} == names | {"unet1d_best.pth"}
    for name, folder in models.items():
        weights = torch.load(out / f"{name}.pth", weights_only=True)
        assert torch.equal(weights["weight"], load_file(folder / "model.safetensors")["weight"])
    same = [(out / name).stat().st_ino for name in (f"unet1d_{BEST}.pth", "unet1d_twin.pth", "unet1d_best.pth")]
    assert len(set(same)) == 1
    assert (out / "unet1d_best.json").is_file() and (out / "unet1d_best.safetensors").is_file()
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    export(out, results, models, pth=True)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before, "again is the same"


def test_a_disk_without_links_gets_copies(
    results: Results, models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*paths: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("os.link", refused)
    export(tmp_path / "out", results, models, pth=False)
    twins = [tmp_path / "out" / f"unet1d_{name}.pth" for name in (BEST, "twin")]
    assert twins[0].read_bytes() == twins[1].read_bytes() and twins[0].stat().st_ino != twins[1].stat().st_ino


def test_a_missing_model_is_said_and_older_data_are_left_out(
    results: Results, models: dict[str, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    board = results.leaderboard.assign(current_data=results.leaderboard["trial"] != "twin")
    kept = {name: folder for name, folder in models.items() if name != f"unet1d_{BEST}"}
    with caplog.at_level(logging.WARNING):
        export(tmp_path / "out", dataclasses.replace(results, leaderboard=board), kept, pth=False)
    assert "1 model is missing or damaged" in caplog.text and "1 trial of older data is left out" in caplog.text
    out = tmp_path / "out"
    assert not (out / "unet1d_twin.pth").exists() and not (out / "unet1d_best.pth").exists()
    entries = json.loads((out / "hyperparameter_results.json").read_text(encoding="utf-8"))
    assert (
        entries[0]["name"] == BEST and entries[0]["model_path"] is None and "twin" not in {e["name"] for e in entries}
    )


def test_it_stands_beside_studies_without_decibels(tmp_path: Path) -> None:
    lab = Lab.open(tmp_path / "lab")
    night.write_night(lab)
    assert before_and_after(results_of(lab, night.STUDY).ask("scores")).empty
