"""Results in the form that people had before: one JSON list of all trials, and a state dict for each model."""

from __future__ import annotations

import json
import logging
import math
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from ml.studies.results import Results
from ml.studies.standing import comparable, left_out
from ml.studies.written import copy_model, write_state_dict, write_text, written

log = logging.getLogger(__name__)

RESULTS = "hyperparameter_results.json"
BEST = "unet1d_best"

WORDS = {"lr": "learning_rate", "early_stop": "early_stopping_patience"}
"""Settings of the training that were called otherwise."""


def export(folder: Path, results: Results, models: Mapping[str, Path], *, pth: bool) -> list[Path]:
    """Write `hyperparameter_results.json`, a `.pth` named after all settings for each trial, and `unet1d_best`.

    The models are plain state dicts and always written, because the form asks for them: `pth` adds nothing. Trials that
    ended with the same weights share one file under several names, where the disk allows that. `unet1d_best` comes as
    `.safetensors` with its configuration too: a state dict does not say what network it is of.
    """
    if note := left_out(results.leaderboard):
        log.warning("%s", note)
    folder.mkdir(parents=True, exist_ok=True)
    board = comparable(results.leaderboard).sort_values("rank")
    there = {name: models[name] for name in board["model_name"] if name in models}
    missing = [name for name in board["model_name"] if name not in there]
    if missing:
        counted = "1 model is" if len(missing) == 1 else f"{len(missing)} models are"
        log.warning("%s missing or damaged, %s first; to train it again: --force", counted, missing[0])
    text = json.dumps(hyperparameter_results(results, set(there)), indent=2, ensure_ascii=False) + "\n"
    paths = [write_text(folder / RESULTS, text), *_write_models(folder, there)]
    best = str(board.iloc[0]["model_name"])
    if best in there:
        paths += [_same_file(folder / f"{best}.pth", folder / f"{BEST}.pth"), *copy_model(there[best], BEST, folder)]
    return paths


def hyperparameter_results(results: Results, written: set[str]) -> list[dict[str, Any]]:
    """One entry per trial, the best first and the failed ones last; `written` are the models that there are."""
    board = comparable(results.leaderboard).sort_values("rank")
    fits = results.ask("fits").set_index("trial")
    entries = []
    for row in board.to_dict("records"):
        fit = fits.loc[row["trial"]]
        name = str(row["model_name"])
        entries.append(
            _settings(row["config"])
            | {
                "name": row["trial"],
                "final_train_loss": _number(fit["train_loss"]),
                "final_val_loss": _number(fit["validation_loss"]),
                "best_val_loss": _number(row["selection_value"]),
                "train_val_gap": _number(fit["gap"]),
                "epochs_completed": int(row["epochs"]),
                "best_epoch": int(row["best_epoch"]),
                "early_stopped": bool(fit["stopped_early"]),
                **_gain(row),
                "training_time_minutes": _number(row["seconds_standalone"] / 60),
                "verdict": row["verdict"] if isinstance(row["verdict"], str) else None,
                "model_path": f"{name}.pth" if name in written else None,
                "error": None,
            }
        )
    return entries + _failed(results)


def _gain(row: Mapping[str, Any]) -> dict[str, Any]:
    """Decibels gained on test, or on validation where there is no test; and on which."""
    for part in ("test", "validation"):
        gained = _number(row[f"{part}_si_sdr_improvement"])
        if gained is not None:
            return {"si_sdr_improvement_db": gained, "si_sdr_improvement_part": part}
    return {"si_sdr_improvement_db": None, "si_sdr_improvement_part": None}


def _failed(results: Results) -> list[dict[str, Any]]:
    """Trials without any result, with what went wrong."""
    failures = results.ask("failures")
    failures = failures[~failures["has_result"].astype(bool)]
    configs = results.ask("trials").set_index("trial")["config"]
    return [
        _settings(json.loads(configs[row.trial]) if isinstance(configs[row.trial], str) else {})
        | {
            "name": row.trial,
            "status": row.status,
            "failed_in_epoch": None if pd.isna(row.epoch) else int(row.epoch),
            "model_path": None,
            "error": row.error,
        }
        for row in failures.itertuples()
    ]


def _settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """All settings of the training in the words of before; then the seed, and the network with its own."""
    training = {WORDS.get(name, name): value for name, value in config.get("training", {}).items()}
    return training | {name: config[name] for name in ("seed", "model") if name in config}


def _write_models(folder: Path, models: Mapping[str, Path]) -> list[Path]:
    """A state dict for each name; names of one model are one file."""
    first: dict[Path, Path] = {}
    paths = []
    for name, model in models.items():
        path = folder / f"{name}.pth"
        if model in first:
            paths.append(_same_file(first[model], path))
        else:
            first[model] = write_state_dict(model, path)
            paths.append(path)
    return paths


def _same_file(there: Path, also: Path) -> Path:
    """`also`, with what is in `there`: the same file where the disk can have two names for one, else a copy."""

    def link(beside: Path) -> None:
        beside.unlink(missing_ok=True)
        try:
            os.link(there, beside)
        except OSError:
            shutil.copyfile(there, beside)

    return written(also, link)


def _number(value: Any) -> float | None:
    """JSON has no NaN."""
    return None if value is None or pd.isna(value) or not math.isfinite(value) else float(value)
