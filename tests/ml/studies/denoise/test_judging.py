"""Judging whole files takes its time: it is said while it goes on, and counted in what a trial will cost."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from ml.studies.denoise import estimate as estimating
from ml.studies.denoise.config import DenoiseSettings
from ml.studies.denoise.estimate import estimate
from ml.studies.denoise.trial import run_trial
from ml.studies.study import TrialJob
from storage.artifacts import Shelf
from tests.denoise_grid import CPU, SECONDS, SMALL, Sound, sound, trial


def said_of(
    folder: Path, heard: Sound, training: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> tuple[list[str], pd.DataFrame]:
    """What a trial tells the person who waits, and its scores."""
    monkeypatch.setattr("ml.studies.denoise.trial.open_waveforms", lambda features: heard.store)
    words: list[str] = []
    job = TrialJob(
        trial=trial("one", SMALL, training),
        settings=DenoiseSettings.model_validate({"features": {"sample_rate": heard.store.config.sample_rate}}),
        split=heard.split,
        features=folder,
        states=Shelf(folder, "states"),
        evaluations=Shelf(folder, "evaluations"),
        machine=CPU,
        origin="the same sound for all",
        report=lambda note: words.append(f"epoch {note.epoch}"),
        say=words.append,
    )
    return words, run_trial(job).tables["scores"]


def test_files_are_heard_after_the_last_epoch_and_once_for_all_that_end_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, scores = said_of(tmp_path, sound(), {"epochs": 2}, monkeypatch)
    assert first == ["epoch 1", "epoch 2", "hearing 4 files of validation and test"]
    assert scores["path"].nunique() == 4
    again, same = said_of(tmp_path, sound(), {"epochs": 2, "scheduler_patience": 3}, monkeypatch)
    assert again == []
    pd.testing.assert_frame_equal(same, scores)


def test_only_parts_that_are_there_are_heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = sound({"train": SECONDS["train"], "validation": (1, 0.6)})
    words, _ = said_of(tmp_path, alone, {"epochs": 1}, monkeypatch)
    assert words[-1] == "hearing 1 file of validation"


def test_the_estimate_counts_epochs_and_whole_files(monkeypatch: pytest.MonkeyPatch) -> None:
    files = pd.DataFrame(
        {
            "label": ["clean", "clean", "clean", "noise"],
            "state": ["ok", "warned", "rejected", "ok"],
            "seconds": [100.0, 1000.0, 50.0, 70.0],
        }
    )
    asked = trial("one", {"mix": {"segment_seconds": 0.5, "windows_per_epoch": 80}}, {"epochs": 10})
    monkeypatch.setattr(estimating, "_scoring", lambda rate: 0.03)
    found = estimate(asked, files, DenoiseSettings(), CPU, 0.2)
    # Ten epochs of 80 windows, and a tenth of that is validated; a fifth of 700 s is judged, hours not to their end.
    trained, judged = 10 * (80 + 10 / 3) * 0.2, 0.2 * 700
    assert found.seconds == pytest.approx(trained + judged / 0.5 / 3 * 0.2 + judged * 0.03)
    longer = estimate(asked, files.assign(seconds=[100.0, 9000.0, 50.0, 70.0]), DenoiseSettings(), CPU, 0.2)
    assert longer.seconds == found.seconds


def test_scoring_is_timed_on_this_machine() -> None:
    assert 1e-4 < estimating._scoring(8000) < 5
    assert estimating._scoring(8000) == estimating._scoring(8000), "timed once"
