"""A process that trains trials of the small grid one after the other, there to be killed or to have company.

States lie in FOLDER/states. Every epoch whose training was told becomes a line of FOLDER/log, every answer FOLDER/NAME.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Sequence
from pathlib import Path

import torch

from ml.training.engine import EpochNote
from ml.training.optimizers import adamw
from storage.artifacts import Shelf
from storage.durable import LabFull
from tests.denoise_grid import LITTLE, Told, lesson_model, run, small_grid, sound, told

GRID = {trial.name: trial for trial in small_grid()}
HEARD = sound(LITTLE)


def answer(folder: Path, names: Sequence[str]) -> None:
    """What the process does; a trial that has an answer is not asked again, as at night."""
    torch.set_num_threads(1)
    (folder / "answers").mkdir(parents=True, exist_ok=True)
    states = Shelf(folder, "states")

    def report(note: EpochNote) -> None:
        line = f"{os.getpid()} {note.key}\n"
        descriptor = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(descriptor, line.encode())
        os.close(descriptor)

    for name in names:
        place = folder / "answers" / name
        if not place.exists():
            trained = run(GRID[name], list(GRID.values()), states, HEARD, report=report)
            beside = place.with_name(f".{name}.{os.getpid()}")
            beside.write_bytes(pickle.dumps(told(GRID[name], trained)))
            beside.replace(place)


def answer_without_room(folder: Path, name: str, sibling: str) -> None:
    """Trains the trial `name` where no file can grow; what it said of that is FOLDER/said."""
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (4_000, 4_000))
    try:
        run(GRID[name], [GRID[name], GRID[sibling]], Shelf(folder, "states"), HEARD)
        said = "it was trained"
    except LabFull as problem:
        said = str(problem)
    (folder / "said").write_text(said)


def answers(folder: Path) -> dict[str, Told]:
    return {
        place.name: pickle.loads(place.read_bytes())
        for place in (folder / "answers").iterdir()
        if not place.name.startswith(".")
    }


def trained(folder: Path) -> list[tuple[str, str]]:
    """Process and key of every epoch whose training was told."""
    log = folder / "log"
    return [(line.split()[0], line.split()[1]) for line in log.read_text().splitlines()] if log.exists() else []


# The first optimizer of a process costs seconds of imports. A server that forks has them behind it.
adamw(lesson_model(next(iter(GRID.values()))), weight_decay=0.0)
