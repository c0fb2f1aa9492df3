"""Where a trial stands on its chain of states: what is found, what is trained, what is left to another process."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ml.training.accounts import EpochNote, OutOfMemory
from ml.training.keys import epoch_seed, first_key, next_key, seed_everything
from ml.training.ledger import Diverged
from ml.training.lesson import Lesson, Recipe, Shelf
from ml.training.machine import Machine
from ml.training.state import load_state, save_state
from ml.training.steps import train_epoch

DIVERGED = "diverged"
"""In the note of an epoch that came to no state: why."""


def best_of(history: Sequence[EpochNote], recipe: Recipe) -> EpochNote | None:
    """The first epoch whose monitored value no other beats; None without epochs."""
    best: EpochNote | None = None
    for note in history:
        value = note.validation[recipe.monitor]
        if best is None or _better(value, best.validation[recipe.monitor], recipe.higher_is_better):
            best = note
    return best


def _better(value: float, other: float, higher_is_better: bool) -> bool:
    return value > other if higher_is_better else value < other


class Walk:
    """The epochs of a trial, one after the other."""

    def __init__(
        self,
        lesson: Lesson,
        recipe: Recipe,
        states: Shelf,
        machine: Machine,
        progress: Callable[[int, float], None],
    ) -> None:
        self._lesson, self._recipe, self._states, self._machine = lesson, recipe, states, machine
        self._progress = progress
        self.history: list[EpochNote] = []
        self.trained = 0
        self.trouble: tuple[int, Diverged] | None = None
        """The epoch that came to no finite numbers, now or when it was tried before."""
        self._standing = 0
        """Epoch whose state `_model` and `_optimizer` hold; 0 is the fresh weights."""
        self._model: nn.Module | None = None
        self._optimizer: torch.optim.Optimizer | None = None
        self._first = first_key(recipe, machine.precision)
        self._on_shelf: set[int] = set()
        """Epochs whose states may be there."""
        self._catch_up()

    def target(self) -> int | None:
        """The epoch that is needed next: the first that nobody trained, else the best if its state is missing."""
        if self.trouble:
            return None
        if not self._over():
            return len(self.history) + 1
        best = best_of(self.history, self._recipe)
        assert best is not None
        return None if self._states.find(best.key) else best.epoch

    def advance(self, target: int) -> EpochNote | None:
        """Trains one epoch on the way to `target`, from the nearest state that is there; durable when it returns.

        None where nothing was trained: another process did it meanwhile (then the history is longer), or it diverged.
        """
        if not self._stand_near(target - 1):
            return None
        epoch = self._standing + 1
        known = self.history[epoch - 1] if epoch <= len(self.history) else None
        key, settings = (known.key, known.settings) if known else self._plan(epoch)
        with self._states.claim(key):
            # Whoever had claimed it before has trained it, and it is found; or was killed, and it is ours to train.
            if known is None and self._catch_up():
                return None
            if known is not None and self._states.find(key):
                return None
            try:
                return self._train(epoch, key, settings, known)
            except Diverged as problem:
                self._model = self._optimizer = None
                self.trouble = epoch, problem
                if known is None:
                    self._states.remember(key, {DIVERGED: str(problem), "step": problem.step})
                return None
            except OutOfMemory:
                self._model = self._optimizer = None
                raise

    def _train(self, epoch: int, key: str, settings: dict[str, Any], known: EpochNote | None) -> EpochNote:
        model, optimizer = self._loaded()
        began = time.perf_counter()
        sums = train_epoch(
            self._lesson,
            self._recipe,
            self._machine,
            model,
            optimizer,
            epoch=epoch,
            settings=settings,
            micro_batch=self._micro_batch(epoch),
            progress=self._progress,
        )
        # An epoch that is made again has its account already: it is told once, and stays what it was.
        validation = known.validation if known else self._validate(model)
        note = known or EpochNote(
            epoch=epoch,
            key=key,
            settings=settings,
            train=sums.means,
            validation=validation,
            seconds=time.perf_counter() - began,
            items=sums.items,
            draws=sums.draws,
            micro_batch=sums.micro_batch,
            out_of_memory=sums.out_of_memory,
        )
        note = self._put_on_shelf(note, model, optimizer)
        self._standing, self.trained = epoch, self.trained + 1
        if known is None:
            self.history.append(note)
        self._on_shelf.add(epoch)
        self._drop_superseded()
        return note

    def _catch_up(self) -> bool:
        """Takes up the epochs that are noted after the history; True where there are such."""
        before = len(self.history), self.trouble
        while not self._over() and self.trouble is None:
            said = self._states.note(self._plan(len(self.history) + 1)[0])
            if said is None:
                break
            if DIVERGED in said:
                self.trouble = len(self.history) + 1, Diverged(said["step"], said[DIVERGED])
            else:
                self.history.append(EpochNote.from_json(said))
                self._on_shelf.add(len(self.history))
        return before != (len(self.history), self.trouble)

    def _drop_superseded(self) -> None:
        """Drops all states but this, the latest, the best and what the recipe keeps. Only when the newer is durable."""
        best = best_of(self.history, self._recipe)
        needed = {self._standing, len(self.history), best.epoch if best else 0}
        for epoch in sorted(self._on_shelf - needed):
            if not self._recipe.keep(epoch, tuple(self.history)):
                self._states.drop(self.history[epoch - 1].key)
                self._on_shelf.discard(epoch)

    def _over(self) -> bool:
        if len(self.history) >= self._recipe.epochs:
            return True
        best = best_of(self.history, self._recipe)
        patience = self._recipe.patience
        return best is not None and patience is not None and len(self.history) - best.epoch >= patience

    def _plan(self, epoch: int) -> tuple[str, dict[str, Any]]:
        """Key of the state after `epoch`, the first that is not in the history, and what the trial says for it."""
        # Through JSON, so that a note that was just made equals the one that is found.
        settings = json.loads(json.dumps(self._lesson.settings(epoch, tuple(self.history))))
        batch = settings.get("batch")
        if type(batch) is not int or batch < 1:
            raise ValueError(f"epoch {epoch}: the settings say batch {batch!r}; a whole number from 1 up is needed")
        return next_key(self.history[-1].key if self.history else self._first, settings), settings

    def _stand_near(self, epoch: int) -> bool:
        """Stands at `epoch`, or at the last before it whose state is there; at the fresh weights if none is.

        False where another process went on meanwhile: then what was looked for may be gone, and newer is there.
        """
        for place in range(epoch, -1, -1):
            if self._model is not None and self._standing == place:
                return True
            folder = self._states.find(self.history[place - 1].key) if place else None
            if (folder is not None or not place) and self._load(place, folder):
                return True
            if place and place == len(self.history) and self._catch_up():
                return False
        raise AssertionError("the fresh weights are always there")

    def _load(self, epoch: int, folder: Path | None) -> bool:
        """Stands at `epoch` with the state in `folder`; False where another process dropped it at this moment."""
        self._model = self._optimizer = None  # before the next are made: two would not fit beside each other
        seed_everything(epoch_seed(self._recipe.seed, 0))
        model = self._lesson.model().to(device=self._machine.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimizer = self._lesson.optimizer(model)
        if folder is not None:
            try:
                load_state(folder, model, optimizer)
            except Exception:
                if self._states.find(self.history[epoch - 1].key) is not None:
                    raise  # it is there, so something else is wrong with it
                return False
        self._model, self._optimizer, self._standing = model, optimizer, epoch
        return True

    def _loaded(self) -> tuple[nn.Module, torch.optim.Optimizer]:
        assert self._model is not None and self._optimizer is not None
        return self._model, self._optimizer

    def _micro_batch(self, epoch: int) -> int | None:
        """What fitted after memory ran out in an earlier epoch, so that a resumed trial computes as one that ran on."""
        fitted = [note.micro_batch for note in self.history[: epoch - 1] if note.out_of_memory]
        if self._recipe.micro_batch is not None:
            fitted.append(self._recipe.micro_batch)
        return min(fitted, default=None)

    def _validate(self, model: nn.Module) -> dict[str, float]:
        model.eval()
        try:
            with torch.no_grad(), self._machine.autocast():
                said = {name: float(value) for name, value in self._lesson.validate(model).items()}
        except torch.OutOfMemoryError as problem:
            raise OutOfMemory(
                f"memory ran out on {self._machine.name} in the validation; free it from other programs, or choose "
                f"a smaller model or shorter windows"
            ) from problem
        monitor = self._recipe.monitor
        if monitor not in said:
            raise ValueError(f"the monitored metric is {monitor!r}, but validation says only: {', '.join(said)}")
        if not math.isfinite(said[monitor]):
            raise Diverged(None, f"the validation's {monitor} is {said[monitor]}")
        return said

    def _put_on_shelf(self, note: EpochNote, model: nn.Module, optimizer: torch.optim.Optimizer) -> EpochNote:
        wrote = False

        def write(folder: Path) -> dict[str, Any]:
            nonlocal wrote
            wrote = True
            save_state(folder, model, optimizer)
            return note.as_json()

        folder = self._states.build(note.key, write)
        if wrote:
            return note
        # Another process was first. Its state is the one that counts, so that all that follows follows from it.
        load_state(folder, model, optimizer)
        return EpochNote.from_json(self._states.note(note.key) or note.as_json())
