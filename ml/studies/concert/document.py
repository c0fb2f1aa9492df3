"""Results in the form that people had before: one JSON list, and one model file per point."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from ml.studies.concert.pictures import strengths
from ml.studies.standing import comparable, left_out
from ml.studies.written import copy_model, write_state_dict, write_text

log = logging.getLogger(__name__)


def export(
    folder: Path, leaderboard: pd.DataFrame, per_class: pd.DataFrame, models: Mapping[str, Path], *, pth: bool
) -> list[Path]:
    """Write `experiment_results.json`, and per model of the present data `NAME.safetensors` with `NAME.json` beside it.

    `pth` adds `NAME.pth`, a state dict for programs that load nothing else.
    """
    if note := left_out(leaderboard):
        log.warning("%s", note)
    older = set(leaderboard["model_name"]) - set(comparable(leaderboard)["model_name"])
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(experiment_results(leaderboard, per_class), indent=2, ensure_ascii=False) + "\n"
    written = [write_text(folder / "experiment_results.json", text)]
    for name, model in sorted((name, model) for name, model in models.items() if name not in older):
        written += copy_model(model, name, folder)
        if pth:
            written.append(write_state_dict(model, folder / f"{name}.pth"))
    return written


def experiment_results(leaderboard: pd.DataFrame, per_class: pd.DataFrame) -> list[dict[str, Any]]:
    """One entry per balance strength; accuracies in percent of windows, time in minutes."""
    leaderboard = comparable(leaderboard)
    per_class = per_class[per_class["trial"].isin(leaderboard["trial"])]
    strength = strengths(leaderboard)
    part = "test" if (per_class["part"] == "test").any() else "validation"
    recalls = per_class[(per_class["part"] == part) & (per_class["level"] == "window")]
    entries = []
    for row in leaderboard.itertuples():
        own = recalls[recalls["trial"] == row.trial]
        entries.append(
            {
                "balance_strength": strength[row.trial],
                "train_acc": _percent(row.train_accuracy),
                "val_acc": _percent(row.validation_accuracy),
                "test_acc": _percent(row.test_accuracy),
                "per_class_acc": {one["class"]: _percent(one["recall"]) for one in own.to_dict("records")},
                "total_time_minutes": round(float(row.seconds_standalone) / 60, 2),
            }
        )
    return sorted(entries, key=lambda entry: entry["balance_strength"])


def _percent(share: float | None) -> float | None:
    return None if share is None or pd.isna(share) else round(100 * float(share), 2)
