"""Which epoch states the other trials of a family may need: where they branch off, and what is best where they end.

Trials that begin alike differ only in when their rate falls and when they stop. As long as no rate has fallen
differently they walk one path of states, so a state is worth keeping only

- at a fork: after the epoch from which on the rates of two of them differ;
- where it is the best of all epochs up to a fork, for on one of the branches it may stay the best;
- where it is the best of all epochs up to the end of one of them.

All of it follows from the losses and rates so far, the same for every trial that passes: the order of trials decides
nothing, and no trial knows of a tree. The latest state and the best so far are kept by the engine itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ml.training.accounts import EpochNote
from ml.training.plateau import plateau_rates

Keep = Callable[[int, Sequence[EpochNote]], bool]


@dataclass(frozen=True)
class Fall:
    """When the learning rate falls, and how far (see `ml.training.plateau`)."""

    lr: float
    patience: int
    factor: float
    min_lr: float = 0.0

    def rates(self, losses: Sequence[float]) -> tuple[float, ...]:
        """The rates of the epochs with `losses` and of the next one."""
        return plateau_rates(losses, lr=self.lr, patience=self.patience, factor=self.factor, min_lr=self.min_lr)


@dataclass(frozen=True)
class Ending:
    """How one of the trials that begin alike goes on, and when it ends."""

    epochs: int
    early_stop: int | None
    """Epochs without a strict improvement after which it ends; None: never."""
    fall: Fall

    def end(self, losses: Sequence[float]) -> int | None:
        """The epoch after which it ends, were `losses` its own; None where it goes on after all of them."""
        best = 0
        for epoch, loss in enumerate(losses, start=1):
            if not best or loss < losses[best - 1]:
                best = epoch
            if epoch >= self.epochs or (self.early_stop is not None and epoch - best >= self.early_stop):
                return epoch
        return None


def kept_for(siblings: Iterable[Ending], *, monitor: str = "loss") -> Keep:
    """`Recipe.keep` for trials that begin alike and end like `siblings`: which states of the path so far are kept.

    `monitor` is the validation metric by which rates fall and trials stop; less of it is better.
    """
    family = frozenset(siblings)
    known: dict[str, frozenset[int]] = {}

    def keep(epoch: int, history: Sequence[EpochNote]) -> bool:
        last = history[-1].key  # stands for all that led to it
        if last not in known:
            known.clear()
            losses = [note.validation[monitor] for note in history]
            known[last] = needed(family, losses, [note.settings["lr"] for note in history])
        return epoch in known[last]

    return keep


def needed(siblings: Iterable[Ending], losses: Sequence[float], rates: Sequence[float]) -> frozenset[int]:
    """The epochs whose states some of the `siblings` may need, on the path with these `losses` and `rates`."""
    bests = _bests(losses)
    followed = {sibling: _followed(sibling, losses, rates) for sibling in siblings}
    ends = {epoch for sibling, epoch in followed.items() if sibling.end(losses[:epoch]) == epoch}
    forks = _forks(followed, losses)
    return forks | {bests[epoch - 1] for epoch in forks | ends}


def _bests(losses: Sequence[float]) -> list[int]:
    """For every epoch, which one up to it was the first with the lowest loss."""
    bests: list[int] = []
    for epoch, loss in enumerate(losses, start=1):
        bests.append(bests[-1] if bests and loss >= losses[bests[-1] - 1] else epoch)
    return bests


def _followed(sibling: Ending, losses: Sequence[float], rates: Sequence[float]) -> int:
    """How many epochs of the path are the sibling's own too: until its rate differs or it ends."""
    own = sibling.fall.rates(losses)
    alike = next((epoch for epoch, rate in enumerate(rates) if own[epoch] != rate), len(rates))
    end = sibling.end(losses[:alike])
    return alike if end is None else end


def _forks(followed: dict[Ending, int], losses: Sequence[float]) -> frozenset[int]:
    """Epochs after which two siblings that have not ended have different rates."""
    going: dict[int, set[float]] = {}
    for sibling, epochs in followed.items():
        on = range(1, epochs if sibling.end(losses[:epochs]) else epochs + 1)
        own = sibling.fall.rates(losses)
        for epoch in on:
            going.setdefault(epoch, set()).add(own[epoch])
    return frozenset(epoch for epoch, rates in going.items() if len(rates) > 1)
