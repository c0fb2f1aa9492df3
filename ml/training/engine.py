"""The one training loop: a walk along epoch states that are found where they exist and trained where they do not.

state(e + 1) = train_epoch(state(e), what the trial says for that epoch), and the key of a state is the fingerprint of
everything that led to it. So one mechanism gives retry, resume after a kill, pause, extension to more epochs, and
sharing of common beginnings between trials.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from ml.training.accounts import EpochNote, OutOfMemory, Trained
from ml.training.keys import epoch_seed, first_key, next_key, seed_everything
from ml.training.ledger import Diverged
from ml.training.lesson import Lesson, Recipe, Shelf, never
from ml.training.machine import Machine
from ml.training.state import load_state, save_state
from ml.training.steps import train_epoch

__all__ = ["EpochNote", "Lesson", "Machine", "OutOfMemory", "Recipe", "Shelf", "Trained", "never", "train"]


def _silent(*told: object) -> None:
    """Tells nobody."""


def _go_on() -> bool:
    return False


def train(
    lesson: Lesson,
    recipe: Recipe,
    states: Shelf,
    machine: Machine,
    *,
    found: Callable[[Sequence[EpochNote]], None] = _silent,
    report: Callable[[EpochNote], None] = _silent,
    progress: Callable[[int, float], None] = _silent,
    stop: Callable[[], bool] = _go_on,
) -> Trained:
    """Walk the epochs of `recipe`: those noted on `states` are found, the others trained.

    `found` gets the notes of the epochs that were trained before, once and at the beginning; none is an empty
    sequence. `report` gets every epoch trained in this call, after its state is durable. `progress` gets the epoch and
    the share of it that is done after every step, so it must be quick. `stop` is asked before each epoch; True pauses.
    Raises `OutOfMemory` when not even one item fits.
    """
    started = time.perf_counter()
    torch.set_num_threads(machine.threads)
    walk = _Walk(lesson, recipe, states, machine, progress)
    found(tuple(walk.history))
    status: Literal["finished", "paused", "diverged"] = "finished"
    trouble: Diverged | None = None
    while (target := walk.target()) is not None:
        if stop():
            status = "paused"
            break
        try:
            report(walk.advance(target))
        except Diverged as problem:
            status, trouble = "diverged", problem
            break
    history, best = walk.history, best_of(walk.history, recipe)
    return Trained(
        status=status,
        history=tuple(history),
        best=best,
        best_folder=states.find(best.key) if best else None,
        epochs_trained=walk.trained,
        seconds_spent=time.perf_counter() - started,
        seconds_standalone=sum(note.seconds for note in history),
        stopped_early=status == "finished" and len(history) < recipe.epochs,
        micro_batch=history[-1].micro_batch if history else None,
        out_of_memory=sum(note.out_of_memory for note in history),
        threads=machine.threads,
        diverged_epoch=walk.standing + 1 if trouble else None,
        diverged_step=trouble.step if trouble else None,
        problem=f"epoch {walk.standing + 1}: {trouble}" if trouble else "",
    )


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


class _Walk:
    """Where a trial stands on its chain of states."""

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
        self.standing = 0
        """Epoch whose state `_model` and `_optimizer` hold; 0 is the fresh weights."""
        self._model: nn.Module | None = None
        self._optimizer: torch.optim.Optimizer | None = None
        self._first = first_key(recipe, machine.precision)
        while not self._over() and (said := states.note(self._plan(len(self.history) + 1)[0])) is not None:
            self.history.append(EpochNote.from_json(said))
        self._on_shelf = set(range(1, len(self.history) + 1))
        """Epochs whose states may be there."""

    def target(self) -> int | None:
        """The epoch that is needed next: the first that nobody trained, else the best if its state is missing."""
        if not self._over():
            return len(self.history) + 1
        best = best_of(self.history, self._recipe)
        assert best is not None
        return None if self._states.find(best.key) else best.epoch

    def advance(self, target: int) -> EpochNote:
        """Trains one epoch on the way to `target`, from the nearest state that is there; durable when it returns."""
        if self._model is None or self.standing >= target:
            self._go_back_to_nearest(target - 1)
        epoch = self.standing + 1
        known = self.history[epoch - 1] if epoch <= len(self.history) else None
        model, optimizer = self._loaded()
        key, settings = (known.key, known.settings) if known else self._plan(epoch)
        began = time.perf_counter()
        try:
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
        except (Diverged, OutOfMemory):
            self._model = self._optimizer = None
            raise
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
        self.standing, self.trained = epoch, self.trained + 1
        if known is None:
            self.history.append(note)
        self._on_shelf.add(epoch)
        self._drop_superseded()
        return note

    def _drop_superseded(self) -> None:
        """Drops all states but this, the latest, the best and what the recipe keeps. Only when the newer is durable."""
        best = best_of(self.history, self._recipe)
        needed = {self.standing, len(self.history), best.epoch if best else 0}
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

    def _go_back_to_nearest(self, epoch: int) -> None:
        """Stands at `epoch`, or at the last before it whose state is there; at the fresh weights if none is."""
        self._model = self._optimizer = None  # before the next are made: two would not fit beside each other
        folder: Path | None = None
        while epoch and (folder := self._states.find(self.history[epoch - 1].key)) is None:
            epoch -= 1
        seed_everything(epoch_seed(self._recipe.seed, 0))
        model = self._lesson.model().to(device=self._machine.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimizer = self._lesson.optimizer(model)
        if folder is not None:
            load_state(folder, model, optimizer)
        self._model, self._optimizer, self.standing = model, optimizer, epoch

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
