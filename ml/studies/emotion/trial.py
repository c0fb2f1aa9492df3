"""One emotion trial, computed: what is drawn, what is done to a batch, what is minimised."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch
from torch import nn

from ml.config import fingerprint
from ml.data.windows import Windows, class_weights, draw, shuffled
from ml.features.pictures import IMAGENET_MEAN, IMAGENET_STD, PictureBatches, PictureStore, open_pictures
from ml.models.resnet import BACKBONE, build_resnet
from ml.models.saved import save_model
from ml.studies.classifier import ClassifierLesson, run_classifier
from ml.studies.emotion.config import EmotionSettings, EmotionTrial
from ml.studies.emotion.features import windows_of
from ml.studies.study import Outcome, TrialJob
from ml.training.augmentation import erase, mixup
from ml.training.engine import Recipe
from ml.training.losses import classification_losses

MONITOR = "macro_f1"
"""The validation metric that chooses the best epoch and the best trial: every emotion counts alike."""


def run_trial(job: TrialJob, classes: list[str]) -> Outcome:
    """One trial from its pictures to its tables and its model."""
    trial: EmotionTrial = job.trial.config  # type: ignore[assignment]
    settings: EmotionSettings = job.settings
    store = open_pictures(job.features)
    lesson = EmotionLesson(job, trial, classes, store, windows_of(store, job.split, classes))
    about = {
        "classes": classes,
        "trial": trial.model_dump(mode="json"),
        "features": settings.features.model_dump(mode="json"),
        "mean": IMAGENET_MEAN,
        "deviation": IMAGENET_STD,
    }
    return run_classifier(
        job,
        lesson,
        _recipe(job, trial, classes),
        # Without what is done to training batches: only so can training be held against validation.
        train_scores=lambda model, best: lesson.scores(model, "train"),
        save_model=lambda model, folder: save_model(model, folder, about),
    )


class EmotionLesson(ClassifierLesson):
    """ResNet18 on pictures: balanced by weights or by drawing, mixed, partly erased."""

    def __init__(
        self, job: TrialJob, trial: EmotionTrial, classes: list[str], store: PictureStore, windows: Windows
    ) -> None:
        training, balanced = trial.training, trial.data.weighted_sampler
        own = np.flatnonzero(windows.part == 0)
        per_class = class_weights(np.bincount(windows.label[own], minlength=len(classes)), 1.0)
        pictures = PictureBatches(store.pictures, job.machine.device)
        items = _without_a_lone_last(len(own), training.batch_size)
        steps = -(-items // training.batch_size)

        @cache
        def drawn(epoch: int) -> np.ndarray:
            if balanced:
                return own[draw(per_class[windows.label[own]], trial.seed, epoch, items)]
            return own[shuffled(len(own), trial.seed, epoch)[:items]]

        def said(epoch: int) -> dict[str, Any]:
            cycle = {
                "max": training.lr,
                "pct_start": training.onecycle_pct_start,
                "total_steps": training.epochs * steps,
                "first_step": (epoch - 1) * steps,
            }
            frozen = {"frozen": list(BACKBONE)} if epoch <= training.freeze_epochs else {}
            return {"batch": training.batch_size, "lr": {"onecycle": cycle}} | frozen

        super().__init__(
            build=lambda: build_resnet(trial.model, labels=classes, seed=trial.seed),
            batch=lambda indices: pictures.batch(windows.start[indices]),
            windows=windows,
            classes=classes,
            settings=said,
            draw=drawn,
            weight_decay=training.weight_decay,
            evaluation_batch=training.eval_batch_size,
            machine=job.machine,
        )
        self._trial = trial
        self._weights: torch.Tensor | None = None
        if trial.loss.use_class_weights:
            self._weights = torch.from_numpy(per_class.astype(np.float32)).to(job.machine.device)

    def loss(
        self, model: nn.Module, indices: np.ndarray, generator: torch.Generator
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor | float]]:
        """Sum of the losses of the pictures `indices`; right is what is named as either of the two that were mixed."""
        said = self._trial.augmentation
        labels = self._labels[torch.from_numpy(indices).to(self._labels.device)]
        batch = self._batch(indices)
        if said.random_erasing:
            batch = erase(batch, generator, said.random_erasing)
        if not said.mixup_alpha:
            logits = model(batch).logits.float()
            return self._losses(logits, labels).sum(), {"accuracy": _right(logits, labels).sum()}
        batch, partner, share = mixup(batch, generator, said.mixup_alpha)
        logits, others = model(batch).logits.float(), labels[partner]
        losses = share * self._losses(logits, labels) + (1 - share) * self._losses(logits, others)
        right = share * _right(logits, labels) + (1 - share) * _right(logits, others)
        return losses.sum(), {"accuracy": right.sum()}

    def _losses(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        said = self._trial.loss
        return classification_losses(
            logits,
            labels,
            kind=said.type,
            gamma=said.focal_gamma,
            label_smoothing=said.label_smoothing,
            weights=self._weights,
        )


def _right(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return (logits.detach().argmax(dim=1) == labels).float()


def _without_a_lone_last(items: int, batch: int) -> int:
    """So many of an epoch's items are trained: batch norm cannot do with a last batch of one."""
    return items - 1 if items > batch and items % batch == 1 else items


def _recipe(job: TrialJob, trial: EmotionTrial, classes: list[str]) -> Recipe:
    """The cycle's length is in every epoch's settings, so trials share epochs only where they plan as many."""
    before = fingerprint(
        job.origin,
        classes,
        trial.seed,
        trial.model.identity(),
        trial.training.weight_decay,
        trial.loss.model_dump(exclude=set() if trial.loss.type == "focal" else {"focal_gamma"}),
        trial.augmentation,
        trial.data.weighted_sampler,
    )
    return Recipe(
        origin=before,
        seed=trial.seed,
        epochs=trial.training.epochs,
        monitor=MONITOR,
        higher_is_better=True,
        patience=trial.training.patience,
    )
