"""What is kept for the others of a family: enough that no epoch is trained twice, whatever the order."""

from __future__ import annotations

import itertools
import random
from pathlib import Path

from ml.training.branches import Ending, Fall, kept_for, needed
from ml.training.engine import EpochNote, Recipe, train
from ml.training.keys import next_key
from tests.ml.training.shelf import FolderShelf
from tests.ml.training.tiny import CPU, TinyLesson, digest_at, recipe, told


def ending(epochs: int = 100, early_stop: int | None = None, patience: int = 8, factor: float = 0.5) -> Ending:
    return Ending(epochs, early_stop, Fall(1e-4, patience, factor, 1e-7))


def alone(own: Ending, losses: list[float]) -> tuple[int, list[float]]:
    """Its last epoch, and its rates up to there, were `losses` its own."""
    end = own.end(losses) or len(losses)
    return end, list(own.fall.rates(losses)[:end])


def test_ends_by_its_epochs_or_for_want_of_a_strict_improvement() -> None:
    losses = [3.0, 2.0, 2.0, 2.0, 1.0]
    assert ending(epochs=4).end(losses) == 4
    assert ending(epochs=9, early_stop=2).end(losses) == 4, "2.0 again is no improvement"
    assert ending(epochs=9, early_stop=3).end(losses) is None
    assert ending(epochs=9, early_stop=2).end([]) is None


def test_a_fork_is_where_the_next_rates_differ_and_keeps_its_best() -> None:
    losses = [1.0, 0.5, 0.7, 0.7, 0.7, 0.7, 0.7]
    family = [ending(patience=2), ending(patience=2, factor=0.3), ending(patience=4)]
    patient = list(family[2].fall.rates(losses)[:-1])
    assert needed(family, losses, patient) == {2, 5}, "after epoch 5 some fall; 7 is none: the others are elsewhere"
    assert needed(family, losses[:4], patient[:4]) == frozenset()
    fallen = list(family[0].fall.rates(losses)[:-1])
    assert needed(family, losses[:6], fallen[:6]) == {2, 5}, "the same, seen from the other branch"


def test_one_that_has_ended_forks_from_nothing() -> None:
    losses = [1.0, 0.5, 0.7, 0.7, 0.7, 0.7]
    family = [ending(patience=2, epochs=5), ending(patience=9)]
    assert needed(family, losses, [1e-4] * 6) == {2}, "its best is kept, the state after epoch 5 is not"
    assert needed([ending(patience=2, early_stop=3), ending(patience=9)], losses, [1e-4] * 6) == {2}


def test_the_best_at_the_end_of_a_shorter_one_is_kept() -> None:
    losses = [5.0, 4.0, 6.0, 3.0, 2.0]
    assert needed([ending(epochs=3), ending(epochs=9)], losses, [1e-4] * 5) == {2}
    assert needed([ending(epochs=3), ending(epochs=9)], losses[:2], [1e-4] * 2) == frozenset()


def test_nothing_is_kept_for_a_trial_that_is_alone() -> None:
    losses = [1.0 / epoch for epoch in range(1, 30)]
    assert needed([ending(epochs=30)], losses, [1e-4] * 29) == frozenset()


def test_every_state_that_any_sibling_starts_from_is_kept_on_random_curves() -> None:
    """Of any two siblings: the state where they part, and whatever was best at the end of either."""
    rng, seen = random.Random(5), 0
    family = [
        ending(epochs, stop, patience, factor)
        for epochs, stop, patience, factor in itertools.product((20, 30, 40), (8, 12), (2, 4, 7), (0.5, 0.3))
    ]
    for _ in range(15):
        level, losses = 1.0, []
        for _ in range(40):
            level *= rng.uniform(0.93, 1.01)
            losses.append(level * rng.uniform(0.95, 1.15))
        for walker in rng.sample(family, 6):
            end, rates = alone(walker, losses)
            kept = needed(family, losses[:end], rates)
            for other in family:
                own_end, own_rates = alone(other, losses)
                common = next(
                    (place for place, (a, b) in enumerate(zip(rates, own_rates, strict=False)) if a != b),
                    min(end, own_end),
                )
                if common < min(end, own_end):
                    seen += 1
                    assert common in kept
                if own_end <= end and common == own_end:
                    assert min(range(1, own_end + 1), key=lambda epoch: losses[epoch - 1]) in kept
    assert seen > 100


class FallingLesson(TinyLesson):
    """The tiny net with a rate that falls."""

    def __init__(self, fall: Fall) -> None:
        super().__init__(
            dropout=0.0, noise=0.0, lr=lambda _, history: fall.rates([n.validation["loss"] for n in history])[-1]
        )


FAMILY = [
    Ending(epochs, stop, Fall(0.03, patience, factor, 1e-4))
    for epochs, stop, patience, factor in itertools.product((8, 14), (4, 6), (0, 2), (0.5, 0.2))
]


def of(own: Ending) -> Recipe:
    return recipe(own.epochs, patience=own.early_stop, keep=kept_for(FAMILY))


def test_in_any_order_every_epoch_of_a_family_is_trained_once_and_equals_training_alone(tmp_path: Path) -> None:
    expected = {}
    for number, own in enumerate(FAMILY):
        lesson, shelf = FallingLesson(own.fall), FolderShelf(tmp_path / f"alone{number}")
        trained = train(lesson, recipe(own.epochs, patience=own.early_stop), shelf, CPU)
        expected[own] = told(trained.history), digest_at(trained.best_folder, lesson)
    distinct = {note["key"] for history, _ in expected.values() for note in history}
    assert len(distinct) * 3 < sum(len(history) for history, _ in expected.values()), "they share most of it"

    orders = [FAMILY, FAMILY[::-1], random.Random(3).sample(FAMILY, len(FAMILY))]
    for number, order in enumerate(orders):
        shelf, epochs = FolderShelf(tmp_path / f"together{number}"), 0
        for own in order:
            lesson = FallingLesson(own.fall)
            trained = train(lesson, of(own), shelf, CPU)
            assert (told(trained.history), digest_at(trained.best_folder, lesson)) == expected[own]
            epochs += trained.epochs_trained
        assert epochs == len(distinct), f"order {number}: an epoch was trained twice"
        assert len(shelf.keys()) < len(distinct) / 2, "most states are gone"


def test_a_fork_survives_trials_that_pass_it(tmp_path: Path) -> None:
    own, other = Ending(14, None, Fall(0.03, 0, 0.2, 1e-4)), Ending(14, None, Fall(0.03, 2, 0.2, 1e-4))
    keep, shelf = kept_for([own, other]), FolderShelf(tmp_path)
    first = train(FallingLesson(own.fall), recipe(14, keep=keep), shelf, CPU)
    second = train(FallingLesson(other.fall), recipe(14, keep=keep), shelf, CPU)
    fork = sum(a.key == b.key for a, b in zip(first.history, second.history, strict=True))
    assert 0 < fork < 14 and shelf.find(first.history[fork - 1].key) is not None


def test_a_history_is_told_apart_by_its_last_key() -> None:
    def history(losses: list[float]) -> list[EpochNote]:
        notes, key = [], "start"
        for epoch, loss in enumerate(losses, start=1):
            key = next_key(key, {"lr": 1e-4, "loss": loss})
            notes.append(EpochNote(epoch, key, {"batch": 8, "lr": 1e-4}, {}, {"loss": loss}, 0.0, 1, 8))
        return notes

    keep = kept_for([ending(epochs=2), ending(epochs=9)])
    assert keep(1, history([1.0, 2.0, 0.5])) and not keep(1, history([1.0, 0.9, 0.5]))
