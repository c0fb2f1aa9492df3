"""A tiny net that learns in milliseconds, and the plain loop that the engine must equal bit for bit."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ml.training.engine import EpochNote, Machine, Recipe
from ml.training.keys import epoch_seed
from ml.training.optimizers import adamw
from ml.training.state import load_weights

CPU = Machine(device="cpu", precision="fp32", threads=1, name="a processor", bf16=False)
CPU_BF16 = Machine(device="cpu", precision="bf16", threads=1, name="a processor", bf16=True)
ITEMS, HELD_OUT, INPUTS, CLASSES = 43, 16, 8, 3


class TinyLesson:
    """Points around three centres, told apart by a small net with dropout; noise is added as augmentation."""

    def __init__(
        self,
        *,
        dropout: float = 0.3,
        noise: float = 0.1,
        batch: int = 8,
        lr: Callable[[int, Sequence[EpochNote]], float] = lambda epoch, history: 0.01,
        scripted: Sequence[float] | None = None,
    ) -> None:
        """`scripted`: what validation says as "score" after each epoch, instead of the truth."""
        rng = np.random.default_rng(7)
        labels = rng.integers(0, CLASSES, ITEMS + HELD_OUT)
        points = rng.normal(size=(CLASSES, INPUTS))[labels] + rng.normal(size=(ITEMS + HELD_OUT, INPUTS))
        self.inputs, self.labels = torch.tensor(points, dtype=torch.float32), torch.tensor(labels)
        self.dropout, self.noise, self.batch, self.lr, self.scripted = dropout, noise, batch, lr, scripted
        self.trained: list[int] = []
        """Epochs, in the order in which they were trained."""
        self.sizes: list[int] = []
        """Of the micro-batches."""

    def model(self) -> nn.Module:
        torch.manual_seed(3)
        return nn.Sequential(
            nn.Linear(INPUTS, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(self.dropout), nn.Linear(16, CLASSES)
        )

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        return adamw(model, weight_decay=0.01)

    def settings(self, epoch: int, history: Sequence[EpochNote]) -> dict[str, Any]:
        return {"batch": self.batch, "lr": self.lr(epoch, history)}

    def order(self, epoch: int) -> np.ndarray:
        self.trained.append(epoch)
        return np.random.Generator(np.random.Philox([epoch, 5])).permutation(ITEMS)

    def draws(self, order: np.ndarray) -> dict[str, int]:
        return {str(label): int((self.labels[order] == label).sum()) for label in range(CLASSES)}

    def loss(
        self, model: nn.Module, indices: np.ndarray, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor | float]]:
        self.sizes.append(len(indices))
        rows = torch.from_numpy(indices)
        inputs = self.inputs[rows] + self.noise * torch.randn(len(rows), INPUTS, generator=generator)
        logits = model(inputs).float()
        right = (logits.argmax(dim=1) == self.labels[rows]).sum()
        return functional.cross_entropy(logits, self.labels[rows], reduction="sum"), {"accuracy": right}

    def validate(self, model: nn.Module) -> dict[str, float]:
        assert not model.training
        logits = model(self.inputs[ITEMS:]).float()
        loss = functional.cross_entropy(logits, self.labels[ITEMS:]).item()
        score = self.scripted[self.trained[-1] - 1] if self.scripted else -loss
        return {"loss": loss, "score": score}


def recipe(epochs: int, **more: Any) -> Recipe:
    said: dict[str, Any] = {"origin": "tiny", "seed": 11, "monitor": "loss", "higher_is_better": False}
    return Recipe(**{**said, "epochs": epochs, **more})


def plain_loop(
    lesson: TinyLesson, epochs: int, machine: Machine = CPU, clip_norm: float | None = None, seed: int = 11
) -> tuple[list[str], list[float]]:
    """What a person would write by hand; digests of the weights and validation losses after each epoch."""
    torch.set_num_threads(1)
    model = lesson.model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.01, fused=True)
    digests, losses = [], []
    for epoch in range(1, epochs + 1):
        torch.manual_seed(epoch_seed(seed, epoch))
        generator = torch.Generator().manual_seed(epoch_seed(seed, epoch))
        order = lesson.order(epoch)
        model.train()
        for start in range(0, len(order), lesson.batch):
            part = order[start : start + lesson.batch]
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=machine.precision == "bf16"):
                total, _ = lesson.loss(model, part, generator)
            optimizer.zero_grad()
            (total / len(part)).backward()
            if clip_norm is not None:
                torch.nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
            optimizer.step()
        model.eval()
        with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=machine.precision == "bf16"):
            losses.append(lesson.validate(model)["loss"])
        digests.append(digest(model))
    return digests, losses


def digest(model: nn.Module) -> str:
    """Of every bit of the weights."""
    found = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        found.update(name.encode() + tensor.detach().contiguous().numpy().tobytes())
    return found.hexdigest()


def digest_at(folder: Path | None, lesson: TinyLesson) -> str:
    """Of the weights in a state's folder."""
    assert folder is not None
    model = lesson.model()
    load_weights(folder, model)
    return digest(model)


def told(history: Sequence[EpochNote]) -> list[dict[str, Any]]:
    """All that the notes say but the time it took."""
    return [{name: value for name, value in note.as_json().items() if name != "seconds"} for note in history]


class StopAfter:
    """Says stop once `epochs` epochs were reported."""

    def __init__(self, epochs: int) -> None:
        self.left = epochs

    def report(self, note: EpochNote) -> None:
        self.left -= 1

    def __call__(self) -> bool:
        return self.left <= 0
