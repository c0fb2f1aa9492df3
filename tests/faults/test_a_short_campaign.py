"""A short campaign: one night in which a run's process is killed in an epoch, and the books hold afterwards."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.faults.campaign import live
from tests.faults.faults import FAULTS, step
from tests.faults.house import EpochLine, house_at
from tests.faults.invariants import Counts, of_epochs

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
SEED = 7


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_night_in_which_what_trains_is_killed(tmp_path: Path) -> None:
    with house_at(tmp_path / "house", trials=2, epochs=3) as house:
        lived = live(house, "step", SEED, step)
    print(lived)
    assert lived.breaches == []
    assert (lived.counts.strikes, lived.counts.killed, lived.counts.wordless) == (1, 1, 1)
    assert (lived.counts.finished, lived.counts.epochs, lived.counts.twice) == (2, 6, 0)
    assert lived.counts.again <= 1, "one kill costs one epoch at most"
    assert lived.counts.retries >= 1


def told(*lines: str) -> list[EpochLine]:
    """Of each line: what happened, to which epoch, in which process."""
    split = (line.split() for line in lines)
    return [EpochLine(word, key, 1, int(pid), float(at)) for at, (word, key, pid) in enumerate(split)]


def test_what_is_told_of_epochs_is_counted() -> None:
    counts = Counts()
    assert of_epochs(told("begun a 1", "begun a 2", "kept a 2", "begun b 2", "kept b 2"), 2, counts) == []
    assert (counts.epochs, counts.again, counts.twice) == (2, 1, 0)
    silent, counts = told("begun a 1", "kept a 1", "begun b 1", "begun c 2", "kept c 2"), Counts()
    assert of_epochs(silent, 3, counts) == [] and counts.epochs == 3, "killed before it could tell of the epoch"


@pytest.mark.parametrize(
    ("lines", "planned", "said"),
    [
        (["begun a 1", "begun b 2", "kept a 1", "kept b 2"], 2, "processes 2 and 1 trained at the same time"),
        (["begun a 1", "kept a 1"], 2, "1 different epochs were trained, 2 were planned"),
        (["begun a 1", "kept a 1"] * 3, 1, "epoch a was trained to the end 3 times"),
    ],
)
def test_what_must_not_be_is_said(lines: list[str], planned: int, said: str) -> None:
    assert of_epochs(told(*lines), planned, Counts()) == [said]


def test_every_fault_says_what_it_does() -> None:
    assert len(FAULTS) >= 12
    assert all(fault.__doc__ for fault in FAULTS.values())
