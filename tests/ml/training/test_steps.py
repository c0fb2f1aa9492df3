"""Micro-batches, memory that runs out, and numbers that are none any more."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ml.training.engine import OutOfMemory, train
from ml.training.state import load_weights
from tests.ml.training.shelf import FolderShelf
from tests.ml.training.tiny import CPU, ITEMS, StopAfter, TinyLesson, digest_at, plain_loop, recipe, told


class PlainLesson(TinyLesson):
    """Without batch norm, dropout and noise, which all depend on what is computed at once."""

    def __init__(self, **more: Any) -> None:
        super().__init__(noise=0.0, **more)

    def model(self) -> nn.Module:
        torch.manual_seed(3)
        return nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 3))


class CrampedLesson(PlainLesson):
    """Memory for `room` items at once. A try with more computes half its way first, as a real one does."""

    def __init__(self, room: int, **more: Any) -> None:
        super().__init__(**more)
        self.room = room
        self.left_behind: list[weakref.ref[Tensor]] = []

    def loss(
        self, model: nn.Module, indices: np.ndarray, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor | float]]:
        if len(indices) > self.room:
            activations = model(self.inputs[torch.from_numpy(indices)])
            torch.rand(3)
            self.left_behind.append(weakref.ref(activations))
            raise torch.OutOfMemoryError(f"no room for {len(indices)} items")
        return super().loss(model, indices, generator)


def weights(folder: Path | None, lesson: TinyLesson) -> list[Tensor]:
    assert folder is not None
    model = lesson.model()
    load_weights(folder, model)
    return list(model.state_dict().values())


@pytest.mark.parametrize("micro", [1, 3, 4, 7])
def test_micro_batches_add_up_to_the_batch(tmp_path: Path, micro: int) -> None:
    lesson = PlainLesson(batch=8)
    whole = train(lesson, recipe(3), FolderShelf(tmp_path / "whole"), CPU)
    small = PlainLesson(batch=8)
    parts = train(small, recipe(3, micro_batch=micro), FolderShelf(tmp_path / "parts"), CPU)

    assert 1 <= max(small.sizes) <= micro and sum(small.sizes) == 3 * ITEMS
    assert parts.micro_batch == micro and parts.history[0].key == whole.history[0].key
    for ours, theirs in zip(weights(parts.best_folder, lesson), weights(whole.best_folder, lesson), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    assert parts.history[-1].train["loss"] == pytest.approx(whole.history[-1].train["loss"], rel=1e-4)


def test_out_of_memory_halves_and_keeps_the_effective_batch(tmp_path: Path) -> None:
    lesson = CrampedLesson(room=3, batch=8)
    trained = train(lesson, recipe(2), FolderShelf(tmp_path / "cramped"), CPU)
    roomy = PlainLesson(batch=8)
    meant = train(roomy, recipe(2, micro_batch=2), FolderShelf(tmp_path / "roomy"), CPU)

    assert lesson.sizes == roomy.sizes and max(lesson.sizes) == 2, "8 failed, 4 failed, 2 fits"
    assert [note.out_of_memory for note in trained.history] == [2, 0], "it is not tried again in the second epoch"
    assert (trained.status, trained.micro_batch, trained.out_of_memory) == ("finished", 2, 2)
    assert trained.history[-1].validation == meant.history[-1].validation
    assert digest_at(trained.best_folder, roomy) == digest_at(meant.best_folder, roomy)


def test_out_of_memory_leaves_nothing_behind(tmp_path: Path) -> None:
    lesson = CrampedLesson(room=2, batch=16)
    alive_at_retry: list[int] = []
    loss = lesson.loss

    def watched(model: nn.Module, indices: np.ndarray, generator: torch.Generator) -> Any:
        if len(indices) <= lesson.room:
            alive_at_retry.append(sum(left() is not None for left in lesson.left_behind))
        return loss(model, indices, generator)

    lesson.loss = watched  # type: ignore[method-assign]
    gc.disable()
    try:
        train(lesson, recipe(1), FolderShelf(tmp_path), CPU)
    finally:
        gc.enable()
    assert len(lesson.left_behind) == 3
    assert set(alive_at_retry) == {0}, "the failed tries' tensors are free before the next try"


def test_resumed_after_out_of_memory_equals_one_that_ran_on(tmp_path: Path) -> None:
    class Cramped(CrampedLesson):
        def model(self) -> nn.Module:
            return TinyLesson.model(self)  # with dropout and batch norm: what is drawn and what is together matters

    whole = train(Cramped(room=4), recipe(3), FolderShelf(tmp_path / "whole"), CPU)
    shelf, stop = FolderShelf(tmp_path / "parts"), StopAfter(1)
    train(Cramped(room=4), recipe(3), shelf, CPU, report=stop.report, stop=stop)
    parts = train(Cramped(room=4), recipe(3), shelf, CPU)

    assert told(parts.history) == told(whole.history)
    assert parts.out_of_memory == 1 and parts.micro_batch == 4


def test_not_even_one_item_fits(tmp_path: Path) -> None:
    with pytest.raises(OutOfMemory, match="a processor with a single item at a time; free it from other programs"):
        train(CrampedLesson(room=0), recipe(1), FolderShelf(tmp_path), CPU)


def test_no_room_for_the_optimizer_is_said_as_such(tmp_path: Path) -> None:
    class Heavy(TinyLesson):
        def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
            class Full(torch.optim.SGD):
                def step(self, closure: Any = None) -> None:  # type: ignore[override]
                    raise torch.OutOfMemoryError("no room for moments")

            return Full(model.parameters(), lr=0.1)

    with pytest.raises(OutOfMemory, match="the size of the batch plays no part"):
        train(Heavy(), recipe(1), FolderShelf(tmp_path), CPU)


def test_other_errors_are_not_taken_for_lack_of_memory(tmp_path: Path) -> None:
    class Broken(TinyLesson):
        def loss(self, model: nn.Module, indices: np.ndarray, generator: torch.Generator) -> Any:
            raise RuntimeError("shapes do not fit")

    lesson = Broken()
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        train(lesson, recipe(1), FolderShelf(tmp_path), CPU)


class SpoiltLesson(TinyLesson):
    """In one step of one epoch the loss, or only its gradient, is no number."""

    def __init__(self, epoch: int, step: int, what: str) -> None:
        super().__init__()
        self.epoch, self.step, self.what = epoch, step, what

    def loss(
        self, model: nn.Module, indices: np.ndarray, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor | float]]:
        if self.trained[-1] != getattr(self, "_now", None):
            self._now, self._steps = self.trained[-1], 0
        self._steps += 1
        total, counts = super().loss(model, indices, generator)
        if (self._now, self._steps) == (self.epoch, self.step):
            if self.what == "loss":
                total = total * float("nan")
            else:
                total.register_hook(lambda gradient: gradient * float("inf"))
        return total, counts


@pytest.mark.parametrize("what", ["loss", "gradient"])
@pytest.mark.parametrize(("epoch", "step"), [(1, 1), (3, 2), (3, 6)])
def test_divergence_ends_with_epoch_and_step_and_the_last_finite_state(
    tmp_path: Path, what: str, epoch: int, step: int
) -> None:
    digests, _ = plain_loop(TinyLesson(), 2)
    lesson, shelf = SpoiltLesson(epoch, step, what), FolderShelf(tmp_path)
    ended = train(lesson, recipe(4), shelf, CPU)

    assert (ended.status, ended.diverged_epoch, ended.diverged_step) == ("diverged", epoch, step)
    assert f"epoch {epoch}: the {what}" in ended.problem and f"in step {step}" in ended.problem
    assert lesson._steps == step, "no step is taken after it"
    assert len(ended.history) == epoch - 1
    if epoch > 1:
        assert digest_at(shelf.find(ended.history[-1].key), lesson) == digests[-1]
    else:
        assert ended.best is None and ended.best_folder is None


def test_a_validation_that_is_no_number_is_divergence(tmp_path: Path) -> None:
    ended = train(TinyLesson(scripted=[1.0, float("nan"), 1.0]), recipe(3, monitor="score"), FolderShelf(tmp_path), CPU)
    assert (ended.status, ended.diverged_epoch, ended.diverged_step) == ("diverged", 2, None)
    assert "validation's score is nan" in ended.problem
    assert ended.best is not None and ended.best.epoch == 1 and ended.best_folder is not None
