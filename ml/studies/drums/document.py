"""Results in the form that people had before: the best classifier, its report, its confusion matrix, its history."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from ml.studies.drums.pictures import confusion
from ml.studies.drums.report import judged_part, report
from ml.studies.history import history
from ml.studies.standing import comparable, left_out
from ml.studies.written import copy_model, write_state_dict, write_text, written

if TYPE_CHECKING:
    import pandas as pd

    from ml.studies.results import Results

log = logging.getLogger(__name__)

MODEL = "best_drum_classifier"
FILES = ("confusion_matrix.png", "classification_report.txt", "training_history.json")


def export(folder: Path, results: Results, models: Mapping[str, Path], *, pth: bool) -> list[Path]:
    """Write the best trial's files into `folder`, and those of every trial of the present data into `trials/NAME/`.

    `best_drum_classifier.pth` is a plain state dict and always written, because the form asks for it: `pth` adds
    nothing. The `.json` beside it says what the network sees and in which order its outputs are.
    """
    if note := left_out(results.leaderboard):
        log.warning("%s", note)
    tables = {name: results.ask(name) for name in ("epochs", "metrics", "confusion")}
    paths = []
    for row in comparable(results.leaderboard).sort_values("rank").to_dict("records"):
        own = {name: frame[frame["trial"] == row["trial"]] for name, frame in tables.items()}
        of_trial = folder / "trials" / row["trial"]
        places = [folder, of_trial] if row["rank"] == 1 or row.get("is_best") is True else [of_trial]
        for place in places:
            place.mkdir(parents=True, exist_ok=True)
            paths += _write_results(place, own, row["trial"])
            paths += _write_model(place, models.get(row["model_name"]), row["trial"])
        settings = {"trial": row["trial"], **_said(row["config"])}
        text = yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)
        paths.append(write_text(of_trial / "config.yaml", text))
    return paths


def _said(config: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in config.items() if name != "name"}


def _write_results(place: Path, own: Mapping[str, pd.DataFrame], trial: str) -> list[Path]:
    """The picture, the report and the history."""
    picture, text, epochs = (place / name for name in FILES)
    part = judged_part(own["confusion"])
    said = f"{trial}\n\n{report(own['confusion'], own['metrics'], part)}\n"
    entries = json.dumps(history(own["epochs"]), indent=2) + "\n"
    return [
        written(picture, lambda beside: beside.write_bytes(confusion(own["confusion"], part))),
        write_text(text, said),
        write_text(epochs, entries),
    ]


def _write_model(place: Path, model: Path | None, trial: str) -> list[Path]:
    if model is not None:
        return [write_state_dict(model, place / f"{MODEL}.pth"), *copy_model(model, MODEL, place)]
    log.warning("the model of %s is missing or damaged, so %s has none; to train it again: --force", trial, place)
    for suffix in (".pth", ".safetensors", ".json"):  # of an export in which it was there
        (place / f"{MODEL}{suffix}").unlink(missing_ok=True)
    return []
