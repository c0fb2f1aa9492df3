"""What only a GPU can show: memory that really runs out, and a restored state that goes on there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from ml.training.engine import EpochNote, train
from ml.training.machine import MachineConfig, resolve_machine
from ml.training.optimizers import adamw
from tests.ml.training.shelf import FolderShelf
from tests.ml.training.tiny import StopAfter, recipe

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")


class GpuLesson:
    """A small net over numbers on the GPU; every item computed takes `bytes_per_item` beside."""

    def __init__(self, bytes_per_item: int = 0) -> None:
        self.inputs = torch.randn(64, 32, generator=torch.Generator().manual_seed(1)).cuda()
        self.labels = (self.inputs.sum(dim=1) > 0).long()
        self.bytes_per_item = bytes_per_item

    def model(self) -> nn.Module:
        torch.manual_seed(2)
        return nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 2))

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        return adamw(model, weight_decay=0.01)

    def settings(self, epoch: int, history: Sequence[EpochNote]) -> dict[str, Any]:
        return {"batch": 16, "lr": 0.01}

    def order(self, epoch: int) -> np.ndarray:
        return np.random.Generator(np.random.Philox([epoch])).permutation(64)

    def draws(self, order: np.ndarray) -> dict[str, int]:
        return {}

    def loss(
        self, model: nn.Module, indices: np.ndarray, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor | float]]:
        rows = torch.from_numpy(indices).cuda()
        ballast = torch.empty(len(indices) * self.bytes_per_item, dtype=torch.uint8, device="cuda")
        noise = 0.01 * torch.randn(len(rows), 32, device="cuda", generator=generator)
        logits = model(self.inputs[rows] + noise).float()
        del ballast
        return functional.cross_entropy(logits, self.labels[rows], reduction="sum"), {}

    def validate(self, model: nn.Module) -> dict[str, float]:
        return {"loss": functional.cross_entropy(model(self.inputs).float(), self.labels).item()}


def test_memory_that_really_runs_out_is_survived_and_freed(tmp_path: Path) -> None:
    machine = resolve_machine(MachineConfig(device="cuda"))
    torch.cuda.empty_cache()
    free, _ = torch.cuda.mem_get_info()
    lesson = GpuLesson(bytes_per_item=free // 6)  # sixteen do not fit, nor eight; four do
    trained = train(lesson, recipe(2), FolderShelf(tmp_path), machine)

    assert (trained.status, trained.out_of_memory, trained.micro_batch) == ("finished", 2, 4)
    torch.cuda.empty_cache()
    assert torch.cuda.mem_get_info()[0] > 0.98 * free, "nothing of the failed tries is left"


def test_continued_on_the_gpu_it_goes_on_as_it_would_have(tmp_path: Path) -> None:
    machine = resolve_machine(MachineConfig(device="cuda"))
    whole = train(GpuLesson(), recipe(4), FolderShelf(tmp_path / "whole"), machine)
    shelf, stop = FolderShelf(tmp_path / "parts"), StopAfter(2)
    train(GpuLesson(), recipe(4), shelf, machine, report=stop.report, stop=stop)
    parts = train(GpuLesson(), recipe(4), shelf, machine)

    for ours, theirs in zip(parts.history, whole.history, strict=True):
        assert ours.key == theirs.key
        assert ours.validation["loss"] == pytest.approx(theirs.validation["loss"], rel=1e-3)
    assert whole.history[-1].validation["loss"] < whole.history[0].validation["loss"]


def test_divergence_is_found_within_the_epoch(tmp_path: Path) -> None:
    class Spoilt(GpuLesson):
        calls = 0

        def loss(self, model: nn.Module, indices: np.ndarray, generator: torch.Generator) -> Any:
            self.calls += 1
            total, said = super().loss(model, indices, generator)
            return (total * float("nan") if self.calls == 6 else total), said

    ended = train(Spoilt(), recipe(3), FolderShelf(tmp_path), resolve_machine(MachineConfig(device="cuda")))
    assert (ended.status, ended.diverged_epoch, ended.diverged_step) == ("diverged", 2, 2)
    assert len(ended.history) == 1 and ended.best_folder is not None
