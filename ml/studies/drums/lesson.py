"""What a drums trial learns: moments of a song or single hits, shifted, stretched, tuned, and how they are judged."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional

from ml.data.components import COMPONENTS
from ml.data.windows import Windows, draw, shuffled
from ml.features.hits import HitPictures
from ml.features.waveforms import WaveformStore
from ml.metrics.classification import confusion_counts, evaluation_tables, overall_scores
from ml.models.drumcnn import FIRST_BLOCKS, build_drumcnn
from ml.studies.classifier import EVALUATED, PARTS, ClassifierLesson
from ml.studies.drums.config import AugmentationConfig, DrumsTrial
from ml.studies.drums.material import TOGETHER_MS, Hits
from ml.studies.drums.moments import balanced, moments, nothing_hit
from ml.training.engine import EpochNote
from ml.training.machine import Machine
from ml.training.optimizers import adam, adamw
from ml.training.plateau import plateau_rate

ALONE = "_alone"
"""Ends the names of metrics over hits whose window holds no other component's."""
OF_ALONE = ("accuracy", "macro_f1", "recall", "f1")
LEAST = 1e-7
"""Of a probability whose logarithm is taken."""
JUDGED_OF_TRAINING = 20_000
"""Hits of the training part that the chosen model is held against, at most; evenly taken."""


class DrumsLesson(ClassifierLesson):
    """DrumCNN on pictures that are made as they are needed."""

    def __init__(self, trial: DrumsTrial, store: WaveformStore, hits: Hits, machine: Machine) -> None:
        training, rate = trial.training, store.config.sample_rate
        binary = training.loss == "binary"
        self._trial, self.hits = trial, hits
        own = np.flatnonzero((hits.part == 0) & (training.overlapping | ~hits.companions.any(axis=1)))
        if not len(own):
            raise ValueError("no hit of the training part stands alone; set training.overlapping to true")
        if binary:
            self._items, self._targets = moments(hits, own, TOGETHER_MS * rate // 1000)
        else:
            self._items, self._targets = own, np.eye(len(COMPONENTS), dtype=bool)[hits.label[own]]
        nothing = (
            nothing_hit(hits, np.flatnonzero(hits.part == 0), rate) if binary else np.zeros((3, 0), dtype=np.int64)
        )
        self._places = np.concatenate([[hits.start, hits.first, hits.last], nothing], axis=1)
        empty = round(training.background * len(self._items)) if nothing.size else 0
        count = _without_a_lone_last(len(self._items) + empty, training.batch_size)
        weights = balanced(self._targets, training.balance)

        @cache
        def drawn(epoch: int) -> np.ndarray:
            items = self._items
            if training.balance:
                items = items[draw(weights, trial.seed, epoch, len(items))]
            if empty:
                alike = np.ones(nothing.shape[1])
                items = np.concatenate([items, len(hits) + draw(alike, trial.seed, epoch, empty)])
            return items[shuffled(len(items), trial.seed, epoch)[:count]]

        self._changed = Changes(trial.augmentation, rate, machine.device)
        self._pictures = HitPictures(
            trial.picture, rate, machine.device, fastest=self._changed.fastest, shift=self._changed.most
        )
        self._clips = self._pictures.clips(store.samples)
        super().__init__(
            build=lambda: build_drumcnn(trial.model, seed=trial.seed),
            batch=lambda indices: self._pictures.pictures(self._sound(indices)),
            windows=windows_of(hits, rate),
            classes=COMPONENTS,
            settings=lambda epoch: {},
            draw=drawn,
            weight_decay=training.weight_decay,
            evaluation_batch=training.evaluation_batch,
            machine=machine,
        )
        wanted = np.zeros((len(hits) + 1, len(COMPONENTS)), dtype=np.float32)  # in the last row nothing is hit
        wanted[self._items] = self._targets
        self._wanted = torch.from_numpy(wanted).to(machine.device)

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        said = self._trial.training
        return adamw(model, weight_decay=said.weight_decay) if said.weight_decay else adam(model)

    def settings(self, epoch: int, history: Sequence[EpochNote]) -> dict[str, Any]:
        """The rate follows from the losses so far, and what rests from the epoch: trials share all before it."""
        said = self._trial.training
        rate = plateau_rate(
            [note.validation["loss"] for note in history],
            lr=said.lr,
            patience=said.scheduler_patience,
            factor=said.scheduler_factor,
            min_lr=said.min_lr,
        )
        last_whole = last_before_rest(self._trial)
        if last_whole is None or epoch <= last_whole:
            return {"batch": said.batch_size, "lr": rate}
        return {"batch": said.batch_size, "lr": min(rate, said.frozen_lr), "frozen": list(FIRST_BLOCKS)}

    def draws(self, order: np.ndarray) -> dict[str, int]:
        """Of a moment every component counts that sounds in it."""
        order = order[order < len(self.hits)]
        of_item = np.zeros(len(self.hits), dtype=np.int64)
        of_item[self._items] = np.arange(len(self._items))
        counts = self._targets[of_item[order]].sum(axis=0)
        return {name: int(count) for name, count in zip(COMPONENTS, counts, strict=True)}

    def loss(
        self, model: nn.Module, indices: np.ndarray, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor | float]]:
        """Sum of the losses of the items `indices`; right is what names a component that sounds, or none of none."""
        clips, told = self._changed.drawn(self._sound(indices), generator)
        logits = model(self._pictures.pictures(clips, **told)).logits.float()
        known = np.minimum(indices, len(self.hits))
        wanted = self._wanted[torch.from_numpy(known).to(self._wanted.device)]
        named = wanted.gather(1, logits.detach().argmax(dim=1, keepdim=True))[:, 0] > 0
        right = (named | ~(wanted.any(dim=1) | (logits.detach() > 0).any(dim=1))).sum()
        if self._trial.training.loss == "binary":
            return functional.binary_cross_entropy_with_logits(logits, wanted, reduction="sum"), {"accuracy": right}
        return functional.cross_entropy(logits, wanted, reduction="sum"), {"accuracy": right}

    def scores(self, model: nn.Module, part: str) -> dict[str, float]:
        """Accuracy, macro recall, macro F1 and what is minimised, over the hits of `part` as they are."""
        own = np.flatnonzero(self.hits.part == PARTS.index(part))
        if part == "train":
            own = own[:: -(-len(own) // JUDGED_OF_TRAINING) or 1]
        if not len(own):
            return {}
        chances = self.chances(model, own)
        labels = self.hits.label[own]
        counts = confusion_counts(labels, self._alone(chances, own).argmax(axis=1), len(COMPONENTS))
        return {**overall_scores(counts), "loss": self._mean_loss(chances, own)}

    def chances(self, model: nn.Module, indices: np.ndarray) -> np.ndarray:
        """What the network says of the hits `indices`, `(hits, components)`: binary, each component by itself."""
        return super().predict(model, indices)

    def predict(self, model: nn.Module, indices: np.ndarray) -> np.ndarray:
        """What each hit is, `(hits, components)`: components that are known to be hit beside it are not asked for."""
        return self._alone(self.chances(model, indices), indices)

    def evaluate(self, model: nn.Module) -> dict[str, pd.DataFrame]:
        """The tables of validation and test, over all hits and over those that stand alone; test is opened here."""
        found = [self._tables(model, part) for part in EVALUATED if (self.hits.part == PARTS.index(part)).any()]
        return {
            name: pd.concat([tables[name] for tables in found], ignore_index=True)
            for name in ("metrics", "confusion", "predictions")
        }

    def _tables(self, model: nn.Module, part: str) -> dict[str, pd.DataFrame]:
        own = np.flatnonzero(self.hits.part == PARTS.index(part))
        chances = self.predict(model, own)
        tables = self._of_hits(part, own, chances)
        alone = ~self.hits.companions[own].any(axis=1)
        metrics = [tables["metrics"]]
        if alone.any():
            more = self._of_hits(part, own[alone], chances[alone])["metrics"]
            more = more[more["metric"].isin(OF_ALONE)]
            metrics.append(more.assign(metric=more["metric"] + ALONE))
        joined = pd.concat(metrics, ignore_index=True)
        # A hit is a recording of one window: what is said of both is one and the same. Predictions are compared as
        # those of recordings; metrics of recordings are those of whole songs.
        tables["metrics"] = joined[joined["level"] == "window"]
        predictions = tables["predictions"]
        tables["predictions"] = predictions[predictions["level"] == "window"].assign(level="recording", window=-1)
        return tables

    def _of_hits(self, part: str, own: np.ndarray, chances: np.ndarray) -> dict[str, pd.DataFrame]:
        recordings = self.windows.recordings
        return evaluation_tables(
            part=part,
            classes=COMPONENTS,
            probabilities=chances,
            labels=self.hits.label[own],
            recording=own,
            paths=recordings["path"].tolist(),
            groups=recordings["group"].tolist(),
            start_seconds=self.windows.start_seconds[own],
        )

    def _sound(self, indices: np.ndarray) -> Tensor:
        return self._clips.batch(*self._places[:, indices])

    def _probabilities(self, logits: Tensor) -> Tensor:
        return logits.sigmoid() if self._trial.training.loss == "binary" else logits.softmax(dim=1)

    def _alone(self, chances: np.ndarray, indices: np.ndarray) -> np.ndarray:
        left = np.where(self.hits.companions[indices], 0.0, np.maximum(chances, LEAST))
        return left / left.sum(axis=1, keepdims=True)

    def _mean_loss(self, chances: np.ndarray, indices: np.ndarray) -> float:
        if self._trial.training.loss == "cross_entropy":
            own = chances[np.arange(len(indices)), self.hits.label[indices]]
            return float(-np.log(np.maximum(own, LEAST)).mean())
        said = np.where(self.hits.together[indices], chances, 1 - chances)
        return float(-np.log(np.maximum(said, LEAST)).sum(axis=1).mean())


class Changes:
    """What is done to a batch of training hits, drawn on the device from a generator alone."""

    def __init__(self, said: AugmentationConfig, rate: int, device: str) -> None:
        self._said, self._device = said, device
        self._often = said.probability
        self.most = round(said.shift_ms * rate / 1000)
        """Samples by which a hit is shifted, at most."""
        self.fastest = said.stretch[1] if said.probability else 1.0

    def drawn(self, clips: Tensor, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """`clips`, with noise, and what `HitPictures.pictures` is told beside them."""
        count, told = len(clips), {}

        def even(rows: int) -> Tensor:
            return torch.rand((rows, count), generator=generator, device=self._device)

        if self.most:
            told["shift"] = ((2 * even(1)[0] - 1) * self.most).round()
        if not self._often:
            return clips, told
        chosen, much = even(3) < self._often, even(2)
        slowest, fastest = self._said.stretch
        if (slowest, fastest) != (1.0, 1.0):
            told["stretch"] = torch.where(chosen[0], slowest + (fastest - slowest) * much[0], 1.0)
        if self._said.semitones:
            told["semitones"] = torch.where(chosen[1], (2 * much[1] - 1) * self._said.semitones, 0.0)
        if self._said.noise:
            noise = torch.randn(clips.shape, generator=generator, device=self._device)
            clips = clips + noise * (self._said.noise * chosen[2])[:, None]
        return clips, told


def last_before_rest(trial: DrumsTrial) -> int | None:
    """The last epoch in which everything is trained; None: they all are such."""
    share = trial.training.frozen_from
    return None if share is None else int(share * trial.training.epochs)


def windows_of(hits: Hits, rate: int) -> Windows:
    """Every hit as a window and a recording of its own."""
    names = np.asarray(hits.groups, dtype=object)
    return Windows(
        start=hits.start,
        valid=np.zeros(len(hits), dtype=np.int32),
        label=hits.label,
        recording=np.arange(len(hits)),
        part=hits.part,
        start_seconds=((hits.start - hits.first) / rate).astype(np.float32),
        recordings=pd.DataFrame(
            {
                "path": hits.paths,
                "group": names[hits.song],
                "label": np.asarray(COMPONENTS, dtype=object)[hits.label],
                "part": np.asarray(PARTS, dtype=object)[hits.part],
            }
        ),
        frames=1,
    )


def _without_a_lone_last(items: int, batch: int) -> int:
    """So many of an epoch's items are trained: batch norm cannot do with a last batch of one."""
    return items - 1 if items > batch and items % batch == 1 else items
