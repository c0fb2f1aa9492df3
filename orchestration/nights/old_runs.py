"""Runs of long ago in Dagster's books: what they printed goes, and of those that nothing stands on the rest too.

The page and what follows by itself read from a run when a partition was last materialized: such runs stay in the books.
"""

from __future__ import annotations

import datetime as dt
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from orchestration.instance_home import prepare_instance
from storage.leftovers import bytes_of

if TYPE_CHECKING:
    import dagster as dg

OLD_DAYS = 90


@dataclass(frozen=True)
class OldRun:
    """One run that ended long ago."""

    run_id: str
    ended: float
    """Seconds since 1970."""
    bytes: int
    """That become free when it goes as far as it may."""
    whole: bool
    """Whether nothing stands on it, so that it goes from the books as well."""


def old_runs(home: Path, now: dt.datetime, days: int = OLD_DAYS) -> list[OldRun]:
    """The runs in `home` that ended more than `days` ago and still take room, oldest first."""
    before = now - dt.timedelta(days=days)
    if not any(path.stat().st_mtime < before.timestamp() for path in _books(home).glob("*-*.db")):
        return []  # the usual case costs no import of Dagster
    import dagster as dg

    prepare_instance(home)
    status = dg.DagsterRunStatus
    ended = [status.SUCCESS, status.FAILURE, status.CANCELED]
    with dg.DagsterInstance.get() as instance:
        records = instance.get_run_records(dg.RunsFilter(statuses=ended, updated_before=before), ascending=True)
        held = _stood_on(instance) if records else set()
        found = []
        for record in records:
            run_id = record.dagster_run.run_id
            whole = run_id not in held and not _checked_something(instance, run_id)
            taken = bytes_of(_printed(home, run_id)) + whole * sum(path.stat().st_size for path in _book(home, run_id))
            if taken:
                found.append(OldRun(run_id, record.update_timestamp.timestamp(), taken, whole))
    return found


def remove_run(home: Path, run: OldRun) -> bool:
    """Removes what it printed and, where nothing stands on it, what the books say of it."""
    import dagster as dg

    shutil.rmtree(_printed(home, run.run_id), ignore_errors=True)
    if run.whole:
        prepare_instance(home)
        with dg.DagsterInstance.get() as instance:
            instance.delete_run(run.run_id)
        for path in _book(home, run.run_id):
            path.unlink(missing_ok=True)  # Dagster empties the file and leaves it
    return True


def _stood_on(instance: dg.DagsterInstance) -> set[str]:
    """The runs that materialized some asset or partition last."""
    found = set()
    for key in instance.all_asset_keys():
        seen: set[str | None] = set()
        cursor = None
        while True:
            page = instance.fetch_materializations(key, limit=1000, cursor=cursor)
            for record in page.records:  # newest first
                if record.partition_key not in seen:
                    seen.add(record.partition_key)
                    found.add(record.run_id)
            if not page.has_more:
                break
            cursor = page.cursor
    return found


def _checked_something(instance: dg.DagsterInstance, run_id: str) -> bool:
    import dagster as dg

    return bool(instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION))


def _books(home: Path) -> Path:
    return home / "history" / "runs"


def _book(home: Path, run_id: str) -> list[Path]:
    """The files of the books that are about this run alone."""
    return [path for end in ("", "-wal", "-shm") if (path := _books(home) / f"{run_id}.db{end}").is_file()]


def _printed(home: Path, run_id: str) -> Path:
    return home / "storage" / run_id
