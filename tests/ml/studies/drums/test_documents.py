"""What a person reads and sees of the drums study, and the files of its document, from figures made by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file
from sklearn.metrics import classification_report

from ml.data.components import COMPONENTS
from ml.studies.drums.config import DrumsTrial
from ml.studies.drums.pictures import leaderboard_pictures, trial_pictures
from ml.studies.drums.report import counts_of, report, trial_texts
from ml.studies.drums.study import DRUMS
from ml.studies.drums.summary import summary
from ml.studies.results import Results
from ml.studies.scores import flat

PRESENT = ("kick", "snare", "hihat_closed", "tom_mid")
RIGHT, WRONG = 9, 1
"""Hits of each component on each part, but that two more kicks are taken for a middle tom."""
TRIALS = {"augmented": (0.80, 0.70), "default": (0.75, 0.72)}
EVENTS = {None: (0.9, 0.6), "kick": (0.95, 0.8), "tom_mid": (0.5, 0.55)}


def frames(*, test: bool = True, songs: bool = True, better: bool = True) -> dict[str, pd.DataFrame]:
    """Tables of two trials, best first, as SQL gives them; of `songs` only where there are beatmaps."""
    board, metrics, confusion, epochs, scores = [], [], [], [], []
    parts = ("train", "validation", "test")[: 3 if test else 2]
    for rank, (trial, values) in enumerate(TRIALS.items(), start=1):
        config = flat_config(trial)
        row: dict[str, Any] = {"study": "drums", "trial": trial, "rank": rank, "is_best": rank == 1, "config": config}
        row |= {"current_data": True, "model_name": f"drums_{trial}_20261104_170530", "best_epoch": 2}
        row |= {
            "selection_metric": f"validation_{'event' if songs else 'macro'}_f1",
            "selection_value": values[0],
            "higher_is_better": True,
        }
        row |= {"changes": None if trial == "default" else "augmentation.probability 0 -> 0.5"}
        row |= {"validation_low": 0.6, "validation_high": 0.9, "test_low": 0.5, "test_high": 0.8}
        board.append(row)
        for part, value in zip(parts, (0.99, *values), strict=False):
            metrics += [(trial, part, "window", name, None, value, np.nan, np.nan) for name in ("macro_f1", "accuracy")]
            if part == "train":
                continue
            metrics.append((trial, part, "window", "macro_f1_alone", None, value + 0.05, np.nan, np.nan))
            metrics.append((trial, part, "window", "accuracy_alone", None, value + 0.06, np.nan, np.nan))
            for name in COMPONENTS:
                said = value if name in PRESENT else np.nan
                for metric in ("f1", "f1_alone", "recall", "recall_alone"):
                    metrics.append((trial, part, "window", metric, name, said, np.nan, np.nan))
            for actual in COMPONENTS:
                for predicted in COMPONENTS:
                    count = RIGHT if actual == predicted and actual in PRESENT else 0
                    count += WRONG if (actual, predicted) == ("snare", "kick") else 0
                    count += 3 if (actual, predicted) == ("tom_mid", "kick") else 0
                    confusion += [(trial, part, level, actual, predicted, count) for level in ("window", "recording")]
            if songs:
                for name, (own, rules) in EVENTS.items():
                    own, rules = (own, rules) if better else (rules, own)
                    metrics.append((trial, part, "recording", "event_f1", name, own, 0.8, 0.95))
                    metrics.append((trial, part, "recording", "event_f1_heuristics", name, rules, 0.5, 0.7))
                    metric = "event_f1" if name is None else f"event_f1_{name}"
                    scores += [(trial, part, "songs/a", "songs/a/a.flac", metric, own)]
        for epoch in (1, 2):
            known = {"train": {"loss": 1.0 / epoch, "accuracy": 0.5}, "validation": {"macro_f1": 0.3 * epoch}}
            epochs += [(trial, epoch, part, m, v, 1.5) for part, of in known.items() for m, v in of.items()]
    counts = {"kick": (600, 9), "snare": (120, 9), "hihat_closed": (60, 5), "tom_mid": (12, 2)}
    classes = [(name, "train", files, groups) for name, (files, groups) in counts.items()]
    of_metrics = ["trial", "part", "level", "metric", "class", "value", "low", "high"]
    return {
        "leaderboard": pd.DataFrame(board),
        "metrics": pd.DataFrame(metrics, columns=of_metrics),
        "confusion": pd.DataFrame(confusion, columns=["trial", "part", "level", "actual", "predicted", "count"]),
        "epochs": pd.DataFrame(epochs, columns=["trial", "epoch", "part", "metric", "value", "seconds"]),
        "scores": pd.DataFrame(scores, columns=["trial", "part", "recording", "path", "metric", "value"]),
        "classes": pd.DataFrame(classes, columns=["class", "part", "files", "recordings"]),
        "failures": pd.DataFrame({"trial": ["batch_64"], "error": ["the drive vanished"]}),
    }


def flat_config(trial: str) -> dict[str, Any]:
    return DrumsTrial(purpose=f"what {trial} is for").model_dump(mode="json")


def results(**said: Any) -> Results:
    tables = frames(**said)
    inventory = pd.DataFrame({"class": [*PRESENT, "china"], "files": [800, 160, 80, 16, 5]})
    verdict = "not certain: it is right more often on 1 of 3 songs"
    comparisons = pd.DataFrame({"trial": ["default"], "against": ["augmented"], "verdict": [verdict]})
    return Results(tables["leaderboard"], pd.DataFrame(), inventory, comparisons, tables.__getitem__)


def said(found: Results) -> str:
    return " ".join(summary(found).split())


def test_the_summary_tells_trials_components_songs_and_what_is_mistaken() -> None:
    text, lines = said(results()), summary(results()).splitlines()
    assert max(map(len, lines)) <= 115
    rows = [line.split() for line in lines if line.startswith(("augmented ", "default "))]
    assert rows[0] == ["augmented", "80.0", "85.0", "90.0", "70.0", "75.0", "90.0", "99.0"]
    assert "BEST MODEL (chosen by F1 in whole songs on validation): augmented, epoch 2" in text
    assert (
        "Test: macro F1 70.0 % of single hits, 75.0 % alone; accuracy 70.0 % (95 % sure between 50.0 and 80.0)" in text
    )
    assert (
        "Whole songs (test, 1 song): F1 90.0 % of the hits found within 50 ms (95 % sure between 80.0 and 95.0); "
        "heuristics without a model 60.0 %" in text
    )
    assert "Most often mistaken (test): tom_mid for kick, 3 of 12; snare for kick, 1 of 10" in text
    assert f"default against augmented: {results().comparisons['verdict'][0]}" in text
    assert "Failed: batch_64: the drive vanished" in text
    assert "learned by heart" not in text, "19 points are borne"


def test_shortage_is_told_by_component_and_leads_to_the_next_step() -> None:
    lines = {line.split()[0]: line for line in summary(results()).splitlines() if line.split()[:1]}
    assert lines["kick"].endswith("600 hits of 9")
    assert lines["snare"].endswith("120 hits of 9; 500 recommended")
    assert lines["hihat_closed"].endswith("60 hits of 5; 90 more needed (750 recommended)")
    assert lines["tom_mid"].split()[1:5] == ["70.0", "70.0", "50.0", "55.0"]
    assert lines["snare"].split()[3] == "unknown", "no song has one: unknown, and not 0"
    text = said(results())
    assert "Left out, because they are in fewer than two songs or packs: china (5 hits)" in text
    assert "Next: collect more hits of tom_mid, hihat_closed, from songs" in text, "what is weak comes first"
    assert "nocturne transcribe SONG -o map.bsm" in text


def test_a_model_that_is_no_better_than_the_rules_is_called_so() -> None:
    assert "NOT BETTER THAN THE HEURISTICS" in said(results(better=False))
    assert "NOT BETTER THAN THE HEURISTICS" not in said(results())


def test_without_songs_or_test_no_figure_is_made_up() -> None:
    text = said(results(songs=False, test=False))
    assert "In whole songs: unknown" in text and "heuristics" not in text
    assert "BEST MODEL (chosen by macro F1 on validation): augmented" in text
    assert "no test part" in text and "Test: macro" not in text
    assert all(png.startswith(b"\x89PNG") for png in leaderboard_pictures(results(songs=False, test=False)).values())


def test_the_report_is_that_of_scikit_learn_over_the_hits() -> None:
    tables = {name: frame[frame["trial"] == "default"] for name, frame in frames().items() if "trial" in frame}
    text = report(tables["confusion"], tables["metrics"])
    actual = ["kick"] * 9 + ["snare"] * 10 + ["hihat_closed"] * 9 + ["tom_mid"] * 12
    predicted = ["kick"] * 9 + ["snare"] * 9 + ["kick"] + ["hihat_closed"] * 9 + ["tom_mid"] * 9 + ["kick"] * 3
    expected = classification_report(actual, predicted, labels=list(PRESENT), digits=3).rstrip()
    assert expected in text
    assert "Hits that stand alone" in text and "macro f1               0.770" in text
    assert trial_texts(tables)["classification report"] == text
    assert trial_texts({}) == {}
    assert counts_of(tables["confusion"], "test").loc["tom_mid", "kick"] == 3, "one level, not both"


def test_a_component_that_is_only_ever_predicted_is_in_no_mean() -> None:
    confusion = pd.DataFrame(
        [("test", "window", "kick", "kick", 8), ("test", "window", "kick", "china", 2)],
        columns=["part", "level", "actual", "predicted", "count"],
    )
    line = next(line for line in report(confusion).splitlines() if line.strip().startswith("china"))
    assert line.split() == ["china", "0.000", "nan", "0.000", "0"]


def test_pictures_are_there_for_what_the_tables_hold() -> None:
    tables = {name: frame[frame["trial"] == "default"] for name, frame in frames().items() if "trial" in frame}
    assert set(trial_pictures({"epochs": tables["epochs"]})) == {"curves"}
    both = trial_pictures({"confusion": tables["confusion"], "scores": tables["scores"]})
    assert set(both) == {"confusion", "hits found in songs"}
    assert set(trial_pictures({"scores": tables["scores"].head(0)})) == set()
    board = leaderboard_pictures(results())
    assert set(board) == {"macro F1 of each trial", "hits found in songs, best trial"}
    assert all(png.startswith(b"\x89PNG") and len(png) < 200_000 for png in [*both.values(), *board.values()])


@pytest.fixture
def models(tmp_path: Path) -> dict[str, Path]:
    """The folder of a model for the best trial; that of the other is missing."""
    folder = tmp_path / "models" / "augmented"
    folder.mkdir(parents=True)
    save_file({"fc.weight": torch.arange(6.0).reshape(2, 3)}, folder / "model.safetensors")
    (folder / "config.json").write_text('{"model_type": "drumcnn"}', encoding="utf-8")
    return {"drums_augmented_20261104_170530": folder}


def test_the_document_has_what_people_had(
    tmp_path: Path, models: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    to = tmp_path / "to"
    written = DRUMS.export_document(to, results(), models, pth=False)
    names = {"confusion_matrix.png", "classification_report.txt", "training_history.json"}
    weights = {f"best_drum_classifier.{suffix}" for suffix in ("pth", "safetensors", "json")}
    assert {path.name for path in to.iterdir()} == names | weights | {"trials"}
    assert {path.name for path in (to / "trials" / "default").iterdir()} == names | {"config.yaml"}
    assert set(written) == {path for path in to.rglob("*") if path.is_file()}, "nothing half-written is left"
    state = torch.load(to / "best_drum_classifier.pth", weights_only=True)
    assert torch.equal(state["fc.weight"], load_file(to / "best_drum_classifier.safetensors")["fc.weight"])
    assert (to / "classification_report.txt").read_text(encoding="utf-8").startswith("augmented\n")
    history = json.loads((to / "training_history.json").read_text(encoding="utf-8"))
    assert history[1] == {"epoch": 2, "train_loss": 0.5, "train_acc": 0.5, "val_f1": 0.6, "seconds": 1.5}
    assert "the model of default is missing" in caplog.text


def test_settings_in_the_document_are_those_that_were_recorded(tmp_path: Path, models: dict[str, Path]) -> None:
    import yaml

    DRUMS.export_document(tmp_path, results(), models, pth=False)
    recorded = yaml.safe_load((tmp_path / "trials" / "default" / "config.yaml").read_text(encoding="utf-8"))
    assert recorded.pop("trial") == "default"
    assert flat(recorded)["training.batch_size"] == DrumsTrial().training.batch_size
