"""How many epochs a grid trains because its trials share them: `python -m tests.benchmarks.stage_tree`.

All 864 points of the denoise study's own grid, trained for real: a small network on a little sound that soon teaches
nothing new, so that rates fall and trials stop early as they do at night. 24 trials drawn at random are then trained
alone and compared bit for bit. Takes five to ten minutes on one core.

    --steady        sound that goes on teaching: no trial stops early
    --mode quick    the grid of eight instead: of two lengths at most half is shared, where both stop early; where none
                    does (--steady) 1.6 times
    --sample N      so many trials are trained alone, instead of 24
    --families N    only so many of the families that begin alike, instead of all
    --record FILE   write the name and the validation loss of each trial into FILE
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

from ml.config import merge
from ml.studies.denoise.study import DENOISE
from ml.studies.study import Trial
from ml.training.engine import EpochNote, Trained
from storage.artifacts import Shelf
from tests.denoise_grid import LITTLE, SECONDS, SMALL, Sound, Told, run, sound, told, trials

NETWORK: dict[str, Any] = {"model": {"channels": [32], "kernel": 9, "filters": 48}}
SEED = 20261121


@dataclass
class Grid:
    """What training a whole grid came to."""

    epochs_trained: int = 0
    epochs_alone: int = 0
    stopped_early: int = 0
    seconds: float = 0.0
    """Wall clock of all trials together."""
    seconds_alone: float = 0.0
    """The sum of the seconds of all epochs of all trials, found or trained."""
    seconds_trained: float = 0.0
    """The same of the epochs that were trained."""
    peak_states: int = 0
    peak_bytes: int = 0
    left_states: int = 0
    left_bytes: int = 0
    """The ends of the chains, the notes of all epochs, and locks."""
    results: dict[str, tuple[float, Told]] = field(default_factory=dict)
    """By trial: the best validation loss, and all else exactly."""

    @property
    def fewer(self) -> float:
        return self.epochs_alone / self.epochs_trained


def train_grid(grid: list[Trial], heard: Sound, states: Shelf) -> Grid:
    """Every trial, family by family as at night; when its last trial is finished the ends of its chains stay."""
    made, kept = Grid(), set[str]()

    def look(note: EpochNote) -> None:
        made.seconds_trained += note.seconds
        here = sorted(set(states.keys()) - kept)
        made.peak_states = max(made.peak_states, len(here))
        size = sum(path.stat().st_size for path in (states.folder / here[0]).rglob("*") if path.is_file())
        made.peak_bytes = max(made.peak_bytes, size * len(here))

    for _, members in groupby(sorted(grid, key=DENOISE.family), key=DENOISE.family):
        family, keys, longest = list(members), set[str](), dict[str, Trained]()
        for one in family:
            began = time.perf_counter()
            trained = run(one, family, states, heard, report=look)
            made.seconds += time.perf_counter() - began
            made.epochs_trained += trained.epochs_trained
            made.epochs_alone += len(trained.history)
            made.seconds_alone += trained.seconds_standalone
            made.stopped_early += trained.stopped_early
            keys |= {note.key for note in trained.history}
            assert trained.best is not None
            chain = DENOISE.chain(one)
            if chain not in longest or len(trained.history) > len(longest[chain].history):
                longest[chain] = trained
            made.results[one.name] = trained.best.validation["loss"], told(one, trained)
        kept |= {note.key for end in longest.values() for note in (end.history[-1], end.best) if note}
        states.release(keys - kept)
    made.left_states, made.left_bytes = len(states.keys()), states.bytes()
    return made


@dataclass(frozen=True)
class Alone:
    """What training some of the trials alone came to."""

    trials: int
    epochs: int
    seconds: float
    different: int


def train_alone(sample: list[Trial], heard: Sound, made: Grid) -> Alone:
    """Each trial with a memory of its own, as if there were no other."""
    epochs, seconds, different = 0, 0.0, 0
    for one in sample:
        with memory() as states:
            began = time.perf_counter()
            trained = run(one, [one], states, heard)
            seconds += time.perf_counter() - began
            epochs += trained.epochs_trained
            different += told(one, trained) != made.results[one.name][1]
    return Alone(len(sample), epochs, seconds, different)


@contextmanager
def memory() -> Iterator[Shelf]:
    with tempfile.TemporaryDirectory() as folder:
        yield Shelf(Path(folder), "states")


def measure(mode: str, steady: bool, sample: int, families: int | None) -> tuple[Grid, Alone]:
    changes = merge(SMALL, NETWORK)
    if mode == "quick" and not steady:
        changes = merge(changes, {"mix": {"windows_per_epoch": 512}})  # steps enough to stop before epoch 30
    heard = sound(SECONDS if steady else LITTLE)
    grid = trials(mode, changes)
    if families is not None:
        chosen = random.Random(SEED).sample(sorted({DENOISE.family(trial) or "" for trial in grid}), families)
        grid = [trial for trial in grid if DENOISE.family(trial) in chosen]
    with memory() as states:
        made = train_grid(grid, heard, states)
    drawn = random.Random(SEED).sample(grid, min(sample, len(grid)))
    return made, train_alone(drawn, heard, made)


def tell(mode: str, made: Grid, alone: Alone) -> None:
    best = {weights.weights for _, weights in made.results.values()}
    expected = alone.seconds / alone.epochs * made.epochs_alone
    print(
        f"{mode}: {len(made.results)} trials, {made.stopped_early} of them stopped early, {len(best)} distinct models"
    )
    print(f"epochs: {made.epochs_trained:,} trained, {made.epochs_alone:,} if each trial trained alone")
    print(
        f"states: {made.peak_states} of a family in training at most ({made.peak_bytes / 1e6:.1f} MB); at the end "
        f"{made.left_states}, the last and the best of each chain ({made.left_bytes / 1e6:.1f} MB with the notes of "
        f"{made.epochs_trained:,} epochs)"
    )
    print(
        f"wall clock: {made.seconds:.0f} s; {made.seconds_alone:.0f} s alone by the seconds of the epochs, which leave "
        f"out saving ({made.seconds_alone / made.seconds:.1f} times); {expected:.0f} s by {alone.trials} trials that "
        f"were trained alone ({expected / made.seconds:.1f} times)"
    )
    print(
        f"of these {made.seconds - made.seconds_trained:.0f} s are no epoch: "
        f"{1e3 * (made.seconds - made.seconds_trained) / made.epochs_trained:.0f} ms for each that was trained"
    )
    print(
        f"{alone.trials} trials trained alone, {alone.epochs:,} epochs: {alone.different} differ in any rate, loss, "
        f"last epoch or bit of the best weights"
    )


def main() -> None:
    said = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    said.add_argument("--mode", choices=["full", "quick"], default="full")
    said.add_argument("--steady", action="store_true")
    said.add_argument("--sample", type=int, default=24)
    said.add_argument("--families", type=int)
    said.add_argument("--record", type=Path)
    asked = said.parse_args()
    made, alone = measure(asked.mode, asked.steady, asked.sample, asked.families)
    tell(asked.mode, made, alone)
    if asked.record:
        lines = [f"{name},{loss!r}\n" for name, (loss, _) in made.results.items()]
        asked.record.write_text("".join(["name,loss\n", *lines]), encoding="utf-8")
    if alone.different:
        raise SystemExit(f"{alone.different} trials are not what they are alone")
    print(f"{made.fewer:.1f} times fewer epochs")


if __name__ == "__main__":
    main()
