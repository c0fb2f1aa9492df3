"""What a person hears of a trial while it is being trained, and how far it has come."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ml.training.engine import EpochNote

PACE_SECONDS = 60.0
"""An epoch that takes longer says this often how far it is."""

LATELY = 10
"""Epochs; how long the rest takes is told from the last ones: the machine may have more to do than an hour ago."""


class Telling:
    """Hears of every epoch from the engine and says what is worth saying."""

    def __init__(self, trial: str, planned: int, told: Sequence[str], say: Callable[[str], None]) -> None:
        """`planned` epochs; of each, the metrics in `told` are said."""
        self._trial, self._planned, self._told, self._say = trial, planned, told, say
        self._epoch, self._began, self._said = 0, 0.0, 0.0
        self._known = 0
        self.done = 0
        """Epochs that the trial has, found and trained."""
        self.trained: list[EpochNote] = []

    def found(self, notes: Sequence[EpochNote]) -> None:
        """Epochs that were trained before, or meanwhile by another process: then it is told again, of all of them."""
        first = self.done == 0
        self.done = self._known = len(notes)
        if notes and first:
            self._say(f"{self._trial}: goes on after epoch {self.done} of {self._planned}, which is known")

    def report(self, note: EpochNote) -> None:
        """An epoch in a line, with the time that the rest of the trial will take at this pace."""
        self.trained.append(note)
        self.done = max(self.done, note.epoch)
        if note.epoch <= self._known:
            self._say(f"{self._trial}: epoch {note.epoch} again, to the same numbers: its state is not there any more")
            return
        shown = ", ".join(
            f"{part} {metric.replace('_', ' ')} {value:.4g}"
            for part, metrics in (("train", note.train), ("validation", note.validation))
            for metric, value in metrics.items()
            if metric in self._told
        )
        lately = self.trained[-LATELY:]
        left = (self._planned - note.epoch) * sum(each.seconds for each in lately) / len(lately)
        rest = f"; about {left / 60:.0f} min left" if left >= 60 else ""
        self._say(f"{self._trial}: epoch {note.epoch} of {self._planned} in {note.seconds:.1f} s; {shown}{rest}")

    def progress(self, epoch: int, share: float) -> None:
        """Now and then, how far a long epoch is and when it will end."""
        now = time.monotonic()
        if epoch != self._epoch:
            self._epoch, self._began, self._said = epoch, now, now
        elif now - self._said >= PACE_SECONDS and share < 1:
            self._said = now
            left = (now - self._began) * (1 - share) / share
            self._say(f"{self._trial}: epoch {epoch} is at {100 * share:.0f} %, about {left / 60:.0f} min left of it")
