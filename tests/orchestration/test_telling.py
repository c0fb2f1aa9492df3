"""What is said while a trial is trained: each epoch, and how long the rest takes at the pace of the last ones."""

from __future__ import annotations

from ml.training.accounts import EpochNote
from orchestration.telling import Telling


def note(epoch: int, seconds: float) -> EpochNote:
    return EpochNote(epoch, f"key{epoch}", {}, {"loss": 1.0}, {"loss": 0.5}, seconds, items=8, micro_batch=8)


def test_the_time_that_is_left_follows_the_pace_of_the_last_epochs() -> None:
    said: list[str] = []
    telling = Telling("slow", 100, ["loss"], said.append)
    for epoch in range(1, 51):
        telling.report(note(epoch, 1.0))
    assert "left" not in said[-1], "less than a minute is not worth a word"
    for epoch in range(51, 61):
        telling.report(note(epoch, 9.0))
    assert said[-1].endswith("; about 6 min left"), "40 epochs of 9 s, though the first fifty took one"


def test_epochs_that_are_known_are_counted_and_those_trained_again_are_said_to_be() -> None:
    said: list[str] = []
    telling = Telling("again", 3, ["loss"], said.append)
    telling.found([note(1, 1.0), note(2, 1.0)])
    telling.report(note(2, 1.0))
    telling.report(note(3, 1.0))
    assert telling.done == 3
    assert [line.split(": ")[1].split(",")[0] for line in said[:2]] == [
        "goes on after epoch 2 of 3",
        "epoch 2 again",
    ]
    assert said[2].startswith("again: epoch 3 of 3 in 1.0 s; train loss 1, validation loss 0.5")
