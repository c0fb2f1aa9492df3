"""Records to results.duckdb: built beside, checked row by row against the records, swapped in whole.

Nobody writes the published file in place, so a shell that someone left open blocks nothing and is blocked by nothing;
it sees the evening's version until it connects again. The file can be thrown away at any time.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
from filelock import FileLock, Timeout

from storage import durable
from storage.database import CONFIG, Filled, ResultsWrong, fill, layout, log_of, wanted
from storage.lab import Lab
from storage.query import NoResults, QueryFailed, query, read

__all__ = ["NoResults", "PublishReport", "QueryFailed", "ResultsWrong", "publish", "query", "read", "rebuild"]

_WAIT_SECONDS = 120.0


@dataclass(frozen=True)
class PublishReport:
    """What a publishing did."""

    published: bool
    """Whether results.duckdb holds all records now."""

    rebuilt: str
    """Why it was made from nothing; empty when new records were added to what was there."""

    trials: int
    attempts: int
    changed: int
    """Trials whose rows were written in this publishing."""

    damaged: tuple[str, ...]
    """A sentence for each record that is damaged; the others are published."""

    seconds: float
    message: str
    """What was done, or why not."""

    def sentence(self) -> str:
        """All of this for a person."""
        return f"{self.trials} trials, {self.attempts} attempts: {self.message} ({self.seconds:.2f} s)"


def publish(lab: Lab) -> PublishReport:
    """Brings results.duckdb up to date with the records. Safe to call from several processes at once.

    Where nothing is new that is seen from the names in the folders of the records, and nothing is copied or opened.
    A database that is missing, damaged, of another layout, or written into by someone is made again from the records.
    """
    begun = time.perf_counter()
    work = Filled(wanted(lab))
    if _holds(lab, work):
        return _report(work, "", begun, True, "nothing new")
    return _publish(lab, "")


def rebuild(lab: Lab) -> PublishReport:
    """Makes results.duckdb from nothing but the records."""
    return _publish(lab, "asked for")


def _publish(lab: Lab, reason: str) -> PublishReport:
    begun = time.perf_counter()
    new = lab.results.with_name(f".{lab.results.name}.new")
    try:
        with FileLock(lab.locks / "publish.lock", timeout=_WAIT_SECONDS), durable.telling_full(lab.results):
            try:
                _sweep(new)
                durable.sweep(lab.root)
                return _under_lock(lab, new, reason, begun)
            finally:
                _sweep(new)
    except Timeout:
        raise TimeoutError(
            f"{lab.locks / 'publish.lock'}: another process has been publishing for {_WAIT_SECONDS:.0f} s; "
            "the records are safe, publish again when it is gone"
        ) from None


def _under_lock(lab: Lab, new: Path, reason: str, begun: float) -> PublishReport:
    work = None
    if not reason:
        try:
            reason = _copy_published(lab, new)
            work = fill(lab, new, from_nothing=False) if not reason else None
        except (duckdb.Error, ResultsWrong) as problem:
            reason = f"the published database is damaged: {str(problem).splitlines()[0]}"
    if work is None:
        _sweep(new)
        work = fill(lab, new, from_nothing=True)
    if not work.anything:
        _seal(lab, _sealed(lab), work)
        return _report(work, reason, begun, True, "nothing new")
    durable.sync_file(new)
    if reason and reason not in ("asked for", "there was none"):
        _set_aside(lab)
    with contextlib.suppress(OSError):
        log_of(lab.results).unlink(missing_ok=True)  # of someone's shell; beside the new file it would not open
    try:
        durable.replace(new, lab.results)
    except PermissionError:
        return _report(
            work,
            reason,
            begun,
            False,
            f"{lab.results} is held open by another program, so it still shows the state "
            "before; nothing is lost, the records have it all: close that program and run `nocturne db rebuild`",
        )
    durable.sync_folder(lab.root)
    _seal(lab, _facts(lab), work)
    return _report(work, reason, begun, True, f"{work.changed} trials written")


def _report(work: Filled, reason: str, begun: float, published: bool, message: str) -> PublishReport:
    seconds = time.perf_counter() - begun
    if reason:
        message += f"; made again from the records ({reason})"
    if work.damaged:
        message += f"; {len(work.damaged)} records are damaged and shown as such: {work.damaged[0]}"
    return PublishReport(
        published,
        reason,
        len(work.wanted.expected),
        work.wanted.attempts,
        work.changed,
        tuple(work.damaged),
        seconds,
        message,
    )


def _copy_published(lab: Lab, new: Path) -> str:
    """Copies the published file to `new`; why it cannot be built on, or nothing."""
    if not lab.results.exists():
        return "there was none"
    facts = _facts(lab)
    shutil.copyfile(lab.results, new)
    # Looked at after copying too: someone's shell may have written into it meanwhile.
    if not _is_sealed(lab, facts) or _facts(lab) != facts:
        return "the published database was changed by another program"
    with duckdb.connect(str(new), config=CONFIG) as connection:
        found = dict(connection.execute("SELECT name, value FROM about").fetchall())
    if found.get("layout") != layout():
        return "its tables are those of another version"
    return ""


def _set_aside(lab: Lab) -> None:
    """Keeps the last database that was not ours to build on, for a person to look at; readers see no gap."""
    aside = lab.root / "results.set-aside.duckdb"
    with contextlib.suppress(OSError):
        aside.unlink(missing_ok=True)
        try:
            os.link(lab.results, aside)
        except OSError:
            shutil.copyfile(lab.results, aside)


def _seal(lab: Lab, facts: dict[str, Any], work: Filled) -> None:
    """Notes beside the database that it is ours, and what it holds where that cannot change by itself."""
    holds = work.wanted.digest() if work.settled else ""
    durable.write_sealed(_seal_file(lab), {**facts, "holds": holds})


def _holds(lab: Lab, work: Filled) -> bool:
    """Whether the published file is the one that was sealed, and holds all that is wanted."""
    if not lab.results.exists() or not _is_sealed(lab, _facts(lab)):
        return False
    return _sealed(lab).get("holds") == work.wanted.digest()


def _is_sealed(lab: Lab, facts: dict[str, Any]) -> bool:
    return facts.items() <= _sealed(lab).items()


def _sealed(lab: Lab) -> dict[str, Any]:
    with contextlib.suppress(durable.Damaged, FileNotFoundError):
        return durable.read_sealed(_seal_file(lab))
    return {}


def _facts(lab: Lab) -> dict[str, Any]:
    facts = lab.results.stat()
    return {"bytes": facts.st_size, "modified_ns": facts.st_mtime_ns}


def _seal_file(lab: Lab) -> Path:
    return lab.root / ".results.json"


def _sweep(new: Path) -> None:
    for left in (new, log_of(new)):
        with contextlib.suppress(OSError):
            left.unlink(missing_ok=True)
