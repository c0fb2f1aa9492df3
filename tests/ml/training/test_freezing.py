"""Frozen parameters: they rest wholly, wake up as they were, and half an optimizer's state is saved and found again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from ml.training.engine import EpochNote, train
from ml.training.freezing import at_rest
from ml.training.keys import epoch_seed
from ml.training.state import OPTIMIZER
from tests.ml.training.shelf import FolderShelf
from tests.ml.training.tiny import CPU, StopAfter, TinyLesson, digest, digest_at, recipe, told

HEAD = ("4.weight", "4.bias")
BACKBONE = ["0.", "1."]
"""The first layer and its batch norm; layer 4 is the head."""


class FreezingLesson(TinyLesson):
    """Trains only the head in the epochs that `frozen` says."""

    def __init__(self, frozen: Sequence[int]) -> None:
        super().__init__()
        self.frozen = frozen

    def settings(self, epoch: int, history: Sequence[EpochNote]) -> dict[str, Any]:
        return super().settings(epoch, history) | ({"frozen": BACKBONE} if epoch in self.frozen else {})


def weights(folder: Path | None) -> dict[str, Tensor]:
    assert folder is not None
    return load_file(folder / "weights.safetensors")


def by_hand(lesson: TinyLesson, epochs: int, frozen: Sequence[int]) -> list[str]:
    """What a person would write; digests of the weights after each epoch."""
    torch.set_num_threads(1)
    model = lesson.model()
    first, norm = model[0], model[1]  # type: ignore[index]
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.01, fused=True)
    digests = []
    for epoch in range(1, epochs + 1):
        torch.manual_seed(epoch_seed(11, epoch))
        generator = torch.Generator().manual_seed(epoch_seed(11, epoch))
        model.train()
        for parameter in (*first.parameters(), *norm.parameters()):
            parameter.requires_grad = epoch not in frozen
        if epoch in frozen:
            norm.eval()
        order = lesson.order(epoch)
        for start in range(0, len(order), lesson.batch):
            part = order[start : start + lesson.batch]
            optimizer.zero_grad()
            total, _ = lesson.loss(model, part, generator)
            (total / len(part)).backward()
            optimizer.step()
        digests.append(digest(model))
    return digests


@pytest.mark.parametrize("frozen", [(1,), (1, 2), (2, 3), (1, 3), ()], ids=str)
def test_equals_what_a_person_would_write(tmp_path: Path, frozen: tuple[int, ...]) -> None:
    expected = by_hand(TinyLesson(), 4, frozen)
    lesson, shelf = FreezingLesson(frozen), FolderShelf(tmp_path)
    trained = train(lesson, recipe(4, keep=lambda epoch, history: True), shelf, CPU)
    assert [digest_at(shelf.find(note.key), lesson) for note in trained.history] == expected


def test_what_is_frozen_rests_wholly_and_wakes_up(tmp_path: Path) -> None:
    lesson, shelf = FreezingLesson((2, 3)), FolderShelf(tmp_path)
    trained = train(lesson, recipe(4, keep=lambda epoch, history: True), shelf, CPU)
    one, two, three, four = (weights(shelf.find(note.key)) for note in trained.history)

    resting = [name for name in one if name.startswith(tuple(BACKBONE))]
    assert len(resting) == 7, "two of the layer, two of its batch norm, and the batch norm's three statistics"
    for name in resting:
        # Epoch 1 gave them a momentum: neither it nor the weight decay may move them.
        assert torch.equal(one[name], two[name]) and torch.equal(two[name], three[name]), name
        assert not torch.equal(three[name], four[name]), name
    assert all(
        not torch.equal(before[name], after[name]) for name in HEAD for before, after in ((one, two), (two, three))
    )


@pytest.mark.parametrize("border", [1, 2, 3])
def test_half_an_optimizers_state_is_saved_and_found_again(tmp_path: Path, border: int) -> None:
    whole_shelf = FolderShelf(tmp_path / "whole")
    whole = train(FreezingLesson((1, 2)), recipe(4), whole_shelf, CPU)
    shelf, stop = FolderShelf(tmp_path / "parts"), StopAfter(border)
    paused = train(FreezingLesson((1, 2)), recipe(4), shelf, CPU, report=stop.report, stop=stop)
    state = shelf.find(paused.history[-1].key)
    assert state is not None
    moved = {name.partition(".")[0] for name in load_file(state / OPTIMIZER)}
    assert moved == ({"4", "5"} if border <= 2 else {"0", "1", "2", "3", "4", "5"}), "by the parameters' numbers"

    lesson = FreezingLesson((1, 2))
    ended = train(lesson, recipe(4), shelf, CPU)
    assert told(ended.history) == told(whole.history)
    ours, theirs = (made.find(whole.history[-1].key) for made in (shelf, whole_shelf))
    assert ours is not None and theirs is not None
    for name in ("weights.safetensors", OPTIMIZER, "state.json"):
        assert (ours / name).read_bytes() == (theirs / name).read_bytes(), name


def test_only_what_was_awake_rests_and_all_wakes_up_again() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Dropout(), nn.Linear(3, 1), nn.BatchNorm1d(1))
    model[0].bias.requires_grad_(False)
    model.train()
    with pytest.raises(ArithmeticError), at_rest(model, ["0.", "1."]):
        assert [name for name, own in model.named_parameters() if own.requires_grad] == [
            "3.weight", "3.bias", "4.weight", "4.bias"
        ]  # fmt: skip
        assert [module.training for module in model] == [True, False, True, True, True]
        raise ArithmeticError("as when training diverges")
    assert [name for name, own in model.named_parameters() if not own.requires_grad] == ["0.bias"]
    assert all(module.training for module in model)


@pytest.mark.parametrize(
    ("frozen", "sentence"),
    [
        (["0.", "backbone."], "nothing can be frozen by 'backbone.': .* the first is 0.weight"),
        (["0.", "1"], "0., 1 freezes all parameters"),
    ],
)
def test_mistakes_are_named(frozen: list[str], sentence: str) -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    with pytest.raises(ValueError, match=sentence), at_rest(model, frozen):
        pass
    assert all(parameter.requires_grad for parameter in model.parameters())
