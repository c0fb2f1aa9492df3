"""What must hold after a night, whatever happened in it; each breach is a sentence."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, fields

import psutil
from filelock import FileLock, Timeout

from ml.studies.concert.study import CONCERT
from storage.query import query
from tests.faults.house import EpochLine, House
from tests.orchestration.nights.made_up import identity
from tests.proofs.wholeness import assert_whole, left_over

SETTLED_SECONDS = 90.0
"""So long a run may still be in the books after the bell."""


@dataclass
class Counts:
    """What was counted in one night, or in several together."""

    nights: int = 0
    strikes: int = 0
    """How often the fault struck."""
    killed: int = 0
    """Processes that were killed."""
    finished: int = 0
    """Attempts that came to a result; of the others:"""
    paused: int = 0
    failed: int = 0
    wordless: int = 0
    """Attempts that ended without a record."""
    epochs: int = 0
    """Different epochs that were trained to the end."""
    again: int = 0
    """How often one was begun that had been begun before."""
    twice: int = 0
    """How often one was trained to the end that had been so before."""
    runs: int = 0
    retries: int = 0
    left: int = 0
    """Half-done files that killed writers left, under names that nobody reads; the next writer sweeps them."""

    def __iadd__(self, other: Counts) -> Counts:
        for each in fields(self):
            setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))
        return self

    def __str__(self) -> str:
        return ", ".join(f"{each.name} {getattr(self, each.name)}" for each in fields(self))


@dataclass
class Before:
    """Where the books and the log stood before a night."""

    attempts: dict[str, int]
    lines: int


def before(house: House) -> Before:
    records = house.bench.records
    newest = {name: max(records.begun("concert", name), default=0) for name in house.names}
    return Before(newest, len(house.epochs_told()))


def settle(house: House) -> list[str]:
    """Waits until the books are closed after the bell; the runs that never end."""
    deadline = time.monotonic() + SETTLED_SECONDS
    while (left := house.unfinished()) and time.monotonic() < deadline:
        time.sleep(0.5)
    return [f"run {run.run_id[:8]} ({run.job_name}) is {run.status.value} for ever" for run in left]


def breaches(house: House, since: Before, counts: Counts, poisoned: frozenset[str] = frozenset()) -> list[str]:
    """Whatever does not hold; `counts` gets what was counted."""
    told = house.epochs_told(since.lines)
    planned = house.epochs * (len(house.names) - len(poisoned))
    return [
        *_of_trials(house, since, counts, poisoned),
        *of_epochs(told, planned, counts),
        *_of_files(house, counts),
        *_of_processes(house, told),
    ]


def _of_trials(house: House, since: Before, counts: Counts, poisoned: frozenset[str]) -> list[str]:
    """Every trial ends exactly once in the results."""
    said: list[str] = []
    records = house.bench.records
    board = query(house.bench.lab, "select trial, fingerprint from attempts where status = 'finished'")
    shown = Counter(zip(board["trial"], board["fingerprint"], strict=True))
    for name in house.names:
        history = records.history("concert", name)
        own = [record for record in history if record.number > since.attempts[name]]
        kinds = Counter(record.account["status"] for record in own)
        counts.finished += kinds["finished"]
        counts.paused += kinds["paused"]
        counts.failed += kinds["failed"]
        ended = records.ended("concert", name)
        counts.wordless += sum(not left for number, left in ended.items() if number > since.attempts[name])
        wanted = identity(house.bench, CONCERT, name)
        results = [record for record in history if record.account["fingerprint"] == wanted]
        finished = [record for record in results if record.account["status"] == "finished"]
        if name in poisoned:
            begun = sum(number > since.attempts[name] for number in records.begun("concert", name))
            if finished:
                said.append(f"{name} dies always and has a result")
            if not any("given up for tonight" in str(record.account.get("error")) for record in own):
                said.append(f"{name} dies always and no record says that it was given up")
            if begun > house.attempts + 1:  # the record that gives it up has a number too
                said.append(f"{name} was begun {begun} times, {house.attempts} are allowed")
        elif len(finished) != 1:
            said.append(f"{name} has {len(finished)} results")
        elif shown[name, wanted] != 1:
            said.append(f"{name} stands {shown[name, wanted]} times in results.duckdb")
    return said


def of_epochs(told: list[EpochLine], planned: int, counts: Counts) -> list[str]:
    """No finished epoch is trained twice beyond one, and no two processes train at once."""
    said: list[str] = []
    begun = Counter(line.key for line in told if line.word == "begun")
    kept = Counter(line.key for line in told if line.word == "kept")
    # Killed between an epoch's state and the line that tells of it: nobody begins that epoch again.
    last = {line.pid: line.key for line in told if line.word == "begun"}
    untold = {key for key in begun.keys() - kept.keys() if key in last.values()}
    different = len(kept.keys() | untold)
    counts.epochs += different
    counts.again += begun.total() - len(begun)
    counts.twice += kept.total() - len(kept)
    said += [f"epoch {key[:12]} was trained to the end {count} times" for key, count in kept.items() if count > 2]
    if different != planned:
        said.append(f"{different} different epochs were trained, {planned} were planned")
    at_work: EpochLine | None = None
    for line in told:
        if line.word == "begun":
            at_work = line
        elif line.word == "kept" and at_work is not None and line.pid != at_work.pid:
            said.append(f"processes {at_work.pid} and {line.pid} trained at the same time")
    return said


def _of_files(house: House, counts: Counts) -> list[str]:
    """Nothing half-written is to be found, and the database tells what the records tell."""
    counts.left += len(left_over(house.bench))
    try:
        assert_whole(house.bench, published=True)
    except AssertionError as problem:
        return [f"not whole: {problem}"]
    return []


def _of_processes(house: House, told: list[EpochLine]) -> list[str]:
    """Whoever trained is gone, and the machine is free."""
    said = []
    for pid in {line.pid for line in told}:
        with suppress(psutil.Error):
            process = psutil.Process(pid)
            if process.status() != psutil.STATUS_ZOMBIE and process.create_time() <= max(
                line.at for line in told if line.pid == pid
            ):
                said.append(f"process {pid} of a run that is over still lives")
    try:
        with FileLock(house.bench.lab.locks / "machine.lock", timeout=5):
            pass
    except Timeout:
        said.append("the machine is still lent to somebody")
    return said
