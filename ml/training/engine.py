"""The one training loop: a walk along epoch states that are found where they exist and trained where they do not.

state(e + 1) = train_epoch(state(e), what the trial says for that epoch), and the key of a state is the fingerprint of
everything that led to it. So one mechanism gives retry, resume after a kill, pause, extension to more epochs, and
sharing of common beginnings between trials.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Literal

import torch

from ml.training.accounts import EpochNote, OutOfMemory, Trained
from ml.training.lesson import Lesson, Recipe, Shelf, never
from ml.training.machine import Machine
from ml.training.walk import Walk, best_of

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

    `found` gets the notes of the epochs that were trained before: once and at the beginning (empty where there are
    none), and all notes again whenever another process has trained some meanwhile, for those are waited for.
    `report` gets every epoch trained in this call, after its state is durable. `progress` gets the epoch and the share
    of it that is done after every step, so it must be quick. `stop` is asked before each epoch; True pauses.
    Raises `OutOfMemory` when not even one item fits.
    """
    started = time.perf_counter()
    torch.set_num_threads(machine.threads)
    walk = Walk(lesson, recipe, states, machine, progress)
    found(tuple(walk.history))
    status: Literal["finished", "paused", "diverged"] = "finished"
    while (target := walk.target()) is not None:
        if stop():
            status = "paused"
            break
        before = len(walk.history)
        note = walk.advance(target)
        if note is not None:
            report(note)
        elif len(walk.history) > before:
            found(tuple(walk.history))
    if walk.trouble:
        status = "diverged"
    at, trouble = walk.trouble or (None, None)
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
        diverged_epoch=at,
        diverged_step=trouble.step if trouble else None,
        problem=f"epoch {at}: {trouble}" if trouble else "",
    )
