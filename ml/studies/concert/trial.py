"""One concert trial, computed: the windows, the lesson, the training, the evaluation."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from ml.config import fingerprint
from ml.data.windows import Windows, class_weights, cut_windows, draw
from ml.features.batches import AUDIOSET_MEAN, AUDIOSET_STD, Gather
from ml.features.frames import open_frames
from ml.models.ast import build_ast, save_model
from ml.studies.classifier import ClassifierLesson, run_classifier
from ml.studies.concert.config import ConcertSettings, ConcertTrial
from ml.studies.study import Outcome, TrialJob
from ml.training.engine import Recipe


def run_trial(job: TrialJob, classes: list[str]) -> Outcome:
    """One trial from its windows to its tables and its model."""
    trial: ConcertTrial = job.trial.config  # type: ignore[assignment]
    settings: ConcertSettings = job.settings
    store = open_frames(job.features)
    windows = cut_windows(job.split, store.rows, trial.window, settings.features.frames_per_second, classes)
    about = {
        "classes": classes,
        "trial": trial.model_dump(mode="json"),
        "features": settings.features.model_dump(mode="json"),
        "frames": windows.frames,
        "mean": AUDIOSET_MEAN,
        "deviation": AUDIOSET_STD,
    }
    return run_classifier(
        job,
        ConcertLesson(job, trial, settings.features.mels, classes, store.frames, windows),
        _recipe(job, trial, classes),
        # Over windows as they were drawn: rare ones more often, if balanced.
        train_scores=lambda model, best: {"accuracy": best.train["accuracy"]},
        save_model=lambda model, folder: save_model(model, folder, about),
    )


class ConcertLesson(ClassifierLesson):
    """AST on windows drawn by balance strength."""

    def __init__(
        self,
        job: TrialJob,
        trial: ConcertTrial,
        mels: int,
        classes: list[str],
        frames: np.ndarray,
        windows: Windows,
    ) -> None:
        own = np.flatnonzero(windows.part == 0)
        counts = np.bincount(windows.label[own], minlength=len(classes))
        weights = class_weights(counts, trial.balance_strength)[windows.label[own]]
        gather = Gather(frames, windows.frames, job.machine.device)

        @cache
        def drawn(epoch: int) -> np.ndarray:
            return own[draw(weights, trial.seed, epoch, len(own))]

        training = trial.training

        def said(epoch: int) -> dict[str, Any]:
            return {
                "lr": training.learning_rate,
                "batch": training.batch,
                "balance_strength": trial.balance_strength,
            }

        super().__init__(
            build=lambda: build_ast(trial.model, frames=windows.frames, mels=mels, labels=classes, seed=trial.seed),
            batch=lambda indices: gather.batch(windows.start[indices], windows.valid[indices]),
            windows=windows,
            classes=classes,
            settings=said,
            draw=drawn,
            weight_decay=training.weight_decay,
            evaluation_batch=2 * training.batch,
            machine=job.machine,
        )


def _recipe(job: TrialJob, trial: ConcertTrial, classes: list[str]) -> Recipe:
    """What comes before the first epoch is the origin; what an epoch says for itself is in its own settings."""
    before = fingerprint(
        job.origin,
        classes,
        trial.seed,
        trial.window,
        trial.model.identity(),
        trial.training.weight_decay,
    )
    return Recipe(
        origin=before,
        seed=trial.seed,
        epochs=trial.training.epochs,
        monitor=trial.select_by,
        higher_is_better=True,
        patience=trial.training.patience,
        clip_norm=trial.training.clip_norm,
    )
