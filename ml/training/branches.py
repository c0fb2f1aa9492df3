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

from collections.abc import Callable, Collection, Iterable, Sequence
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
        return self._end(_bests(losses))

    def _end(self, bests: Sequence[int]) -> int | None:
        for epoch, best in enumerate(bests, start=1):
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


def needed(siblings: Collection[Ending], losses: Sequence[float], rates: Sequence[float]) -> frozenset[int]:
    """The epochs whose states some of the `siblings` may need, on the path with these `losses` and `rates`."""
    bests, own = _bests(losses), {fall: fall.rates(losses) for fall in {sibling.fall for sibling in siblings}}
    alike = {fall: _alike(rates, said) for fall, said in own.items()}
    ends: set[int] = set()
    on = dict.fromkeys(own, 0)
    """After how many epochs some whose rates fall so go on."""
    for sibling in siblings:
        fall = sibling.fall
        end = sibling._end(bests[: alike[fall]])
        if end is not None:
            ends.add(end)
        on[fall] = max(on[fall], alike[fall] if end is None else end - 1)
    going = [{said[epoch] for fall, said in own.items() if epoch <= on[fall]} for epoch in range(1, len(losses) + 1)]
    forks = frozenset(epoch for epoch, said in enumerate(going, start=1) if len(said) > 1)
    return forks | {bests[epoch - 1] for epoch in forks | ends}


def _bests(losses: Sequence[float]) -> list[int]:
    """For every epoch, which one up to it was the first with the lowest loss."""
    bests: list[int] = []
    for epoch, loss in enumerate(losses, start=1):
        bests.append(bests[-1] if bests and loss >= losses[bests[-1] - 1] else epoch)
    return bests


def _alike(rates: Sequence[float], own: Sequence[float]) -> int:
    """How many of the first epochs have one and the same rate on both."""
    return next((epoch for epoch, rate in enumerate(rates) if own[epoch] != rate), len(rates))
