"""What every classifier of windows shares: its lesson, its evaluation, and the walk from the one to the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.nn import functional

from ml.data.windows import Windows
from ml.metrics.classification import confusion_counts, evaluation_tables, overall_scores
from ml.studies.study import Outcome, TrialJob
from ml.training.engine import EpochNote, OutOfMemory, Recipe, train
from ml.training.machine import Machine
from ml.training.optimizers import adamw
from ml.training.schedules import rate_at_end
from ml.training.state import load_weights
from ml.training.steps import free_memory, ran_out_of_memory

PARTS = ("train", "validation", "test")
EVALUATED = ("validation", "test")


class ClassifierLesson:
    """A classifier of windows, as the engine asks for it."""

    def __init__(
        self,
        *,
        build: Callable[[], nn.Module],
        batch: Callable[[np.ndarray], torch.Tensor],
        windows: Windows,
        classes: Sequence[str],
        settings: Callable[[int], dict[str, Any]],
        draw: Callable[[int], np.ndarray],
        weight_decay: float,
        evaluation_batch: int,
        machine: Machine,
    ) -> None:
        """`batch` turns window numbers into the model's input; `draw` gives an epoch's windows."""
        self._build, self._batch, self._settings, self._draw = build, batch, settings, draw
        self.windows, self.classes = windows, list(classes)
        self._weight_decay, self._evaluation_batch, self._machine = weight_decay, evaluation_batch, machine
        self._labels = torch.from_numpy(windows.label.astype(np.int64)).to(machine.device)

    def model(self) -> nn.Module:
        return self._build()

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        return adamw(model, weight_decay=self._weight_decay)

    def settings(self, epoch: int, history: Sequence[EpochNote]) -> dict[str, Any]:
        return self._settings(epoch)

    def order(self, epoch: int) -> np.ndarray:
        return self._draw(epoch)

    def draws(self, order: np.ndarray) -> dict[str, int]:
        counts = np.bincount(self.windows.label[order], minlength=len(self.classes))
        return {name: int(count) for name, count in zip(self.classes, counts, strict=True)}

    def loss(
        self, model: nn.Module, indices: np.ndarray, generator: torch.Generator
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor | float]]:
        """Sum of the cross-entropies of the windows `indices`, and how many were right."""
        labels = self._labels[torch.from_numpy(indices).to(self._labels.device)]
        logits = model(self._batch(indices)).logits.float()
        right = (logits.detach().argmax(dim=1) == labels).sum()
        return functional.cross_entropy(logits, labels, reduction="sum"), {"accuracy": right}

    def validate(self, model: nn.Module) -> dict[str, float]:
        return self.scores(model, "validation")

    def scores(self, model: nn.Module, part: str) -> dict[str, float]:
        """Accuracy, macro recall, macro F1 and cross-entropy over the windows of `part`, as they are."""
        own = np.flatnonzero(self.windows.part == PARTS.index(part))
        if not len(own):
            return {}
        probabilities = self.predict(model, own)
        labels = self.windows.label[own]
        counts = confusion_counts(labels, probabilities.argmax(axis=1), len(self.classes))
        chosen = np.maximum(probabilities[np.arange(len(labels)), labels], 1e-12)
        return {**overall_scores(counts), "loss": float(-np.log(chosen).mean())}

    def predict(self, model: nn.Module, indices: np.ndarray) -> np.ndarray:
        """Class probabilities of shape `(windows, classes)`, float64, for the windows `indices`.

        Where memory runs out, half as many windows are computed at once from then on, down to a single one.
        """
        was_training = model.training
        model.eval()
        found: list[torch.Tensor] = []
        start = 0
        try:
            while start < len(indices):
                part = indices[start : start + self._evaluation_batch]
                chances = self._try_to_predict(model, part)
                if chances is None:
                    self._evaluate_fewer(len(part))
                else:
                    found.append(chances)
                    start += len(part)
        finally:
            model.train(was_training)
        return torch.cat(found).numpy().astype(np.float64) if found else np.empty((0, len(self.classes)))

    def _try_to_predict(self, model: nn.Module, indices: np.ndarray) -> torch.Tensor | None:
        """Class probabilities `(windows, classes)`, on the processor; None: out of memory."""
        try:
            with torch.inference_mode(), self._machine.autocast():
                return self._probabilities(model(self._batch(indices)).logits.float()).cpu()
        except RuntimeError as problem:
            if not ran_out_of_memory(problem):
                raise
        # Only out of the except block are the failed try's tensors free: the exception holds its frames.
        return None

    def _probabilities(self, logits: torch.Tensor) -> torch.Tensor:
        return logits.softmax(dim=1)

    def _evaluate_fewer(self, failed: int) -> None:
        """Half as many windows at once as the `failed`; a trial is not lost for want of memory in its evaluation."""
        free_memory(self._machine)
        if failed <= 1:
            raise OutOfMemory(
                f"memory ran out on {self._machine.name} in the evaluation of a single window; free it from other "
                f"programs, or choose a smaller model or shorter windows"
            )
        self._evaluation_batch = failed // 2

    def evaluate(self, model: nn.Module) -> dict[str, pd.DataFrame]:
        """The tables of validation and test; test is opened here and nowhere else."""
        tables: dict[str, list[pd.DataFrame]] = {}
        recordings = self.windows.recordings
        for part in EVALUATED:
            own = np.flatnonzero(self.windows.part == PARTS.index(part))
            if not len(own):
                continue
            found = evaluation_tables(
                part=part,
                classes=self.classes,
                probabilities=self.predict(model, own),
                labels=self.windows.label[own],
                recording=self.windows.recording[own],
                paths=recordings["path"].tolist(),
                groups=recordings["group"].tolist(),
                start_seconds=self.windows.start_seconds[own],
            )
            for name, frame in found.items():
                tables.setdefault(name, []).append(frame)
        return {name: pd.concat(frames, ignore_index=True) for name, frames in tables.items()}


def run_classifier(
    job: TrialJob,
    lesson: ClassifierLesson,
    recipe: Recipe,
    *,
    train_scores: Callable[[nn.Module, EpochNote], dict[str, float]],
    save_model: Callable[[nn.Module, Path], None],
    further: Callable[[nn.Module, EpochNote], dict[str, pd.DataFrame]] = lambda model, best: {},
) -> Outcome:
    """Train what is not trained yet, choose the epoch on validation, open test once.

    `train_scores` says of the chosen model what the table of metrics has of the training part; `further` gives rows of
    it and other tables that say of the model more than its windows do.
    """
    trained = train(
        lesson,
        recipe,
        job.states,
        job.machine,
        found=job.found,
        report=job.report,
        progress=job.progress,
        stop=job.stop,
    )
    tables = {"epochs": epochs_table(trained.history)}
    selection = f"validation_{recipe.monitor}"
    best = trained.best
    if trained.status != "finished" or best is None or trained.best_folder is None:
        return Outcome(trained, tables, selection, None, recipe.higher_is_better, None)
    model = lesson.model()
    load_weights(trained.best_folder, model)
    model.to(device=job.machine.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    tables |= lesson.evaluate(model)
    of_training = _train_metrics(train_scores(model, best))
    tables["metrics"] = pd.concat([of_training, tables["metrics"]], ignore_index=True)
    tables["draws"] = draws_table(trained.history)
    for name, rows in further(model, best).items():
        tables[name] = pd.concat([tables[name], rows], ignore_index=True) if name in tables else rows

    def save(folder: Path) -> dict[str, Any]:
        save_model(model, folder)
        return {"classes": lesson.classes, "selection": best.validation}

    return Outcome(
        trained=trained,
        tables=tables,
        selection_metric=selection,
        selection_value=best.validation[recipe.monitor],
        higher_is_better=recipe.higher_is_better,
        save_model=save,
    )


def epochs_table(history: Sequence[EpochNote]) -> pd.DataFrame:
    """One row per epoch, part and metric."""
    rows = [
        (note.epoch, part, metric, float(value), note.seconds, note.key)
        for note in history
        for part, metrics in (("train", note.train | _rate(note)), ("validation", note.validation))
        for metric, value in metrics.items()
    ]
    return pd.DataFrame(rows, columns=["epoch", "part", "metric", "value", "seconds", "key"])


def _rate(note: EpochNote) -> dict[str, float]:
    """The learning rate of the epoch's last step, where its settings say one."""
    return {"lr": rate_at_end(note.settings["lr"], note.items, note.settings["batch"])} if "lr" in note.settings else {}


def _train_metrics(scores: dict[str, float]) -> pd.DataFrame:
    rows = [("train", "window", metric, None, value, np.nan, np.nan) for metric, value in scores.items()]
    return pd.DataFrame(rows, columns=["part", "level", "metric", "class", "value", "low", "high"])


def draws_table(history: Sequence[EpochNote]) -> pd.DataFrame:
    """How many windows of each class each epoch trained on."""
    rows = [(note.epoch, name, count) for note in history for name, count in note.draws.items()]
    return pd.DataFrame(rows, columns=["epoch", "class", "count"])
