"""What `nocturne up` and the sensors under it wrote down for a person long ago, and nobody writes to any more."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import Timeout

from orchestration.nights.awake import nobody_is_up
from orchestration.nights.old_runs import OLD_DAYS
from storage.lab import Lab

BEFORE = ".before.log"
"""How the logs of the `nocturne up` before the last one end: nobody has them open."""


@dataclass(frozen=True)
class OldLog:
    """One file to which nothing was added for long."""

    path: Path
    bytes: int
    since: float
    """When something was added last, seconds since 1970."""

    @property
    def is_of_the_last_up(self) -> bool:
        return self.path.parent.name == "up" and not self.path.name.endswith(BEFORE)


def old_logs(lab: Lab, now: dt.datetime, days: int = OLD_DAYS) -> list[OldLog]:
    """The logs to which nothing was added for `days`, oldest first, without those of an `up` that works now."""
    before = (now - dt.timedelta(days=days)).timestamp()
    found = []
    for path in _logs(lab.dagster_home):
        with suppress(FileNotFoundError):  # moved by an `up` that starts at this moment
            facts = path.stat()
            if path.is_file() and facts.st_mtime < before:
                found.append(OldLog(path, facts.st_size, facts.st_mtime))
    found.sort(key=lambda one: one.since)
    if any(one.is_of_the_last_up for one in found):
        with suppress(Timeout), nobody_is_up(lab):
            return found
    return [one for one in found if not one.is_of_the_last_up]


def remove_logs(lab: Lab, logs: Sequence[OldLog]) -> bool:
    """Removes them, but for those that an `up` which was started meanwhile writes to; False where all stay."""
    gone = 0
    with ExitStack() as stack:
        if any(one.is_of_the_last_up for one in logs):
            try:
                stack.enter_context(nobody_is_up(lab))
            except Timeout:
                logs = [one for one in logs if not one.is_of_the_last_up]
        for one in logs:
            with suppress(FileNotFoundError):
                if one.path.stat().st_mtime == one.since:
                    one.path.unlink()
                    gone += 1
    return gone > 0


def _logs(home: Path) -> list[Path]:
    """Of the processes of `up`; of the looks of sensors and schedules that had something to say."""
    return [*(home / "up").glob("*.log"), *(home / "storage").glob("__repository__*/*/*.*")]
