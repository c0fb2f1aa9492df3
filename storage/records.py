"""The account of every attempt at every trial: written once, never changed, the one thing that cannot be made again.

`records/<study>/<trial>/<attempt>/` holds `record.json` and one Parquet file per table. It is filled under another
name, flushed to the disk, and appears by one rename. `<attempt>.begun.json` beside it says that the attempt began: so
an attempt that died without a word is known too, and a later one takes the right to write away from an earlier one.
It goes again when nothing was attempted: the block of `Records.begin` ended in peace and without an account.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import BaseFileLock, FileLock, Timeout

from storage import attempt_files, durable, tables
from storage.lab import Lab
from storage.names import check_name
from storage.record import Record, read, write

STATUSES = ("finished", "failed", "paused", "diverged")
_NOTES = "_notes"
"""Folder of a study's own accounts; no trial can have this name."""


class StaleAttempt(RuntimeError):
    """An attempt that wants to write although a later one has begun: an orphan that lived on."""


class TrialBusy(RuntimeError):
    """A trial that another process is working on, and who that is."""


@dataclass
class Attempt:
    """The right to write one account; made by `Records.begin`."""

    study: str
    trial: str
    number: int
    run_id: str
    started: str
    _records: Records = field(repr=False)
    _tried: bool = field(default=False, repr=False)
    """Whether an account of it was written or tried."""

    _over: bool = field(default=False, repr=False)

    def commit(self, account: Mapping[str, Any], tables: Mapping[str, pd.DataFrame]) -> Record:
        """Writes the account for good; when this returns it is on the disk.

        Raises `StaleAttempt` when a later attempt has begun, `LabFull` when there is no room, and whatever a failing
        disk raises; in all three nothing was committed.
        """
        return self._records._commit(self, dict(account), dict(tables))


class Records:
    """Reads and writes the accounts of one lab."""

    def __init__(self, lab: Lab, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.lab, self._now = lab, now

    @contextlib.contextmanager
    def begin(self, study: str, trial: str, run_id: str, wait_seconds: float = 60.0) -> Iterator[Attempt]:
        """The next attempt at a trial, alone at it until the block ends.

        A block that ends without an exception and without having tried to commit never was an attempt: who waited for
        the trial and then found its answer there just leaves, and no trace stays.

        Waits up to `wait_seconds` for another process that is at the same trial (an orphan ends within seconds),
        then raises `TrialBusy`.
        """
        place = self._trial(study, trial)
        for folder in (place.parent, place):
            attempt_files.refuse_twin(folder)
        try:
            held = self._lock("trial", study, trial, wait_seconds).acquire()
        except Timeout:
            raise TrialBusy(
                f"{study}/{trial}: another process is at this trial ({self._who(place)}); "
                "wait for it, or end that process and run again"
            ) from None
        with held:
            with self._fence(study, trial):
                place.mkdir(parents=True, exist_ok=True)
                attempt_files.sweep(place)
                number = attempt_files.last_begun(place) + 1
                started = self._now().isoformat(timespec="milliseconds")
                begun = {"attempt": number, "run_id": run_id, "started": started}
                with durable.telling_full(place):
                    durable.sync_folder(place.parent)
                    durable.write_sealed(attempt_files.begun_file(place, number), begun)
            attempt = Attempt(study, trial, number, run_id, started, self)
            try:
                yield attempt
            finally:
                attempt._over = True  # from here on its number may become another's
            if not attempt._tried:
                with self._fence(study, trial), contextlib.suppress(OSError):
                    attempt_files.begun_file(place, number).unlink()

    def note(self, study: str, kind: str, account: Mapping[str, Any], frames: Mapping[str, pd.DataFrame]) -> Record:
        """Keeps an account of the study as a whole; one with the fingerprint of the newest is not written again.

        `tables.OF_A_STUDY` says which kinds bring tables; an account of any other kind brings none.
        """
        _need(account, "fingerprint", f"the {kind} of {study}")
        with self._fence(study, kind):
            newest = self.noted(study, kind)
            if newest is not None and newest.account["fingerprint"] == account["fingerprint"]:
                return newest
            place = self._noted(study, kind)
            place.mkdir(parents=True, exist_ok=True)
            attempt_files.sweep(place)
            number = max(attempt_files.numbers(place), default=0) + 1
            written = {"written": datetime.now(UTC).isoformat(timespec="milliseconds"), **account}
            return write(place, number, study, None, written, dict(frames), tables.OF_A_STUDY.get(kind, ()))

    def noted(self, study: str, kind: str) -> Record | None:
        """The newest healthy account of that kind, or None."""
        return _newest(self._noted(study, kind), study, None)

    def all_noted(self, study: str, kind: str) -> list[Record]:
        """All healthy accounts of that kind, every byte checked, oldest first."""
        place, found = self._noted(study, kind), []
        for number in attempt_files.numbers(place):
            with contextlib.suppress(durable.Damaged):
                record = read(place, number, study, None)
                record.check()
                found.append(record)
        return found

    def latest(self, study: str, trial: str) -> Record | None:
        """The newest healthy record of a trial, whatever its status, or None."""
        return _newest(self._trial(study, trial), study, trial)

    def finished(self, study: str, trial: str, fingerprint: str) -> Record | None:
        """The newest healthy record that finished with exactly this fingerprint, or None: then it has to run."""
        for record in self.history(study, trial)[::-1]:
            if record.account["status"] == "finished" and record.account["fingerprint"] == fingerprint:
                with contextlib.suppress(durable.Damaged):
                    record.check()
                    return record
        return None

    def history(self, study: str, trial: str) -> list[Record]:
        """All records of a trial whose account is healthy, oldest first."""
        place = self._trial(study, trial)
        found = []
        for number in attempt_files.numbers(place):
            with contextlib.suppress(durable.Damaged):
                found.append(read(place, number, study, trial))
        return found

    def read(self, study: str, trial: str, number: int) -> Record:
        """One record; `Damaged` when its account is not what was written."""
        return read(self._trial(study, trial), number, study, trial)

    def ended(self, study: str, trial: str) -> dict[int, bool]:
        """The attempts that are over, in order, and whether each left a record; the others ended without a word."""
        place = self._trial(study, trial)
        ended = attempt_files.attempts(place)
        newest = max(ended, default=0)
        if ended.get(newest, True):
            return ended
        if self.is_running(study, trial):
            del ended[newest]
            return ended
        # Looked at again: it may have written its record, or been given up, just before its lock was free.
        return {number: left for number, left in attempt_files.attempts(place).items() if number <= newest}

    def kinds(self, study: str) -> list[str]:
        """The kinds of account that were noted about a study as a whole."""
        return attempt_files.folders(self.lab.records / check_name(study, "study") / _NOTES)

    def last_noted(self, study: str, kind: str) -> int:
        """Number of the newest account of that kind, healthy or not; 0 where there is none."""
        return max(attempt_files.numbers(self._noted(study, kind)), default=0)

    def begun(self, study: str, trial: str) -> dict[int, dict[str, Any]]:
        """Attempt to {"attempt", "run_id", "started"}, for every attempt that ever began."""
        place = self._trial(study, trial)
        found = {}
        for number in attempt_files.begun_numbers(place):
            with contextlib.suppress(durable.Damaged):
                found[number] = durable.read_sealed(attempt_files.begun_file(place, number))
        return found

    def is_running(self, study: str, trial: str) -> bool:
        """Whether some process is at this trial now. To look at one that was never begun leaves nothing behind."""
        if not self._lock_file("trial", study, trial).exists():
            return False
        try:
            with self._lock("trial", study, trial, 0):
                return False
        except Timeout:
            return True

    def studies(self) -> list[str]:
        """Names of the studies that have records."""
        return attempt_files.folders(self.lab.records)

    def trials(self, study: str) -> list[str]:
        """Names of the trials of a study that were ever begun."""
        return attempt_files.folders(self.lab.records / check_name(study, "study"))

    def all(self) -> tuple[list[Record], list[durable.Damaged]]:
        """Every healthy record of every trial, every byte checked, and the damaged ones by name."""
        healthy, damaged = [], []
        for study in self.studies():
            for trial in self.trials(study):
                place = self._trial(study, trial)
                for number in attempt_files.numbers(place):
                    try:
                        record = read(place, number, study, trial)
                        record.check()
                        healthy.append(record)
                    except durable.Damaged as problem:
                        damaged.append(problem)
        return healthy, damaged

    def _commit(self, attempt: Attempt, account: dict[str, Any], frames: dict[str, pd.DataFrame]) -> Record:
        attempt._tried = True
        where = f"the account of {attempt.study}/{attempt.trial}"
        for key in ("status", "fingerprint"):
            _need(account, key, where)
        if account["status"] not in STATUSES:
            raise ValueError(f"{where}: status is {account['status']!r}; it is one of {', '.join(STATUSES)}")
        tables.check_account(account, where)
        ended = datetime.now(UTC).isoformat(timespec="milliseconds")
        account = {"run_id": attempt.run_id, "started": attempt.started, "ended": ended, **account}
        account |= {"study": attempt.study, "trial": attempt.trial, "attempt": attempt.number}
        place = self._trial(attempt.study, attempt.trial)
        with self._fence(attempt.study, attempt.trial):
            if attempt._over:
                raise StaleAttempt(f"{attempt.study}/{attempt.trial}: attempt {attempt.number} is over; begin another")
            last = attempt_files.last_begun(place)
            if last != attempt.number:
                raise StaleAttempt(
                    f"{attempt.study}/{attempt.trial}: attempt {attempt.number} (run {attempt.run_id}) may not write, "
                    f"because attempt {last} has begun; its account is thrown away"
                )
            return write(place, attempt.number, attempt.study, attempt.trial, account, frames, tables.OF_A_TRIAL)

    def _trial(self, study: str, trial: str) -> Path:
        return self.lab.records / check_name(study, "study") / check_name(trial, "trial")

    def _noted(self, study: str, kind: str) -> Path:
        return self.lab.records / check_name(study, "study") / _NOTES / check_name(kind, "kind of account")

    def _fence(self, study: str, name: str) -> BaseFileLock:
        """Held for moments: makes "is mine the newest attempt?" and the rename one step."""
        return self._lock("fence", study, name, -1)

    def _lock(self, purpose: str, study: str, name: str, timeout: float) -> BaseFileLock:
        file = self._lock_file(purpose, study, name)
        file.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(file, timeout=timeout)

    def _lock_file(self, purpose: str, study: str, name: str) -> Path:
        return self.lab.locks / "records" / check_name(study, "study") / f"{purpose}-{check_name(name, 'trial')}.lock"

    def _who(self, place: Path) -> str:
        with contextlib.suppress(durable.Damaged, FileNotFoundError):
            begun = durable.read_sealed(attempt_files.begun_file(place, attempt_files.last_begun(place)))
            return f"run {begun['run_id']}, since {begun['started']}"
        return "it has not said who it is"


def _newest(place: Path, study: str, trial: str | None) -> Record | None:
    for number in attempt_files.numbers(place)[::-1]:
        with contextlib.suppress(durable.Damaged):
            record = read(place, number, study, trial)
            record.check()
            return record
    return None


def _need(account: Mapping[str, Any], key: str, where: str) -> None:
    if not account.get(key):
        raise ValueError(f"{where} says nothing about {key!r}")
