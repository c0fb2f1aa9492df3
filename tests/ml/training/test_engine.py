"""The walk along epoch states: exact, resumed, extended, shared, stopped early."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from ml.training.engine import EpochNote, Machine, train
from tests.ml.training.shelf import FolderShelf
from tests.ml.training.tiny import (
    CPU,
    CPU_BF16,
    ITEMS,
    StopAfter,
    TinyLesson,
    digest_at,
    plain_loop,
    recipe,
    told,
)


@pytest.mark.parametrize("machine", [CPU, CPU_BF16], ids=["fp32", "bf16"])
@pytest.mark.parametrize("clip_norm", [None, 0.5])
def test_equals_the_plain_loop_bit_for_bit(tmp_path: Path, machine: Machine, clip_norm: float | None) -> None:
    digests, losses = plain_loop(TinyLesson(), 3, machine, clip_norm)
    lesson, shelf = TinyLesson(), FolderShelf(tmp_path)

    trained = train(lesson, recipe(3, clip_norm=clip_norm), shelf, machine)

    assert [note.validation["loss"] for note in trained.history] == losses
    assert digest_at(shelf.find(trained.history[-1].key), lesson) == digests[-1]
    assert len(set(digests)) == 3, "each epoch must move the weights"


def test_tells_what_an_epoch_was(tmp_path: Path) -> None:
    lesson = TinyLesson()
    seen: list[EpochNote] = []
    trained = train(lesson, recipe(2), FolderShelf(tmp_path), CPU, report=seen.append)

    first = trained.history[0]
    assert seen == list(trained.history)
    assert (first.epoch, first.items, first.micro_batch, first.out_of_memory) == (1, ITEMS, 8, 0)
    assert sum(first.draws.values()) == ITEMS
    assert first.settings == {"batch": 8, "lr": 0.01}
    assert set(first.train) == {"loss", "accuracy"} and 0 < first.train["accuracy"] <= 1
    assert first.train["loss"] == pytest.approx(math.log(3), abs=0.5), "a mean per item, near chance at first"
    assert trained.seconds_standalone == sum(note.seconds for note in trained.history) > 0
    assert (trained.status, trained.epochs_trained, trained.stopped_early) == ("finished", 2, False)


@pytest.mark.parametrize("border", [0, 1, 2, 3])
def test_stopped_at_a_border_and_continued_nothing_differs(tmp_path: Path, border: int) -> None:
    whole = train(TinyLesson(), recipe(4), FolderShelf(tmp_path / "whole"), CPU)
    shelf, stop = FolderShelf(tmp_path / "parts"), StopAfter(border)

    paused = train(TinyLesson(), recipe(4), shelf, CPU, report=stop.report, stop=stop)
    assert (paused.status, len(paused.history), paused.epochs_trained) == ("paused", border, border)
    torch.rand(17)  # whatever another program part drew meanwhile must not matter
    lesson = TinyLesson()
    found: list[int] = []
    ended = train(lesson, recipe(4), shelf, CPU, found=lambda notes: found.extend(note.epoch for note in notes))

    assert found == list(range(1, border + 1)), "told before training which epochs are there"
    assert lesson.trained == list(range(border + 1, 5))
    assert told(ended.history) == told(whole.history)
    assert digest_at(ended.best_folder, lesson) == digest_at(whole.best_folder, lesson)
    last = ended.history[-1].key
    assert digest_at(shelf.find(last), lesson) == digest_at(FolderShelf(tmp_path / "whole").find(last), lesson)


def test_finished_is_found_without_training(tmp_path: Path) -> None:
    shelf = FolderShelf(tmp_path)
    first = train(TinyLesson(), recipe(3), shelf, CPU)
    lesson = TinyLesson()
    again = train(lesson, recipe(3), shelf, CPU, stop=lambda: True)

    assert lesson.trained == []
    assert (again.status, again.epochs_trained) == ("finished", 0)
    assert again.history == first.history and again.best_folder == first.best_folder


def test_extension_from_three_to_five_trains_two(tmp_path: Path) -> None:
    shelf = FolderShelf(tmp_path / "extended")
    train(TinyLesson(), recipe(3), shelf, CPU)
    lesson = TinyLesson()
    longer = train(lesson, recipe(5), shelf, CPU)
    whole = train(TinyLesson(), recipe(5), FolderShelf(tmp_path / "whole"), CPU)

    assert lesson.trained == [4, 5] and longer.epochs_trained == 2
    assert told(longer.history) == told(whole.history)
    assert longer.seconds_standalone > longer.history[3].seconds + longer.history[4].seconds


def test_trials_share_what_they_have_in_common(tmp_path: Path) -> None:
    shelf = FolderShelf(tmp_path)

    def keeps_second(epoch: int, history: Sequence[EpochNote]) -> bool:
        return epoch == 2

    def halved_from_third(epoch: int, history: Sequence[EpochNote]) -> float:
        return 0.01 if epoch < 3 else 0.005

    lessons = TinyLesson(), TinyLesson(), TinyLesson(lr=halved_from_third)
    first = train(lessons[0], recipe(4, keep=keeps_second), shelf, CPU)
    twin = train(lessons[1], recipe(4, patience=9), shelf, CPU)
    branch = train(lessons[2], recipe(4, keep=keeps_second), shelf, CPU)
    alone = train(TinyLesson(lr=halved_from_third), recipe(4), FolderShelf(tmp_path / "alone"), CPU)

    assert [lesson.trained for lesson in lessons] == [[1, 2, 3, 4], [], [3, 4]]
    assert twin.history == first.history
    assert branch.history[:2] == first.history[:2] and branch.history[2].key != first.history[2].key
    assert told(branch.history) == told(alone.history), "shared or alone, the numbers are the same"
    assert branch.epochs_trained == 2
    assert branch.seconds_standalone > branch.history[2].seconds + branch.history[3].seconds


@pytest.mark.parametrize(
    "other",
    [recipe(2, seed=12), recipe(2, clip_norm=1.0), recipe(2, origin="other data")],
    ids=["seed", "clip_norm", "origin"],
)
def test_nothing_is_shared_where_numbers_differ(tmp_path: Path, other: object) -> None:
    shelf, lesson = FolderShelf(tmp_path), TinyLesson()
    train(TinyLesson(), recipe(2), shelf, CPU)
    train(lesson, other, shelf, CPU)  # type: ignore[arg-type]
    assert lesson.trained == [1, 2]


def test_precisions_do_not_share(tmp_path: Path) -> None:
    shelf, lesson = FolderShelf(tmp_path), TinyLesson()
    train(TinyLesson(), recipe(1), shelf, CPU)
    train(lesson, recipe(1), shelf, CPU_BF16)
    assert lesson.trained == [1]


def test_only_latest_best_and_kept_states_stay(tmp_path: Path) -> None:
    shelf = FolderShelf(tmp_path)
    trained = train(
        TinyLesson(scripted=[1, 5, 2, 3, 4]),
        recipe(5, monitor="score", higher_is_better=True, keep=lambda epoch, history: epoch == 3),
        shelf,
        CPU,
    )
    assert shelf.keys() == {trained.history[epoch - 1].key for epoch in (2, 3, 5)}
    assert all(shelf.note(note.key) is not None for note in trained.history)


def test_a_state_that_was_dropped_and_is_needed_is_made_again(tmp_path: Path) -> None:
    shelf, lesson = FolderShelf(tmp_path), TinyLesson(scripted=[1, 2, 9, 3, 4])
    said = recipe(5, monitor="score", higher_is_better=True, keep=lambda epoch, history: epoch == 1)
    first = train(lesson, said, shelf, CPU)
    best = digest_at(first.best_folder, lesson)
    assert first.best is not None and first.best.epoch == 3
    shelf.drop(first.best.key)

    again = TinyLesson(scripted=[1, 2, 9, 3, 4])
    second = train(again, said, shelf, CPU)

    assert again.trained == [2, 3], "from the nearest state that is there, no further than needed"
    assert second.history == first.history and second.epochs_trained == 2
    assert digest_at(second.best_folder, lesson) == best
    assert shelf.find(first.history[-1].key) is not None, "the latest stays for an extension"


def test_going_on_without_any_state_starts_from_fresh_weights(tmp_path: Path) -> None:
    shelf = FolderShelf(tmp_path / "emptied")
    first = train(TinyLesson(), recipe(2), shelf, CPU)
    for note in first.history:
        shelf.drop(note.key)
    lesson = TinyLesson()
    longer = train(lesson, recipe(3), shelf, CPU)
    whole = train(TinyLesson(), recipe(3), FolderShelf(tmp_path / "whole"), CPU)

    assert lesson.trained == [1, 2, 3]
    assert told(longer.history) == told(whole.history)


def test_early_stopping_counts_only_strict_improvements(tmp_path: Path) -> None:
    lesson = TinyLesson(scripted=[3.0, 2.0, 2.0, 2.0, 1.0, 1.0])
    stopped = train(lesson, recipe(6, monitor="score", patience=2), FolderShelf(tmp_path), CPU)

    assert lesson.trained == [1, 2, 3, 4], "2.0 again is no improvement, so the 1.0 is never seen"
    assert (stopped.status, stopped.stopped_early) == ("finished", True)
    assert stopped.best is not None and stopped.best.epoch == 2


@pytest.mark.parametrize(("higher", "expected"), [(True, 2), (False, 3)])
def test_best_weights_are_those_of_the_best_epoch(tmp_path: Path, higher: bool, expected: int) -> None:
    digests, _ = plain_loop(TinyLesson(), 4)
    lesson = TinyLesson(scripted=[2.0, 7.0, 1.0, 7.0])
    trained = train(lesson, recipe(4, monitor="score", higher_is_better=higher), FolderShelf(tmp_path), CPU)

    assert trained.best is not None and trained.best.epoch == expected
    assert digest_at(trained.best_folder, lesson) == digests[expected - 1]


def test_settings_may_follow_from_the_history(tmp_path: Path) -> None:
    def halved_when_worse(epoch: int, history: Sequence[EpochNote]) -> float:
        values = [note.validation["score"] for note in history]
        worse = sum(1 for before, after in pairwise(values) if after > before)
        return 0.01 * 0.5**worse

    shelf, stop = FolderShelf(tmp_path), StopAfter(3)
    scripted = [1.0, 2.0, 3.0, 0.5]
    train(
        TinyLesson(lr=halved_when_worse, scripted=scripted),
        recipe(4, monitor="score"),
        shelf,
        CPU,
        report=stop.report,
        stop=stop,
    )
    lesson = TinyLesson(lr=halved_when_worse, scripted=scripted)
    trained = train(lesson, recipe(4, monitor="score"), shelf, CPU)

    assert lesson.trained == [4]
    assert [note.settings["lr"] for note in trained.history] == [0.01, 0.01, 0.005, 0.0025]


def test_a_state_that_another_process_built_first_is_the_one_that_counts(tmp_path: Path) -> None:
    class Late(FolderShelf):
        """Sees nothing of the other's work until it wants to build, as two that train at once do."""

        def note(self, key: str) -> dict[str, object] | None:
            return super().note(key) if self.building else None

        building = False

        def build(self, key: str, write: object) -> Path:
            self.building = True
            return super().build(key, write)  # type: ignore[arg-type]

    other = train(TinyLesson(), recipe(2, keep=lambda epoch, history: True), FolderShelf(tmp_path), CPU)
    lesson, late = TinyLesson(), Late(tmp_path)
    trained = train(lesson, recipe(2), late, CPU)
    assert lesson.trained == [1], "the second was found"
    assert trained.history == other.history, "the account of the state that is there, its seconds too"


class Exploding(TinyLesson):
    """Its loss is no number any more in epoch 3."""

    def loss(self, model: Any, indices: Any, generator: Any) -> Any:
        total, sums = super().loss(model, indices, generator)
        return (total * float("nan") if self.trained[-1] == 3 else total), sums


def test_an_epoch_that_diverged_is_not_trained_again_by_those_who_share_it(tmp_path: Path) -> None:
    shelf, lessons = FolderShelf(tmp_path), (Exploding(), Exploding())
    first, second = (
        train(lesson, recipe(epochs, keep=lambda epoch, history: epoch == 2), shelf, CPU)
        for lesson, epochs in zip(lessons, (4, 9), strict=True)
    )
    assert [lesson.trained for lesson in lessons] == [[1, 2, 3], []]
    for trained in first, second:
        assert (trained.status, trained.diverged_epoch, trained.diverged_step) == ("diverged", 3, 1)
        assert trained.problem == "epoch 3: the loss is nan in step 1" and len(trained.history) == 2

    by_force = TinyLesson()
    anew = train(by_force, recipe(4, origin="tiny, asked for by a person"), shelf, CPU)
    assert by_force.trained == [1, 2, 3, 4] and anew.status == "finished"


def test_what_another_process_trained_meanwhile_is_taken_up_and_told(tmp_path: Path) -> None:
    """It comes between the moment when an epoch is found missing and the moment when it is claimed."""
    others = FolderShelf(tmp_path)

    class Overtaken(FolderShelf):
        def claim(self, key: str) -> Any:
            train(TinyLesson(), recipe(3), others, CPU)  # by then it has dropped 1, 2 and goes on
            return super().claim(key)

    lesson, found = TinyLesson(), list[int]()
    trained = train(lesson, recipe(4), Overtaken(tmp_path), CPU, found=lambda notes: found.append(len(notes)))
    assert lesson.trained == [4] and trained.epochs_trained == 1, "from the other's third epoch, whose state is there"
    assert found == [0, 3]
    whole = train(TinyLesson(), recipe(4), FolderShelf(tmp_path / "whole"), CPU)
    assert told(trained.history) == told(whole.history)


def test_a_state_dropped_while_it_is_loaded_is_looked_for_again(tmp_path: Path) -> None:
    train(TinyLesson(), recipe(2, keep=lambda epoch, history: True), FolderShelf(tmp_path), CPU)

    class Dropping(FolderShelf):
        """Another process goes on with the third epoch and drops the second at the worst moment."""

        gone = False

        def find(self, key: str) -> Path | None:
            found = super().find(key)
            if found is not None and not self.gone:
                self.gone = True
                train(TinyLesson(), recipe(3), FolderShelf(tmp_path), CPU)
                assert not found.exists()
            return found

    lesson = TinyLesson()
    trained = train(lesson, recipe(4), Dropping(tmp_path), CPU)
    assert lesson.trained == [4], "from the third"
    whole = train(TinyLesson(), recipe(4), FolderShelf(tmp_path / "whole"), CPU)
    assert told(trained.history) == told(whole.history)


def test_a_state_that_is_there_but_cannot_be_loaded_is_said(tmp_path: Path) -> None:
    shelf = FolderShelf(tmp_path)
    first = train(TinyLesson(), recipe(1), shelf, CPU)
    folder = shelf.find(first.history[-1].key)
    assert folder is not None
    (folder / "state.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"state\.json"):
        train(TinyLesson(), recipe(2), shelf, CPU)


def test_mistakes_of_a_lesson_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="batch 0; a whole number from 1 up"):
        train(TinyLesson(batch=0), recipe(1), FolderShelf(tmp_path), CPU)
    with pytest.raises(ValueError, match="'acuracy', but validation says only: loss, score"):
        train(TinyLesson(), recipe(1, monitor="acuracy"), FolderShelf(tmp_path), CPU)
