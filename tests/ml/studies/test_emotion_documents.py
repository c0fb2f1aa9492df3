"""What a person reads of the emotion study, and the run folders of its document, from figures made by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

from ml.studies.emotion.config import CLASSES, EmotionTrial
from ml.studies.emotion.document import experiment_config
from ml.studies.emotion.pictures import leaderboard_pictures
from ml.studies.emotion.study import EMOTION
from ml.studies.emotion.summary import summary
from ml.studies.experiments import load_trials
from ml.studies.results import Results

RECORDINGS = 200

SCORES = {  # macro F1 on train, validation and test; recordings of validation that are right, of 200
    "aug_heavy": (0.80, 0.66, 0.60, range(0, 150)),
    "lr_high": (0.90, 0.62, 0.64, range(5, 125)),
    "baseline": (0.95, 0.60, 0.58, range(0, 118)),
    "epochs_50": (0.99, 0.55, 0.57, range(0, 110)),
}
REMARK = (
    "changes 2 settings at once (training.epochs, training.patience): what made the difference cannot be told apart"
)


def config(**said: Any) -> dict[str, Any]:
    return EmotionTrial().model_dump(mode="json") | said


def frames(*, test: bool = True, older: tuple[str, ...] = ()) -> dict[str, pd.DataFrame]:
    """Tables of four trials, best first, as SQL gives them."""
    board, metrics, confusion, predictions, epochs, attempts = [], [], [], [], [], []
    parts = ("train", "validation", "test")[: 3 if test else 2]
    for rank, (trial, (*scores, right)) in enumerate(SCORES.items(), start=1):
        patience = {"training": EmotionTrial().training.model_dump(mode="json") | {"epochs": 50, "patience": 10}}
        row: dict[str, Any] = {"study": "emotion", "trial": trial, "rank": rank, "is_best": rank == 1}
        row |= {"current_data": trial not in older, "model_name": f"emotion_{trial}_20251006_170530", "best_epoch": 2}
        row |= {"selection_metric": "validation_macro_f1", "selection_value": scores[1], "higher_is_better": True}
        row |= {"changes": None if trial == "baseline" else "something", "config": config()}
        row |= {"remarks": REMARK if trial == "epochs_50" else None, "validation_low": 0.5, "validation_high": 0.7}
        row |= {"test_low": 0.48 if test else np.nan, "test_high": 0.68 if test else np.nan}
        board.append(row | ({"config": config(**patience)} if trial == "epochs_50" else {}))
        for part, value in zip(parts, scores, strict=False):
            said = [("macro_f1", None, value), ("accuracy", None, value + 0.01)]
            if part != "train":
                for number, name in enumerate(CLASSES):
                    f1 = float("nan") if name == "surprised" and part == "test" else value - 0.05 * (number == 1)
                    said += [("f1", name, f1), ("precision", name, f1), ("recall", name, f1)]
                    confusion += [(trial, part, "window", name, other, 7 + number) for other in CLASSES[::-1]]
            metrics += [(trial, part, "window", *one, 0.4, 0.7) for one in said]
        predictions += [
            (trial, "validation", "recording", f"r{number}", "sad", "sad" if number in right else "happy")
            for number in range(RECORDINGS)
        ]
        for epoch in (1, 2):
            known = {
                "train": {"loss": 1.0 / epoch, "accuracy": 0.5, "lr": 1e-4},
                "validation": {"macro_f1": 0.3 * epoch},
            }
            epochs += [
                (trial, epoch, part, metric, value, 1.5) for part, of in known.items() for metric, value in of.items()
            ]
        attempts.append(
            {"trial": trial, "attempt": 1, "status": "finished", "started": pd.Timestamp("2025-10-06 17:05")}
        )
    attempts.append({"trial": "lr_low", "attempt": 1, "status": "failed", "started": pd.Timestamp("2025-10-05 03:00")})
    attempts[-1] |= {"error": "the drive vanished", "config": '{"seed": 42}', "ended": pd.NaT, "best_epoch": np.nan}
    of_metrics = ["trial", "part", "level", "metric", "class", "value", "low", "high"]
    return {
        "leaderboard": pd.DataFrame(board),
        "metrics": pd.DataFrame(metrics, columns=of_metrics),
        "confusion": pd.DataFrame(confusion, columns=["trial", "part", "level", "actual", "predicted", "count"]),
        "predictions": pd.DataFrame(
            predictions, columns=["trial", "part", "level", "recording", "actual", "predicted"]
        ),
        "epochs": pd.DataFrame(epochs, columns=["trial", "epoch", "part", "metric", "value", "seconds"]),
        "attempts": pd.DataFrame(attempts),
    }


def results(**said: Any) -> Results:
    tables = frames(**said)
    inventory = pd.DataFrame({"class": CLASSES, "files": (60, 4, 30, 90, 70, 50, 80)})
    comparisons = pd.DataFrame(columns=["trial", "against", "verdict"])
    return Results(tables["leaderboard"], pd.DataFrame(), inventory, comparisons, tables.__getitem__)


def test_the_summary_tells_scores_weak_emotions_the_gap_and_the_best() -> None:
    lines = summary(results()).splitlines()
    assert lines[0] == "=== EMOTION EXPERIMENTS ==="
    assert max(map(len, lines)) < 120
    rows = {line.split()[0]: line.split()[1:] for line in lines if line[:1].isalpha() and line.split()[0] in SCORES}
    assert list(rows) == list(SCORES), "best first"
    assert rows["aug_heavy"] == ["66.0", "67.0", "60.0", "61.0", "80.0", "14.0"]
    text = " ".join(" ".join(lines).split())
    assert (
        "baseline: disgusted 55.0 (too little data); angry 60.0; much of the training part is learned by heart" in text
    )
    assert f"learned by heart; {REMARK}" in text
    assert "aug_heavy: disgusted 61.0 (too little data); angry 66.0 lr_high" in text, "its gap is not worth a word"
    at = lines.index("BEST MODEL (chosen on validation): aug_heavy")
    assert lines[at + 1] == "Validation: macro F1 66.0 %, accuracy 67.0 % (95 % sure between 50.0 and 70.0)"
    assert lines[at + 2] == "Test: macro F1 60.0 %, accuracy 61.0 % (95 % sure between 48.0 and 68.0)"
    assert lines[at + 3] == "Highest on test alone: lr_high with macro F1 64.0 %; picking by test would flatter it"


def test_the_summary_calls_certain_only_what_the_recordings_make_certain() -> None:
    text = " ".join(summary(results()).split())
    # 32 recordings against none cannot be chance; 7 against 5 can.
    assert "aug_heavy: +6.0; certain, with 3 compared: only it is right on 32, only the baseline on 0 of 200" in text
    assert "lr_high: +2.0; not certain: only it is right on 7, only the baseline on 5 of 200 recordings" in text
    assert "epochs_50: +" not in text, "it is behind"


def test_where_there_is_no_test_part_no_figure_is_made_up() -> None:
    text = summary(results(test=False))
    assert "no test part" in text and "Test: macro F1" not in text and "unknown" not in text
    assert "BEST MODEL (chosen on validation): aug_heavy" in text


def test_trials_of_older_data_are_left_out_and_it_is_said() -> None:
    text = summary(results(older=("lr_high",)))
    assert "1 trial of older data is left out; to refresh: nocturne run emotion" in text
    assert "lr_high" not in text


def test_one_trial_alone_and_a_study_without_its_baseline_can_be_read_too() -> None:
    alone = results(older=("aug_heavy", "lr_high", "epochs_50"))
    assert "Only baseline is finished" in summary(alone)
    without = results(older=("baseline",))
    assert "No experiment without changes is finished" in summary(without)
    for found in (alone, without):
        assert all(picture.startswith(b"\x89PNG") for picture in leaderboard_pictures(found).values())


def test_the_pictures_show_all_trials_and_say_what_is_left_out() -> None:
    pictures = leaderboard_pictures(results())
    assert list(pictures) == ["macro F1 of each trial", "F1 of each emotion"]
    assert all(picture.startswith(b"\x89PNG") and len(picture) < 200_000 for picture in pictures.values())
    fewer = leaderboard_pictures(results(older=("lr_high",)))
    assert all(fewer[title] != pictures[title] for title in pictures)


@pytest.fixture
def models(tmp_path: Path) -> dict[str, Path]:
    """A model's folder for every trial but lr_high."""
    folders = {}
    for trial in SCORES:
        if trial != "lr_high":
            folder = folders[f"emotion_{trial}_20251006_170530"] = tmp_path / "models" / trial
            folder.mkdir(parents=True)
            save_file({"head.weight": torch.arange(6.0).reshape(2, 3)}, folder / "model.safetensors")
            (folder / "config.json").write_text('{"model_type": "resnet"}', encoding="utf-8")
    return folders


def test_a_run_folder_holds_what_the_document_lists(
    tmp_path: Path, models: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    to = tmp_path / "to"
    written = EMOTION.export_document(to, results(older=("epochs_50",)), models, pth=False)
    assert sorted(path.name for path in (to / "runs").iterdir()) == ["aug_heavy", "baseline", "lr_high"]
    run = to / "runs" / "baseline"
    assert {path.name for path in run.iterdir()} == {
        "config.yaml",
        "best.pt",
        "best.safetensors",
        "best.json",
        "best_metrics.json",
        "best_confusion_matrix.npy",
        "history.json",
        "test_metrics.json",
        "test_confusion_matrix.npy",
    }
    assert set(written) == {path for path in to.rglob("*") if path.is_file()}, "nothing half-written is left"
    weights = torch.load(run / "best.pt", weights_only=True)
    assert torch.equal(weights["head.weight"], load_file(run / "best.safetensors")["head.weight"])
    best = json.loads((run / "best_metrics.json").read_text(encoding="utf-8"))
    assert (best["accuracy"], best["macro_f1"], best["epoch"]) == (pytest.approx(0.61), pytest.approx(0.60), 2)
    assert list(best["per_class"]) == list(CLASSES) == best["classes"]
    assert best["per_class"]["disgusted"] == pytest.approx(
        {"precision": 0.55, "recall": 0.55, "f1": 0.55, "support": 56}
    )
    matrix = np.load(run / "best_confusion_matrix.npy")
    assert matrix.tolist() == [[7 + number] * 7 for number in range(7)], "rows are what it is, in the classes' order"
    tested = json.loads((run / "test_metrics.json").read_text(encoding="utf-8"))
    assert tested["per_class"]["surprised"]["f1"] is None, "unknown, and not 0"
    assert json.loads((run / "history.json").read_text(encoding="utf-8")) == [
        {"epoch": epoch, "train_loss": 1 / epoch, "train_acc": 0.5, "val_f1": 0.3 * epoch, "lr": 1e-4, "seconds": 1.5}
        for epoch in (1, 2)
    ]
    assert not (to / "runs" / "lr_high" / "best.pt").exists()
    assert "the model of lr_high is missing" in caplog.text and "1 trial of older data is left out" in caplog.text


def test_the_log_has_every_attempt_the_oldest_first(tmp_path: Path, models: dict[str, Path]) -> None:
    EMOTION.export_document(tmp_path, results(older=("epochs_50",)), models, pth=True)
    lines = (tmp_path / "experiment_log.jsonl").read_text(encoding="utf-8").splitlines()
    entries = [json.loads(line) for line in lines]
    assert len(entries) == 5 and entries[0]["trial"] == "lr_low"
    assert entries[0]["started"] == "2025-10-05T03:00:00Z" and entries[0]["error"] == "the drive vanished"
    assert entries[0]["config"] == {"seed": 42} and entries[0]["ended"] is None and entries[0]["best_epoch"] is None


def test_without_a_test_part_nothing_of_an_earlier_one_stays(tmp_path: Path, models: dict[str, Path]) -> None:
    EMOTION.export_document(tmp_path, results(), models, pth=False)
    models.pop("emotion_baseline_20251006_170530")
    written = EMOTION.export_document(tmp_path, results(test=False), models, pth=False)
    assert {path for path in (tmp_path / "runs").rglob("*") if path.is_file()} < set(written)
    assert not list(tmp_path.rglob("test_*")) and not (tmp_path / "runs" / "baseline" / "best.pt").exists()


def test_an_exported_configuration_is_an_experiment_again(tmp_path: Path, models: dict[str, Path]) -> None:
    EMOTION.export_document(tmp_path, results(), models, pth=False)
    dropped = tmp_path / "experiments"
    dropped.mkdir()
    (tmp_path / "runs" / "epochs_50" / "config.yaml").rename(dropped / "again.yaml")
    found = load_trials(EMOTION, EMOTION.settings(), [dropped])
    assert not found.problems
    trial = found.named("epochs_50")
    assert dict(trial.changes) == {"training.epochs": (30, 50), "training.patience": (7, 10)}


def test_a_network_from_scratch_keeps_its_widths_and_a_pretrained_one_has_none() -> None:
    model = config()["model"]
    scratch = config(model=model | {"pretrained": False, "widths": [16, 32, 64, 128]}, seed=7)
    said = experiment_config("small", scratch)
    assert said["model"]["widths"] == [16, 32, 64, 128] and said["other"] == {"patience": 7, "seed": 7, "workers": 8}
    assert list(said) == ["name", "description", "model", "training", "loss", "augmentation", "data", "other"]
    assert "widths" not in experiment_config("plain", config())["model"]
