"""Records like those of a real night, written through the public interface: a study of sound, and one of pictures."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import numpy as np
import pandas as pd

from storage.lab import Lab
from storage.records import Record, Records

CLASSES = ("APPLAUSE", "MUSIC", "PUBLIC", "SPEECH", "TUNING")
MINUTES = {"APPLAUSE": 16.8, "MUSIC": 87.4, "PUBLIC": 26.2, "SPEECH": 8.2, "TUNING": 2.5}
RECORDINGS = {"APPLAUSE": 20, "MUSIC": 30, "PUBLIC": 20, "SPEECH": 10, "TUNING": 10}
STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
STUDY = "concert"


def files_table() -> pd.DataFrame:
    """An inventory: every class, one file left out, one warned about."""
    rows = []
    for name in CLASSES:
        for number in range(RECORDINGS[name]):
            rows.append(
                {
                    "path": f"{name}/Żółta sala {number}.wav",
                    "label": name,
                    "group": f"{name}-{number}",
                    "seconds": 60 * MINUTES[name] / RECORDINGS[name],
                    "rate": 48000,
                    "channels": 2,
                    "format": "wav/pcm_24",
                    "bytes": 1000 + number,
                    "modified_ns": 1_760_000_000_000_000_000 + number,
                    "content_hash": f"{name}{number:02d}",
                    "sound_hash": f"s{name}{number:02d}",
                    "peak": 0.5,
                    "state": "ok",
                    "problem": "",
                    "at_seconds": np.nan,
                    "overlaps": None,
                }
            )
    rows[0] |= {"state": "rejected", "problem": "the file ends in the middle: 44,089 of 88,200 frames"}
    rows[1] |= {"state": "warned", "problem": "all samples are zero"}
    return pd.DataFrame(rows)


def splits_table(files: pd.DataFrame) -> pd.DataFrame:
    """Eight tenths of the accepted files of each class in train, a tenth in validation and in test."""
    kept = files[files["state"] != "rejected"]
    number = kept.groupby("label").cumcount() % 10
    part = np.select([number == 8, number == 9], ["validation", "test"], "train")
    return kept[["path", "label", "group", "content_hash"]].assign(part=part)


def account(strength: float, **changes: object) -> dict[str, object]:
    """The account of a finished trial of that strength."""
    said: dict[str, object] = {
        "status": "finished",
        "fingerprint": f"f{strength:.2f}",
        "config": {"balance_strength": strength, "training": {"lr": 1e-4, "epochs": 5}, "labels": list(CLASSES)},
        "changes": {"balance_strength": [0.5, strength]} if strength != 0.5 else {},
        "purpose": f"balance {strength}",
        "model_name": f"ast_balance{strength:.2f}",
        "model_key": "m",
        "seconds_spent": 12_600.0,
        "seconds_standalone": 12_600.0,
        "epochs_planned": 5,
        "epochs_trained": 5,
        "epochs_done": 5,
        "best_epoch": 4,
        "stopped_early": False,
        "precision": "fp32",
        "machine": "two cores",
        "micro_batch": 16,
        "out_of_memory": 0,
        "data_fingerprint": "d1",
        "features_key": "k1",
        "revision": "1",
        "selection_metric": "macro_f1",
        "selection_value": 0.80 + 0.1 * strength * (1.6 - strength),
        "higher_is_better": True,
    }
    return said | changes


def tables(strength: float, seed: int = 0) -> dict[str, pd.DataFrame]:
    """What a trial of that strength brings: more balance, more recall of the small class and less of the large one."""
    generator = np.random.default_rng([seed, int(100 * strength)])
    recalls = dict.fromkeys(CLASSES, 0.9) | {"MUSIC": 0.95 - 0.05 * strength, "TUNING": 0.62 + 0.26 * strength}
    judged = []
    for part, level, each in (
        ("validation", "window", 40),
        ("validation", "recording", 4),
        ("test", "window", 40),
        ("test", "recording", 4),
    ):
        for name in CLASSES:
            for number in range(each):
                right = generator.random() < recalls[name]
                chances = np.full(5, 0.1, dtype=np.float32)
                said = name if right else "PUBLIC" if name != "PUBLIC" else "SPEECH"
                if name == "TUNING" and number % 4 == 0:
                    said = "MUSIC"  # one recording that every trial gets wrong
                chances[CLASSES.index(said)] = 0.6
                judged.append((part, level, f"{name}-{number % 4}", f"{name}/Żółta sala {number % 4}.wav",
                               number // 4 if level == "window" else -1, 2.97 * (number // 4), name, said,
                               0.6, chances))  # fmt: skip
    columns = ["part", "level", "recording", "path", "window", "start_seconds", "actual", "predicted", "confidence",
               "probabilities"]  # fmt: skip
    predictions = pd.DataFrame(judged, columns=columns)
    counted = predictions.groupby(["part", "level", "actual", "predicted"]).size().rename("count").reset_index()
    epochs = [
        (epoch, part, metric, value, 2_520.0, f"state{epoch}")
        for epoch in range(1, 6)
        for part, metric, value in (
            ("train", "loss", 1.0 / epoch),
            ("train", "accuracy", 0.7 + 0.05 * epoch),
            ("validation", "loss", 0.5 + 0.1 * abs(epoch - 4)),
            ("validation", "macro_f1", 0.8 - 0.02 * abs(epoch - 4)),
        )
    ]
    return {
        "epochs": pd.DataFrame(epochs, columns=["epoch", "part", "metric", "value", "seconds", "key"]),
        "metrics": _metrics(predictions),
        "confusion": counted,
        "predictions": predictions,
        "draws": pd.DataFrame(
            [(epoch, name, int(1000 * MINUTES[name] ** (1 - strength))) for epoch in range(1, 6) for name in CLASSES],
            columns=["epoch", "class", "count"],
        ),
    }


def _metrics(predictions: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for (part, level), judged in predictions.groupby(["part", "level"]):
        right = judged["actual"] == judged["predicted"]
        rows.append((part, level, "accuracy", None, right.mean(), right.mean() - 0.03, right.mean() + 0.03))
        recalls = right.groupby(judged["actual"]).mean()
        rows.append((part, level, "macro_f1", None, recalls.mean(), None, None))
        for name in CLASSES:
            taken = judged["predicted"] == name
            precision = (taken & right).sum() / max(taken.sum(), 1)
            recall = recalls[name]
            rows.append((part, level, "recall", name, recall, recall - 0.1, min(recall + 0.1, 1.0)))
            rows.append((part, level, "precision", name, precision, None, None))
            rows.append((part, level, "f1", name, 2 * precision * recall / max(precision + recall, 1e-9), None, None))
    return pd.DataFrame(rows, columns=["part", "level", "metric", "class", "value", "low", "high"])


def finish(records: Records, trial: str, strength: float, *, study: str = STUDY, **changes: object) -> Record:
    """One attempt that finishes."""
    with records.begin(study, trial, "run-1") as attempt:
        return attempt.commit(account(strength, **changes), tables(strength))


def fail(records: Records, trial: str, strength: float, error: str) -> Record:
    """One attempt that fails."""
    with records.begin(STUDY, trial, "run-0") as attempt:
        return attempt.commit(account(strength, status="failed", error=error, selection_value=None), {})


def write_night(lab: Lab, strengths: Sequence[float] = STRENGTHS) -> Records:
    """A whole night: inventory, split, window counts, every strength, a failure, a killed attempt, a comparison."""
    records = Records(lab)
    files = files_table()
    splits = splits_table(files)
    records.note(STUDY, "inventory", {"fingerprint": "i1"}, {"files": files})
    records.note(STUDY, "split", {"fingerprint": "s1", "data_fingerprint": "d1"}, {"splits": splits})
    windows = splits.groupby(["part", "label"]).size().rename("windows").reset_index()
    windows = windows.rename(columns={"label": "class"}).assign(windows=lambda frame: frame["windows"] * 25)
    records.note(STUDY, "features", {"fingerprint": "k1"}, {"window_counts": windows})
    fail(records, "balance_1.00", 1.0, "CUDA out of memory at batch 1")
    with contextlib.suppress(SystemExit), records.begin(STUDY, "balance_1.00", "run-0b"):
        raise SystemExit  # the process dies without a word
    for strength in strengths:
        finish(records, f"balance_{strength:.2f}", strength)
    fail(records, "balance_0.30", 0.3, "the source vanished")
    columns = ["trial", "against", "part", "recordings", "better_on", "worse_on", "difference", "p_value", "verdict"]
    rows = [
        (f"balance_{strength:.2f}", "balance_0.75", "validation", 20, 1, 2, -0.05, 1.0, "cannot be told apart")
        for strength in strengths
        if strength != 0.75
    ]
    records.note(STUDY, "comparison", {"fingerprint": "c1"}, {"comparisons": pd.DataFrame(rows, columns=columns)})
    return records


EMOTIONS = ("angry", "disgusted", "neutral")
EXPERIMENTS: dict[str, dict[str, list[object]]] = {
    "aug_none": {"augmentation.mixup_alpha": [0.2, 0.0], "augmentation.random_erasing": [0.1, 0.0]},
    "baseline": {},
    "lr_low": {"training.lr": [3e-4, 1e-4]},
}
"""Trial of the study of pictures to its changes."""


def pictures_table() -> pd.DataFrame:
    """An inventory of pictures of a few persons, with one clip among them and one file left out."""
    rows = []
    for number, name in enumerate(EMOTIONS * 4 + ("angry",) * 3):
        rows.append(
            {
                "path": f"{name}/p{number % 5}_{number}.png",
                "label": name,
                "group": f"p{number % 5}",
                "seconds": 0.0,
                "rate": 0,
                "channels": 3,
                "format": "png/rgb 96x96",
                "bytes": 900 + number,
                "modified_ns": 1_760_000_000_000_000_000 + number,
                "content_hash": f"e{number:02d}",
                "sound_hash": f"p{number:02d}",
                "peak": 0.0,
                "state": "ok",
                "problem": "",
            }
        )
    rows[0] |= {"path": "angry/p0.wav", "seconds": 12.0, "rate": 16000, "channels": 1, "format": "wav/pcm_16"}
    rows[1] |= {"state": "rejected", "problem": "cut off in the middle"}
    return pd.DataFrame(rows)


def write_experiments(lab: Lab, study: str = "emotion") -> Records:
    """A study of pictures after three experiments: training is measured too, there is a learning rate, and no test."""
    records = Records(lab)
    files = pictures_table()
    records.note(study, "inventory", {"fingerprint": "i1"}, {"files": files})
    kept = files[files["state"] != "rejected"]
    part = np.where(kept["group"] == "p0", "validation", "train")
    splits = kept[["path", "label", "group", "content_hash"]].assign(part=part)
    records.note(study, "split", {"fingerprint": "s1", "data_fingerprint": "d1"}, {"splits": splits})
    for number, (trial, changes) in enumerate(EXPERIMENTS.items()):
        said = {
            "config": {
                "augmentation": {"mixup_alpha": 0.2, "random_erasing": 0.1},
                "training": {"lr": 3e-4, "epochs": 2},
            },
            "changes": changes,
            "remarks": ["changes 2 settings at once"] if len(changes) > 1 else [],
            "selection_metric": "validation_macro_f1",
            "selection_value": 0.6 + 0.05 * number,
        }
        for setting, (_, value) in changes.items():
            section, _, name = setting.partition(".")
            said["config"][section][name] = value  # type: ignore[index]
        of_all = [("train", "macro_f1", 0.9), ("train", "accuracy", 0.9), ("validation", "accuracy", 0.7)]
        of_all.append(("validation", "macro_f1", 0.6 + 0.05 * number))
        rows = [(part, "window", metric, None, value) for part, metric, value in of_all]
        rows += [
            ("validation", "window", metric, name, 0.5 + 0.1 * place + 0.01 * number)
            for place, name in enumerate(EMOTIONS)
            for metric in ("precision", "recall", "f1")
        ]
        rates = [(epoch, "train", "lr", 1e-4 / epoch, 3.0, f"{trial}{epoch}") for epoch in (1, 2)]
        frames = {
            "metrics": pd.DataFrame(rows, columns=["part", "level", "metric", "class", "value"]),
            "epochs": pd.DataFrame(rates, columns=["epoch", "part", "metric", "value", "seconds", "key"]),
        }
        with records.begin(study, trial, "run-2") as attempt:
            attempt.commit(account(0.5, **said), frames)
    return records
