"""OneCycle: torch's own schedule to the last bit, and a walk along states that it does not disturb."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ml.training.engine import EpochNote, Machine, train
from ml.training.keys import epoch_seed
from ml.training.optimizers import adamw
from ml.training.schedules import onecycle, pace, rate_at_end, set_pace
from tests.ml.training.shelf import FolderShelf
from tests.ml.training.tiny import CPU, CPU_BF16, ITEMS, StopAfter, TinyLesson, digest, digest_at, recipe, told

BATCH = 8
STEPS = -(-ITEMS // BATCH)
"""Of one epoch."""

OPTIMIZERS: dict[str, Callable[[list[Tensor]], torch.optim.Optimizer]] = {
    "adamw": lambda owned: torch.optim.AdamW(owned, lr=1e-3, betas=(0.7, 0.99)),
    "sgd": lambda owned: torch.optim.SGD(owned, lr=1e-3, momentum=0.5),
}


def cycle(epochs: int, epoch: int, max_rate: float = 0.03, pct_start: float = 0.3) -> dict[str, Any]:
    return {
        "onecycle": {
            "max": max_rate,
            "pct_start": pct_start,
            "total_steps": epochs * STEPS,
            "first_step": (epoch - 1) * STEPS,
        }
    }


def cycling(epochs: int) -> Callable[[int, Sequence[EpochNote]], Any]:
    return lambda epoch, history: cycle(epochs, epoch)


class CyclingLesson(TinyLesson):
    """Writes down the pace of every step that was taken."""

    def __init__(self, epochs: int) -> None:
        super().__init__(batch=BATCH, lr=cycling(epochs))
        self.paces: list[tuple[float, float]] = []

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        made = adamw(model, weight_decay=0.01)
        made.register_step_pre_hook(
            lambda own, *_: self.paces.append((own.param_groups[0]["lr"], own.param_groups[0]["betas"][0]))
        )
        return made


@pytest.mark.parametrize("kind", OPTIMIZERS)
@pytest.mark.parametrize(
    ("total", "pct_start"),
    [(1, 0.3), (2, 0.3), (3, 0.3), (7, 0.3), (100, 0.3), (1230, 0.3), (10, 0.25), (40, 0.05), (9, 0.0), (9, 1.0)],
)
def test_every_step_has_the_rate_and_the_momentum_of_torch(kind: str, total: int, pct_start: float) -> None:
    one, other = (OPTIMIZERS[kind]([torch.ones(1, requires_grad=True)]) for _ in range(2))
    theirs = torch.optim.lr_scheduler.OneCycleLR(other, 3e-4, total_steps=total, pct_start=pct_start)
    said = {"onecycle": {"max": 3e-4, "pct_start": pct_start, "total_steps": total, "first_step": 0}}
    for step in range(total):
        set_pace(one.param_groups, said, step)
        for name in ("lr", "betas" if kind == "adamw" else "momentum"):
            assert one.param_groups[0][name] == other.param_groups[0][name], f"{name} of step {step}"
        if step + 1 < total:
            other.step()
            theirs.step()


def test_the_shape_of_the_cycle() -> None:
    paces = [onecycle(step, max=1.0, pct_start=0.3, total_steps=1000) for step in range(1000)]
    rates = [at.rate for at in paces]
    assert max(rates) == rates[299] == 1.0 and [rates[0], rates[-1]] == pytest.approx([1 / 25, 1 / 25e4])
    assert rates[:300] == sorted(rates[:300]) and rates[299:] == sorted(rates[299:], reverse=True)
    assert [paces[step].beta1 for step in (0, 299, 999)] == pytest.approx([0.95, 0.85, 0.95])


def test_a_rise_of_a_single_step_begins_at_the_top() -> None:
    """Here torch divides zero by zero."""
    assert onecycle(0, max=0.5, pct_start=0.1, total_steps=10).rate == 0.5
    assert onecycle(0, max=0.5, pct_start=1.0, total_steps=1).rate == 0.5
    assert onecycle(9, max=0.5, pct_start=0.1, total_steps=10).rate == pytest.approx(0.5 / 25e4)


def test_a_number_holds_for_all_steps_and_leaves_the_momentum() -> None:
    optimizer = OPTIMIZERS["adamw"]([torch.ones(1, requires_grad=True)])
    set_pace(optimizer.param_groups, 0.125, 17)
    assert (optimizer.param_groups[0]["lr"], optimizer.param_groups[0]["betas"]) == (0.125, (0.7, 0.99))


def test_the_rate_at_the_end_of_an_epoch() -> None:
    assert rate_at_end(0.25, items=43, batch=8) == 0.25
    assert rate_at_end(cycle(3, 2), items=ITEMS, batch=BATCH) == pace(cycle(3, 1), 2 * STEPS - 1).rate
    assert rate_at_end(cycle(3, 3), items=ITEMS, batch=BATCH) == pytest.approx(0.03 / 25e4)


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ({"onecycle": {"max": 1.0, "pct_start": 0.3, "total_steps": 5, "first_step": 3}}, "step 6 .* over 5 steps"),
        ({"onecycle": {"max": 1.0, "pct_start": 30, "total_steps": 5, "first_step": 0}}, "pct_start is 30"),
        ({"cosine": {}}, "the schedule is cosine; onecycle is the one"),
        ({}, "the schedule is empty"),
    ],
)
def test_mistakes_are_named(said: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        pace(said, 2)


def plain_cycle(lesson: TinyLesson, epochs: int, machine: Machine) -> list[str]:
    """What a person would write by hand, with torch's own scheduler; digests of the weights after each epoch."""
    torch.set_num_threads(1)
    model = lesson.model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.01, fused=True)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.03, total_steps=epochs * STEPS, pct_start=0.3)
    digests = []
    for epoch in range(1, epochs + 1):
        torch.manual_seed(epoch_seed(11, epoch))
        generator = torch.Generator().manual_seed(epoch_seed(11, epoch))
        order = lesson.order(epoch)
        for start in range(0, len(order), BATCH):
            part = order[start : start + BATCH]
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=machine.precision == "bf16"):
                total, _ = lesson.loss(model, part, generator)
            optimizer.zero_grad()
            (total / len(part)).backward()
            optimizer.step()
            scheduler.step()
        digests.append(digest(model))
    return digests


@pytest.mark.parametrize("machine", [CPU, CPU_BF16], ids=["fp32", "bf16"])
def test_the_engine_equals_the_plain_loop_with_torchs_scheduler(tmp_path: Path, machine: Machine) -> None:
    expected = plain_cycle(TinyLesson(batch=BATCH), 3, machine)
    lesson, shelf = CyclingLesson(3), FolderShelf(tmp_path)
    trained = train(lesson, recipe(3, keep=lambda epoch, history: True), shelf, machine)

    assert [digest_at(shelf.find(note.key), lesson) for note in trained.history] == expected
    assert len(lesson.paces) == len(set(lesson.paces)) == 3 * STEPS
    assert trained.history[1].settings["lr"] == cycle(3, 2), "what was said, as it was said"


@pytest.mark.parametrize("border", [1, 2, 3])
def test_stopped_in_the_middle_of_the_cycle_and_continued_nothing_differs(tmp_path: Path, border: int) -> None:
    whole_shelf = FolderShelf(tmp_path / "whole")
    whole = train(CyclingLesson(4), recipe(4), whole_shelf, CPU)
    shelf, stop = FolderShelf(tmp_path / "parts"), StopAfter(border)
    train(CyclingLesson(4), recipe(4), shelf, CPU, report=stop.report, stop=stop)
    lesson = CyclingLesson(4)
    ended = train(lesson, recipe(4), shelf, CPU)

    assert lesson.trained == list(range(border + 1, 5)) and len(lesson.paces) == (4 - border) * STEPS
    assert told(ended.history) == told(whole.history)
    ours, theirs = (made.find(whole.history[-1].key) for made in (shelf, whole_shelf))
    assert ours is not None and theirs is not None
    for name in ("weights.safetensors", "optimizer.safetensors", "state.json"):
        assert (ours / name).read_bytes() == (theirs / name).read_bytes(), name


def test_another_length_of_the_cycle_is_another_trial(tmp_path: Path) -> None:
    shelf, same, longer = FolderShelf(tmp_path), CyclingLesson(3), CyclingLesson(4)
    train(CyclingLesson(3), recipe(3), shelf, CPU)
    train(same, recipe(3), shelf, CPU)
    train(longer, recipe(4), shelf, CPU)
    assert (same.trained, longer.trained) == ([], [1, 2, 3, 4])


def test_a_step_that_is_tried_again_counts_once(tmp_path: Path) -> None:
    class Cramped(CyclingLesson):
        def loss(
            self, model: nn.Module, indices: np.ndarray, generator: torch.Generator
        ) -> tuple[Tensor, dict[str, Tensor | float]]:
            if len(indices) > 4:
                raise torch.OutOfMemoryError("no room")
            return super().loss(model, indices, generator)

    lesson, roomy = Cramped(2), CyclingLesson(2)
    trained = train(lesson, recipe(2), FolderShelf(tmp_path / "cramped"), CPU)
    train(roomy, recipe(2), FolderShelf(tmp_path / "roomy"), CPU)
    assert trained.out_of_memory == 1 and lesson.paces == roomy.paces
