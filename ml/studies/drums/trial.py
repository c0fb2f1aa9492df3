"""One drums trial, computed: from the hits of its data to its tables and its model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from torch import nn

from ml.config import fingerprint
from ml.data.components import COMPONENTS
from ml.features.waveforms import WaveformStore, open_waveforms
from ml.inference.transcriber import Transcriber
from ml.models.drumcnn import DrumCNN
from ml.models.saved import save_model
from ml.studies.classifier import EVALUATED, PARTS, run_classifier
from ml.studies.drums.config import DrumsSettings, DrumsTrial
from ml.studies.drums.events import EVENT_F1
from ml.studies.drums.judging import SongScores, calibrate_on_hits, judge
from ml.studies.drums.lesson import DrumsLesson, last_before_rest
from ml.studies.drums.material import hits_of, songs_of
from ml.studies.drums.rules import judge_rules
from ml.studies.study import Outcome, Trial, TrialJob
from ml.training.engine import EpochNote, Recipe

MONITOR = "macro_f1"
"""The validation metric that chooses the best epoch: every component counts alike. It chooses the best trial too where
no song of validation has a map; else that trial is best which finds most hits of whole songs: a network that names one
component for each hit may be right about it and still miss what sounds beside it."""


def run_trial(job: TrialJob) -> Outcome:
    """Train what is not trained yet, choose the epoch on validation, judge hits and whole songs."""
    trial: DrumsTrial = job.trial.config  # type: ignore[assignment]
    settings: DrumsSettings = job.settings
    store = open_waveforms(job.features)
    lesson = DrumsLesson(trial, store, hits_of(store, job.split, trial.picture), job.machine)
    about: dict[str, Any] = {
        # Nothing of the one trial: all trials that end with these weights have this model.
        "study": "drums",
        "components": list(COMPONENTS),
        "picture": trial.picture.model_dump(mode="json"),
        "sample_rate": settings.features.sample_rate,
        "loss": trial.training.loss,
    }

    def in_songs(model: nn.Module, best: EpochNote) -> dict[str, pd.DataFrame]:
        found = _judged_by_songs(job, trial, store, lesson, model.eval(), best)
        about["thresholds"] = [round(float(value), 4) for value in found.thresholds]
        rules = judge_rules(job, store, lesson.hits, trial.picture)
        return {"scores": found.scores, "metrics": pd.concat([rules, found.metrics], ignore_index=True)}

    outcome = run_classifier(
        job,
        lesson,
        recipe_of(job, trial),
        # Without what is done to training hits: only so can training be held against validation.
        train_scores=lambda model, best: lesson.scores(model, "train"),
        save_model=lambda model, folder: save_model(model, folder, about),
        further=in_songs,
    )
    return _chosen_by_songs(outcome)


def _chosen_by_songs(outcome: Outcome) -> Outcome:
    """The trial is ranked by whole songs of validation where there are any."""
    metrics = outcome.tables.get("metrics")
    if metrics is None:
        return outcome
    own = metrics[(metrics["part"] == "validation") & (metrics["metric"] == EVENT_F1) & metrics["class"].isna()]
    if not len(own):
        return outcome
    value = float(own["value"].iloc[0])
    return replace(outcome, selection_metric=f"validation_{EVENT_F1}", selection_value=value)


def _judged_by_songs(
    job: TrialJob, trial: DrumsTrial, store: WaveformStore, lesson: DrumsLesson, model: nn.Module, best: EpochNote
) -> SongScores:
    """Whole songs, heard as they are in use; what no song of validation says is told by its single hits."""
    assert isinstance(model, DrumCNN)
    hits = np.flatnonzero(lesson.hits.part == PARTS.index("validation"))
    by_hits = calibrate_on_hits(lesson.chances(model, hits), lesson.hits.together[hits])
    transcriber = Transcriber(
        model, job.machine, picture=trial.picture, rate=store.config.sample_rate, loss=trial.training.loss
    )
    songs = {part: songs_of(store, job.split, part) for part in EVALUATED}
    return judge(job, best.key, transcriber, songs, by_hits)


def recipe_of(job: TrialJob, trial: DrumsTrial) -> Recipe:
    """When blocks rest, how long it trains and when the rate falls are no part of what leads to the first epoch."""
    return Recipe(
        origin=fingerprint(job.origin, *_beginning(trial)),
        seed=trial.seed,
        epochs=trial.training.epochs,
        monitor=MONITOR,
        higher_is_better=True,
        patience=trial.training.early_stop,
        keep=kept_for(_forks(job.siblings, trial)),
    )


def kept_for(forks: Sequence[int]) -> Callable[[int, Sequence[EpochNote]], bool]:
    """Kept are the states after the epochs `forks`, where another trial goes on, and the best one up to each."""

    def keep(epoch: int, history: Sequence[EpochNote]) -> bool:
        return any(epoch == fork or (fork <= len(history) and epoch == _best(history[:fork])) for fork in forks)

    return keep


def _best(history: Sequence[EpochNote]) -> int:
    return max(history, key=lambda note: (note.validation[MONITOR], -note.epoch)).epoch


def _forks(siblings: Sequence[Trial], trial: DrumsTrial) -> list[int]:
    """After which epochs those that begin as `trial` does go on otherwise."""
    own = _beginning(trial), _pace(trial)
    others: list[DrumsTrial] = [one.config for one in siblings]  # type: ignore[misc]
    ends = {last_before_rest(other) for other in [trial, *others] if (_beginning(other), _pace(other)) == own}
    return sorted(end for end in ends if end)


def _beginning(trial: DrumsTrial) -> list[Any]:
    """What decides the first epoch, beside the data and what every epoch says of itself."""
    said = trial.training
    background = said.background if said.loss == "binary" else 0.0
    learnt = [said.loss, said.overlapping, said.balance, background, said.weight_decay]
    return [trial.seed, trial.model.identity(), trial.picture, trial.augmentation, *learnt]


def _pace(trial: DrumsTrial) -> list[Any]:
    said = trial.training
    return [said.batch_size, said.lr, said.scheduler_patience, said.scheduler_factor, said.min_lr]
