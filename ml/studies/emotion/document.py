"""Results in the form that people had before: a folder for each experiment, and one log of all that was tried."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from ml.studies.emotion.config import CLASSES
from ml.studies.history import as_number, history
from ml.studies.results import Results
from ml.studies.standing import comparable, left_out
from ml.studies.written import copy_model, write_state_dict, write_text, written

log = logging.getLogger(__name__)

WORKERS_NOTE = "# other.workers is there because it was before; Nocturne finds out by itself.\n"


def export(folder: Path, results: Results, models: Mapping[str, Path], *, pth: bool) -> list[Path]:
    """Write `runs/NAME/` for each trial of the present data, and `experiment_log.jsonl` with every attempt there was.

    A run's folder holds its configuration, best model, metrics, confusion matrices and history. `best.pt` is a plain
    state dict and always written, because the form asks for it: `pth` adds nothing.
    """
    if note := left_out(results.leaderboard):
        log.warning("%s", note)
    board = comparable(results.leaderboard)
    epochs, metrics, confusion = (results.ask(name) for name in ("epochs", "metrics", "confusion"))
    paths = []
    for row in board.sort_values("rank").to_dict("records"):
        own = [frame[frame["trial"] == row["trial"]] for frame in (epochs, metrics, confusion)]
        run = folder / "runs" / row["trial"]
        run.mkdir(parents=True, exist_ok=True)
        paths += _write_run(run, row, *own)
        paths += _write_model(run, models.get(row["model_name"]), row["trial"])
    return [*paths, _write_log(folder / "experiment_log.jsonl", results.ask("attempts"))]


def experiment_config(trial: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that a trial was recorded with, in the sections and words of the experiment files of before."""
    training = dict(config["training"])
    other = {"patience": training.pop("patience"), "seed": config["seed"], "workers": 8}
    model = dict(config["model"])
    if model.get("pretrained"):
        model.pop("widths", None)  # pretrained weights have their own
    head = {"name": trial, "description": config["purpose"], "model": model, "training": training}
    return head | {name: dict(config[name]) for name in ("loss", "augmentation", "data")} | {"other": other}


def part_metrics(metrics: pd.DataFrame, counts: pd.DataFrame | None) -> dict[str, Any]:
    """Overall and per-emotion metrics of one part, from 0 to 1; null is what could not be measured."""
    overall = metrics[metrics["class"].isna()].set_index("metric")["value"]
    accuracy = metrics[metrics["class"].isna() & (metrics["metric"] == "accuracy")].iloc[0]
    said: dict[str, Any] = {name: as_number(overall.get(name)) for name in ("accuracy", "macro_f1")}
    said["accuracy_95_percent_interval"] = [as_number(accuracy["low"]), as_number(accuracy["high"])]
    of_classes = metrics[metrics["class"].notna()].pivot_table(
        index="class", columns="metric", values="value", dropna=False
    )
    names = _in_order(of_classes.index)
    said["per_class"] = {
        name: {metric: as_number(of_classes.loc[name].get(metric)) for metric in ("precision", "recall", "f1")}
        | ({} if counts is None else {"support": int(counts.loc[name].sum())})
        for name in names
    }
    return said


def _write_run(
    run: Path, row: Mapping[str, Any], epochs: pd.DataFrame, metrics: pd.DataFrame, confusion: pd.DataFrame
) -> list[Path]:
    config = yaml.safe_dump(experiment_config(row["trial"], row["config"]), sort_keys=False, allow_unicode=True)
    paths = [
        write_text(run / "config.yaml", config + WORKERS_NOTE),
        _write_json(run / "history.json", history(epochs)),
    ]
    for part, word in (("validation", "best"), ("test", "test")):
        of_part = metrics[(metrics["part"] == part) & (metrics["level"] != "recording")]
        targets = run / f"{word}_metrics.json", run / f"{word}_confusion_matrix.npy"
        if not len(of_part):
            for stale in targets:  # of an export of data that had this part
                stale.unlink(missing_ok=True)
            continue
        counts = _counts(confusion[(confusion["part"] == part) & (confusion["level"] != "recording")])
        about = {"trial": row["trial"], "part": part, "epoch": int(row["best_epoch"]), "classes": list(counts.index)}
        paths.append(_write_json(targets[0], about | part_metrics(of_part, counts)))
        paths.append(written(targets[1], lambda beside, counts=counts: _save_array(beside, counts.to_numpy())))  # type: ignore[misc]
    return paths


def _write_model(run: Path, model: Path | None, trial: str) -> list[Path]:
    if model is not None:
        return [write_state_dict(model, run / "best.pt"), *copy_model(model, "best", run)]
    log.warning("the model of %s is missing or damaged, so its folder has none; to train it again: --force", trial)
    for stale in ("best.pt", "best.safetensors", "best.json"):
        (run / stale).unlink(missing_ok=True)
    return []


def _counts(confusion: pd.DataFrame) -> pd.DataFrame:
    """Rows are what it is, columns what it was taken for, both in the order of the emotions."""
    table = confusion.pivot_table(index="actual", columns="predicted", values="count", aggfunc="sum", fill_value=0)
    names = _in_order(set(table.index) | set(table.columns))
    return table.reindex(index=names, columns=names, fill_value=0).astype(np.int64)


def _write_log(path: Path, attempts: pd.DataFrame) -> Path:
    """One line per attempt, the oldest first; failed and interrupted ones are in it too."""
    ordered = attempts.sort_values(["started", "trial", "attempt"], na_position="first", kind="stable")
    lines = [
        json.dumps({name: _plain(value) for name, value in row.items()}, ensure_ascii=False)
        for row in ordered.to_dict("records")
    ]
    return write_text(path, "".join(line + "\n" for line in lines))


def _plain(value: Any) -> Any:
    """As JSON has it: times in ISO 8601 (UTC), what is missing as null, JSON text as what it says."""
    if isinstance(value, str) and value[:1] in "{[":
        try:
            return json.loads(value)
        except ValueError:
            return value
    if isinstance(value, dict | list | tuple):
        return value
    if pd.isna(value):
        return None
    if isinstance(value, pd.Timestamp):
        return value.isoformat() + ("" if value.tzinfo else "Z")
    if isinstance(value, np.generic):
        value = value.item()
    return as_number(value) if isinstance(value, float) else value


def _in_order(names: Any) -> list[str]:
    """The emotions as the document lists them; what it does not know comes last."""
    return sorted(names, key=lambda name: (CLASSES.index(name) if name in CLASSES else len(CLASSES), name))


def _write_json(path: Path, said: Any) -> Path:
    return write_text(path, json.dumps(said, indent=2, ensure_ascii=False) + "\n")


def _save_array(path: Path, array: np.ndarray) -> None:
    """Where numpy is told, and not at that place with `.npy` behind it."""
    with path.open("wb") as file:
        np.save(file, array)
