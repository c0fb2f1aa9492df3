"""Records like those of a grid of settings, ranked by a loss and scored file by file, as the denoise study has them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from storage.lab import Lab
from storage.records import Records
from tests.storage import night

STUDY = "denoise"

FULL: dict[str, tuple[Any, ...]] = {
    "training.batch_size": (8, 16, 32),
    "training.lr": (5e-5, 1e-4, 2e-4, 5e-4),
    "training.epochs": (75, 100, 150),
    "training.optimizer": ("adam", "adamw"),
    "training.scheduler_patience": (8, 12, 15),
    "training.scheduler_factor": (0.5, 0.3),
    "training.early_stop": (20, 25),
}
"""The 864 points."""

SMALL: dict[str, tuple[Any, ...]] = {
    "training.batch_size": (8, 16),
    "training.lr": (1e-4, 5e-4),
    "training.epochs": (30, 50),
}
"""The eight of `quick`."""

DEFAULTS: dict[str, Any] = {
    "training.batch_size": 8, "training.lr": 1e-4, "training.epochs": 75, "training.optimizer": "adam",
    "training.scheduler_patience": 10, "training.scheduler_factor": 0.5, "training.early_stop": 20,
}  # fmt: skip

SPEAKERS = 8
"""Groups of files in each of validation and test; two files each."""


def points(grid: Mapping[str, Sequence[Any]] = SMALL) -> dict[str, dict[str, Any]]:
    """Trial name to its point of the grid."""
    shorts = {"batch_size": "bs", "lr": "lr", "epochs": "ep", "optimizer": "", "scheduler_patience": "sp",
              "scheduler_factor": "sf", "early_stop": "es"}  # fmt: skip
    return {
        "_".join(f"{shorts[setting.rpartition('.')[2]]}{value}" for setting, value in zip(grid, values, strict=True)):
        dict(zip(grid, values, strict=True))
        for values in itertools.product(*grid.values())
    }  # fmt: skip


def curve(point: Mapping[str, Any], seed: int = 0) -> tuple[list[float], list[float], bool]:
    """Training and validation losses of a simulated trial epoch by epoch, and whether it stopped early.

    Trials that differ in epochs and patiences alone share their beginnings, as real ones do.
    """
    lr, batch = float(point["training.lr"]), int(point.get("training.batch_size", 8))
    optimizer = point.get("training.optimizer", "adam")
    generator = np.random.default_rng([seed, int(1e6 * lr), batch, len(optimizer)])
    floor = 0.003 + 0.0015 * abs(math.log2(lr / 2e-4)) + 0.0006 * abs(math.log2(batch / 16))
    floor -= 0.0004 * (optimizer == "adamw") * (lr > 1e-4)
    jitter = generator.normal(size=200)
    rate, progress, best, bad, worse = lr, 0.0, math.inf, 0, 0
    train, validation = [], []
    for epoch in range(int(point["training.epochs"])):
        progress += rate / lr if rate == lr else 0.5 * rate / lr
        value = floor + 0.03 * math.exp(-progress / 9) + 0.0006 * (rate / lr) * jitter[epoch]
        validation.append(value)
        train.append(floor - 0.001 + 0.03 * math.exp(-progress / 9))
        if value < best:
            worse, best = 0, value
        else:
            worse += 1
        bad = 0 if value <= best else bad + 1
        if bad > int(point.get("training.scheduler_patience", 10)):
            rate, bad = rate * float(point.get("training.scheduler_factor", 0.5)), 0
        if worse >= int(point.get("training.early_stop", 15)):
            return train, validation, True
    return train, validation, False


def account(trial: str, point: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    """The account of a finished trial of that point."""
    _, validation, stopped = curve(point)
    best = int(np.argmin(validation)) + 1
    training: dict[str, Any] = {"optimizer": "adam", "weight_decay": 0.01, "loss": "mse"}
    training |= {setting.rpartition(".")[2]: value for setting, value in point.items()}
    said = {
        "fingerprint": f"f{trial}",
        "config": {"name": trial, "purpose": "", "training": training, "seed": 42},
        "changes": {
            setting: [DEFAULTS[setting], value] for setting, value in point.items() if value != DEFAULTS[setting]
        },
        "purpose": "",
        "model_name": f"unet1d_{trial}",
        "model_key": f"model of {round(1e9 * min(validation))}",
        "seconds_spent": 3.0,
        "seconds_standalone": 1.5 * len(validation),
        "epochs_planned": point["training.epochs"],
        "epochs_trained": 2,
        "epochs_done": len(validation),
        "best_epoch": best,
        "stopped_early": stopped,
        "selection_metric": "validation_loss",
        "selection_value": min(validation),
        "higher_is_better": False,
        "verdict": f"good: validation loss {min(validation):.4f}",
    }
    return night.account(0.5, **(said | changes))


def scores(loss: float) -> pd.DataFrame:
    """SI-SDR and its improvement on two files of every speaker, the better the lower the loss; one file is silent."""
    generator = np.random.default_rng(int(1e9 * loss))
    rows = []
    for part, speaker, take in itertools.product(("validation", "test"), range(SPEAKERS), range(2)):
        if part == "test" and speaker == 0 and take == 0:
            continue  # silent: not defined
        gain = 9 - 400 * loss + 0.3 * speaker + 0.05 * generator.normal()
        path, group = f"clean/{part}_{speaker}_{take}.wav", f"{part}_{speaker}"
        of_file = {"si_sdr": 5.0 + gain, "si_sdr_improvement": gain, "stoi": 0.8}
        rows += [(part, group, path, metric, value) for metric, value in of_file.items()]
    return pd.DataFrame(rows, columns=["part", "recording", "path", "metric", "value"])


def tables(point: Mapping[str, Any]) -> dict[str, pd.DataFrame]:
    """What a trial of that point brings."""
    train, validation, _ = curve(point)
    epochs = [
        (number, part, metric, value, 1.5, f"state{number} {value}")
        for number, losses in enumerate(zip(train, validation, strict=True), 1)
        for part, metric, value in (("train", "loss", losses[0]), ("validation", "loss", losses[1]))
    ]
    of_files = scores(min(validation))
    means = of_files.groupby(["part", "metric"])["value"].agg(["mean", "std"]).reset_index()
    metrics = pd.DataFrame({
        "part": means["part"], "level": "recording", "metric": means["metric"], "class": None, "value": means["mean"],
        "low": means["mean"] - means["std"] / 2, "high": means["mean"] + means["std"] / 2,
    })  # fmt: skip
    silent = {"part": "test", "level": "recording", "metric": "silent_references", "value": 1.0}
    return {
        "epochs": pd.DataFrame(epochs, columns=["epoch", "part", "metric", "value", "seconds", "key"]),
        "metrics": pd.concat([metrics, pd.DataFrame([silent])], ignore_index=True),
        "scores": of_files,
    }


def write_grid(lab: Lab, grid: Mapping[str, Sequence[Any]] = SMALL, *, diverge: Sequence[str] = ()) -> Records:
    """A whole grid: every point finished, those of `diverge` with a loss that was no number."""
    records = Records(lab)
    for trial, point in points(grid).items():
        with records.begin(STUDY, trial, "run-3") as attempt:
            if trial in diverge:
                said = {"status": "diverged", "selection_value": None, "model_key": None, "epochs_done": 3}
                error = "epoch 4: the loss of step 17 is nan"
                attempt.commit(account(trial, point, error=error, verdict=None, **said), {})
            else:
                attempt.commit(account(trial, point), tables(point))
    rows = [
        (name, 0.3, 0.5, "training.lr" if name != "training.lr" else "training.batch_size", 0.1, 8, True)
        for name in grid
    ]
    columns = ["setting", "main", "total", "partner", "together", "trials", "whole"]
    frames = {"importance": pd.DataFrame(rows, columns=columns)}
    records.note(STUDY, "comparison", {"fingerprint": "c1"}, frames)
    return records
