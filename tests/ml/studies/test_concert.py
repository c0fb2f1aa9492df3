"""The concert study against the document: what balance strength means, names, the exported list, the summary."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from ml.data.windows import class_weights, draw
from ml.models.ast import build_ast, save_model
from ml.models.ast_config import AstConfig
from ml.studies.concert.config import ConcertSettings, ConcertTrial
from ml.studies.concert.estimate import estimate
from ml.studies.concert.pictures import trade_off
from ml.studies.concert.study import CONCERT
from ml.studies.concert.summary import summary
from ml.studies.results import Results
from ml.studies.study import Trial
from ml.training.machine import Machine

NAMES = ("APPLAUSE", "MUSIC", "PUBLIC", "SPEECH", "TUNING")
COUNTS = np.array([3392, 17669, 5291, 1651, 506])
"""Windows per class: the document's minutes in windows of 2.97 s."""

# Worked out from weight = (N / (C * n))^s and share = n * weight / sum(n * weight), for the counts above.
SHARES = {
    0.00: (0.1190, 0.6198, 0.1856, 0.0579, 0.0177),
    0.25: (0.1500, 0.5172, 0.2094, 0.0874, 0.0360),
    0.50: (0.1781, 0.4065, 0.2224, 0.1242, 0.0688),
    0.75: (0.1967, 0.2971, 0.2198, 0.1643, 0.1222),
    1.00: (0.2000, 0.2000, 0.2000, 0.2000, 0.2000),
}


def test_the_written_shares_are_the_formula() -> None:
    for strength, shares in SHARES.items():
        weight = (COUNTS.sum() / (5 * COUNTS)) ** strength
        assert COUNTS * weight / (COUNTS * weight).sum() == pytest.approx(shares, abs=6e-5)


@pytest.mark.parametrize("strength", SHARES)
def test_the_sampler_draws_each_class_as_often_as_its_strength_says(strength: float) -> None:
    labels = np.repeat(np.arange(5), COUNTS)
    weights = class_weights(COUNTS, strength)[labels]
    drawn = labels[np.concatenate([draw(weights, 42, epoch, len(labels)) for epoch in range(1, 6)])]
    shares = np.bincount(drawn, minlength=5) / len(drawn)
    # 142,545 draws: four standard deviations of a share of 0.6 are 0.005.
    assert shares == pytest.approx(SHARES[strength], abs=0.006)


def test_a_model_says_its_strength_and_when_it_was_made() -> None:
    trial = Trial("anything", ConcertTrial(balance_strength=0.5), {}, "")
    assert CONCERT.model_name(trial, dt.datetime(2025, 10, 6, 17, 5, 30)) == "ast_balance0.50_20251006_170530"


def boards() -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Leaderboard, classes and inventory with the document's numbers: 0.0 gives 95/62, 0.5 93/82, 1.0 90/88."""
    recalls = {
        0.0: (0.97, 0.95, 0.93, 0.89, 0.62),
        0.5: (0.96, 0.93, 0.94, 0.90, 0.82),
        1.0: (0.95, 0.90, 0.93, 0.93, 0.88),
    }
    rows: list[dict[str, Any]] = []
    classes: list[dict[str, Any]] = []
    for rank, (strength, accuracy) in zip(
        (2, 1, 3),
        (
            (0.0, 0.9312),
            (0.5, 0.92347),
            (1.0, 0.9),
        ),
        strict=True,
    ):
        name = f"balance_{strength:.2f}"
        rows.append(
            {
                "study": "concert",
                "trial": name,
                "rank": rank,
                "current_data": True,
                "model_name": f"ast_balance{strength:.2f}_20251006_170530",
                "config": {"balance_strength": strength},
                "train_accuracy": 0.98764,
                "validation_accuracy": 0.94,
                "test_accuracy": accuracy,
                "test_low": accuracy - 0.03,
                "test_high": accuracy + 0.02,
                "seconds_standalone": 12_345.0,
            }
        )
        classes += [
            {"study": "concert", "trial": name, "part": "test", "level": "window", "class": label, "recall": recall}
            | {"low": recall - 0.1, "high": recall}
            for label, recall in zip(NAMES, recalls[strength], strict=True)
        ]
    minutes = pd.DataFrame({"class": NAMES, "minutes": (167.89, 874.63, 261.90, 81.72, 25.03)})
    return pd.DataFrame(rows).sort_values("rank"), pd.DataFrame(classes), minutes


def results(leaderboard: pd.DataFrame, per_class: pd.DataFrame) -> Results:
    """Without what the document does not need."""
    nothing = pd.DataFrame()
    return Results(leaderboard, per_class, nothing, nothing, ask={}.__getitem__)


def test_the_summary_reads_as_in_the_document() -> None:
    text = summary(*boards())
    lines = text.splitlines()
    assert lines[0] == "=== EXPERIMENT SUMMARY ==="
    points = [number for number, line in enumerate(lines) if line.startswith("Balance Strength: ")]
    natural, half, full = points[:3]
    assert lines[natural : natural + 3] == [
        "Balance Strength: 0.00",
        "  Test Accuracy: 93.12%",
        "  Training Time: 205.8 min",
    ]
    assert "TUNING" in lines[natural + 8] and lines[natural + 8].endswith("62.00%   weak: too little data")
    assert lines[half + 1] == "  Test Accuracy: 92.35%"
    assert lines[half + 8].endswith("82.00%   better")
    assert lines[full + 5].endswith("90.00%   a little worse") and lines[full + 5].lstrip().startswith("MUSIC")
    assert not lines[half + 4].endswith("%   "), "no remark where nothing matters"
    at = lines.index("BEST MODEL (chosen on validation)")
    assert lines[at + 1] == "Balance Strength: 0.50"
    assert lines[at + 2] == "Test Accuracy: 92.35% (95 % sure between 89.35% and 94.35%)"
    assert lines[at + 3].startswith("Highest on test alone: 0.00 with 93.12%")


def test_the_exported_list_has_the_documents_fields_in_percent(tmp_path: Path) -> None:
    network = AstConfig(pretrained=None, hidden=16, layers=1, heads=1, intermediate=32)
    model = build_ast(network, frames=64, mels=32, labels=NAMES, seed=1)
    folder = tmp_path / "model"
    folder.mkdir()
    save_model(model, folder, {"classes": list(NAMES)})
    name = "ast_balance0.50_20251006_170530"
    board, classes, _ = boards()
    written = CONCERT.export_document(tmp_path / "to", results(board, classes), {name: folder}, pth=True)
    assert [path.name for path in written] == [
        "experiment_results.json",
        f"{name}.safetensors",
        f"{name}.json",
        f"{name}.pth",
    ]
    entries = json.loads(written[0].read_text(encoding="utf-8"))
    assert [entry["balance_strength"] for entry in entries] == [0.0, 0.5, 1.0]
    assert entries[1] == {
        "balance_strength": 0.5,
        "train_acc": 98.76,
        "val_acc": 94.0,
        "test_acc": 92.35,
        "per_class_acc": {"APPLAUSE": 96.0, "MUSIC": 93.0, "PUBLIC": 94.0, "SPEECH": 90.0, "TUNING": 82.0},
        "total_time_minutes": 205.75,
    }
    assert json.loads(written[2].read_text(encoding="utf-8"))
    loaded, beside = torch.load(written[3], weights_only=True), load_file(written[1])
    assert loaded.keys() == beside.keys() and all(torch.equal(loaded[key], beside[key]) for key in beside)
    # The weights have the names that the hub's own AST files have; this one is in both, and is the model's.
    assert torch.equal(loaded["classifier.dense.weight"], model.state_dict()["classifier.dense.weight"])
    assert sum(weight.numel() for weight in loaded.values()) == sum(one.numel() for one in model.parameters())
    assert CONCERT.export_document(tmp_path / "to", results(board, classes), {name: folder}, pth=True) == written, (
        "again"
    )


def test_trials_of_older_data_are_left_out_and_it_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    board, classes, minutes = boards()
    board.loc[board["trial"] == "balance_1.00", "current_data"] = False
    text = summary(board, classes, minutes)
    assert "1 trial of older data is left out; to refresh: nocturne run concert" in text.splitlines()
    assert "Balance Strength: 1.00" not in text and "Balance Strength: 0.00" in text
    assert "older data" not in summary(*boards())

    fewer = board[board["current_data"]], classes[classes["trial"] != "balance_1.00"]
    assert trade_off(board, classes, minutes) != trade_off(*fewer, minutes), "the picture says so too"

    models = {}
    for name in ("ast_balance0.50_20251006_170530", "ast_balance1.00_20251006_170530"):
        models[name] = tmp_path / name
        models[name].mkdir()
        for file in ("model.safetensors", "config.json"):
            (models[name] / file).write_text(name, encoding="utf-8")
    written = CONCERT.export_document(tmp_path / "to", results(board, classes), models, pth=False)
    entries = json.loads(written[0].read_text(encoding="utf-8"))
    assert [entry["balance_strength"] for entry in entries] == [0.0, 0.5]
    assert {path.stem for path in written[1:]} == {"ast_balance0.50_20251006_170530"}
    assert "1 trial of older data is left out" in caplog.text


def test_the_estimate_counts_windows_epochs_and_states() -> None:
    network = AstConfig(pretrained=None, hidden=16, layers=1, heads=1, intermediate=32)
    files = pd.DataFrame({"state": ["ok", "warned", "rejected"], "seconds": [2970.0, 297.0, 99_999.0]})
    settings = ConcertSettings()
    machine = Machine(device="cpu", precision="fp32", threads=1, name="any", bf16=False)
    trial = Trial("any", ConcertTrial(model=network), {}, "")
    found = estimate(trial, files, settings, machine, 0.25)
    # 1,100 windows; 5 epochs of 80 % trained, and 20 % judged at a third of the cost.
    assert found.seconds == pytest.approx(5 * 1100 * (0.8 + 0.2 / 3) * 0.25)
    weights = sum(
        weight.numel() for weight in build_ast(network, frames=297, mels=128, labels=("a", "b"), seed=0).parameters()
    )
    assert found.disk_bytes == 4 * weights * (1 + 2 * 3), "the model, and two states of weights and two moments"
    rough = estimate(trial, files, settings, machine, None)
    assert rough.seconds and rough.seconds > 0 and "timed just now" in rough.basis
