"""One denoise trial, computed: what is heard, what is minimised, and what the chosen network does to whole files."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from ml.config import fingerprint
from ml.features.waveforms import open_waveforms
from ml.inference.pieces import denoise_signal
from ml.metrics.denoising import score, summarised
from ml.models.saved import save_model
from ml.models.unet1d import UNet1D, build_unet1d
from ml.studies.classifier import epochs_table
from ml.studies.denoise.config import DenoiseSettings, DenoiseTrial
from ml.studies.denoise.mixing import Mixtures
from ml.studies.denoise.verdicts import verdict
from ml.studies.study import Outcome, Trial, TrialJob
from ml.training.branches import Ending, Fall, kept_for
from ml.training.engine import EpochNote, Recipe, Trained, train
from ml.training.machine import Machine
from ml.training.optimizers import adam, adamw
from ml.training.plateau import plateau_rate
from ml.training.state import load_weights
from ml.training.waveform_losses import waveform_losses

MONITOR = "loss"
"""The validation metric that chooses the best epoch and the best trial; less of it is better."""
EVALUATED = ("validation", "test")
SCORES = ["part", "recording", "path", "group", "metric", "value"]


class DenoiseLesson:
    """A U-Net on mixtures, as the engine asks for it."""

    def __init__(self, trial: DenoiseTrial, mixtures: Mixtures) -> None:
        self._trial, self._mixtures = trial, mixtures

    def model(self) -> UNet1D:
        return build_unet1d(self._trial.model, seed=self._trial.seed)

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        said = self._trial.training
        return adam(model, lr=said.lr) if said.optimizer == "adam" else adamw(model, weight_decay=said.weight_decay)

    def settings(self, epoch: int, history: Sequence[EpochNote]) -> dict[str, Any]:
        """The learning rate follows from the losses so far, so trials share epochs until it falls differently."""
        said = self._trial.training
        rate = plateau_rate(
            [note.validation[MONITOR] for note in history],
            lr=said.lr,
            patience=said.scheduler_patience,
            factor=said.scheduler_factor,
            min_lr=said.min_lr,
        )
        return {"batch": said.batch_size, "lr": rate}

    def order(self, epoch: int) -> np.ndarray:
        """Without a last batch of one, with which batch norm cannot do."""
        order = self._mixtures.order(epoch)
        batch = self._trial.training.batch_size
        return order[:-1] if len(order) > batch and len(order) % batch == 1 else order

    def draws(self, order: np.ndarray) -> dict[str, int]:
        return {}

    def loss(
        self, model: nn.Module, indices: np.ndarray, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor | float]]:
        """Sum of the losses of the mixtures `indices`."""
        noisy, clean = self._mixtures.batch(indices)
        return self._losses_of(model(noisy), clean).sum(), {}

    def validate(self, model: nn.Module) -> dict[str, float]:
        """The mean loss of the fixed mixtures of validation."""
        total = 0.0
        for first in range(0, self._mixtures.validation, self._trial.training.evaluation_batch):
            last = min(self._mixtures.validation, first + self._trial.training.evaluation_batch)
            noisy, clean = self._mixtures.fixed(np.arange(first, last))
            total += float(self._losses_of(model(noisy), clean).double().sum())
        return {MONITOR: total / self._mixtures.validation}

    def _losses_of(self, estimate: Tensor, clean: Tensor) -> Tensor:
        return waveform_losses(estimate.float(), clean, kind=self._trial.training.loss)


def run_trial(job: TrialJob) -> Outcome:
    """Train what is not trained yet, choose the epoch on validation, hear the whole files of validation and test."""
    trial: DenoiseTrial = job.trial.config  # type: ignore[assignment]
    settings: DenoiseSettings = job.settings
    mixtures = Mixtures(open_waveforms(job.features), job.split, trial.mix, seed=trial.seed, device=job.machine.device)
    lesson = DenoiseLesson(trial, mixtures)
    trained = train(
        lesson,
        recipe_of(job, trial),
        job.states,
        job.machine,
        found=job.found,
        report=job.report,
        progress=job.progress,
        stop=job.stop,
    )
    tables = {"epochs": epochs_table(trained.history)}
    best = trained.best
    if trained.status != "finished" or best is None or trained.best_folder is None:
        return Outcome(trained, tables, "validation_loss", None, False, None)
    model = lesson.model()
    load_weights(trained.best_folder, model)
    model.to(device=job.machine.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    model.eval()
    scores = _shared_scores(job, mixtures, model, best, settings.features.sample_rate)
    tables["scores"] = scores.drop(columns="group")
    tables["metrics"] = pd.concat([_losses(best), summarised(scores)], ignore_index=True)

    def save(folder: Path) -> dict[str, Any]:
        # Nothing of the one trial: all trials that end with these weights have this model.
        about = {
            "study": "denoise",
            "sample_rate": settings.features.sample_rate,
            "mix": trial.mix.model_dump(mode="json"),
        }
        save_model(model, folder, about)
        return {"selection": best.validation}

    return Outcome(
        trained=trained,
        tables=tables,
        selection_metric="validation_loss",
        selection_value=best.validation[MONITOR],
        higher_is_better=False,
        save_model=save,
        verdict=_verdict(trained, best, trial),
    )


def recipe_of(job: TrialJob, trial: DenoiseTrial) -> Recipe:
    """Patience, factor, epochs and early stop are no part of what leads to the first epoch."""
    training = trial.training
    optimizer = [training.optimizer] + ([training.weight_decay] if training.optimizer == "adamw" else [])
    before = fingerprint(job.origin, trial.seed, trial.model.identity(), trial.mix, training.loss, optimizer)
    return Recipe(
        origin=before,
        seed=trial.seed,
        epochs=training.epochs,
        monitor=MONITOR,
        higher_is_better=False,
        patience=training.early_stop,
        clip_norm=training.clip_norm,
        keep=kept_for(_endings(job.siblings or [job.trial], trial)),
    )


def _endings(siblings: Sequence[Trial], trial: DenoiseTrial) -> list[Ending]:
    """How those end that begin as `trial` does."""
    own = _beginning(trial)
    others: list[DenoiseTrial] = [one.config for one in siblings]  # type: ignore[misc]
    return [
        Ending(
            epochs=other.training.epochs,
            early_stop=other.training.early_stop,
            fall=Fall(
                lr=other.training.lr,
                patience=other.training.scheduler_patience,
                factor=other.training.scheduler_factor,
                min_lr=other.training.min_lr,
            ),
        )
        for other in others
        if _beginning(other) == own
    ]


def _beginning(trial: DenoiseTrial) -> list[Any]:
    """What decides the first epoch, beside the data."""
    said = trial.training
    decay = said.weight_decay if said.optimizer == "adamw" else 0.0
    return [trial.seed, trial.model, trial.mix, said.batch_size, said.lr, said.optimizer, decay, said.clip_norm]


def _shared_scores(job: TrialJob, mixtures: Mixtures, model: UNet1D, best: EpochNote, rate: int) -> pd.DataFrame:
    """The scores of whole files; trials that end with the same weights share them."""

    def write(folder: Path) -> dict[str, Any]:
        job.say(_hearing({part: mixtures.judged(part) for part in EVALUATED}))
        rows = _scores(mixtures, model, job.machine, rate)
        return {"rows": [list(row) for row in rows.itertuples(index=False, name=None)]}

    key = fingerprint("scores of whole files", best.key)
    job.evaluations.build(key, write)
    said = job.evaluations.note(key)
    assert said is not None
    return pd.DataFrame(said["rows"], columns=SCORES)


def _hearing(files: Mapping[str, int]) -> str:
    """What the person is told who waits meanwhile; `files` of each part."""
    count = sum(files.values())
    parts = " and ".join(part for part in files if files[part])
    return f"hearing {count} {'file' if count == 1 else 'files'} of {parts}"


def _scores(mixtures: Mixtures, model: UNet1D, machine: Machine, rate: int) -> pd.DataFrame:
    """One row per file and metric; test is opened here and nowhere else."""
    rows = []
    for part in EVALUATED:
        for file in mixtures.files(part):
            denoised = denoise_signal(model, file.noisy, machine)
            found = score(file.clean, file.noisy, denoised, rate) | {"snr_in": float(file.snr_db)}
            known = {name: float(value) for name, value in found.items() if math.isfinite(value)}
            rows += [(part, file.group, file.path, file.group, name, value) for name, value in known.items()]
    return pd.DataFrame(rows, columns=SCORES)


def _losses(best: EpochNote) -> pd.DataFrame:
    """What the chosen epoch minimised, beside the scores of whole files."""
    rows = [
        (part, "window", MONITOR, None, values[MONITOR], np.nan, np.nan)
        for part, values in (("train", best.train), ("validation", best.validation))
    ]
    return pd.DataFrame(rows, columns=["part", "level", "metric", "class", "value", "low", "high"])


def _verdict(trained: Trained, best: EpochNote, trial: DenoiseTrial) -> str:
    last = trained.history[-1]
    return verdict(
        best_loss=best.validation[MONITOR],
        gap=last.validation[MONITOR] - last.train[MONITOR],
        epochs_done=len(trained.history),
        stopped_early=trained.stopped_early,
        loss=trial.training.loss,
    )
