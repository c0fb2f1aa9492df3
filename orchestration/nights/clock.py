"""What time it is, and where: the one place that looks at the clock for a night."""

from __future__ import annotations

import datetime as dt
import os
import time
from pathlib import Path
from zoneinfo import ZoneInfo

OFFSET = "NOCTURNE_CLOCK_OFFSET"
"""Environment variable: seconds by which this process takes it to be later than it is. Tests move the clock with it."""

_LOCALTIME, _TIMEZONE = Path("/etc/localtime"), Path("/etc/timezone")


def now() -> dt.datetime:
    """The present moment, UTC."""
    return dt.datetime.now(dt.UTC) + _offset()


def as_recorded(moment: dt.datetime) -> dt.datetime:
    """The moment as records and Dagster's books have it: they know nothing of a clock that a test has moved."""
    return moment - _offset()


def _offset() -> dt.timedelta:
    return dt.timedelta(seconds=float(os.environ.get(OFFSET) or 0))


def zone(name: str | None) -> ZoneInfo | None:
    """The time zone of that name. None is the machine's own; `datetime.astimezone` takes it for that too."""
    return None if name is None else ZoneInfo(name)


def zone_name(name: str | None) -> str | None:
    """`name`, or what the zone of this machine is called; None where it cannot be told (Windows).

    Good for a cron only: windows are reckoned by the rules of the machine itself, under whatever name.
    """
    if name is not None:
        return name
    found = [os.environ.get("TZ", "").lstrip(":")]
    if _LOCALTIME.is_symlink():
        found.append(str(_LOCALTIME.resolve()).partition("zoneinfo/")[2])
    if _TIMEZONE.is_file():
        found.append(_TIMEZONE.read_text(encoding="utf-8", errors="replace").strip())
    for said in found:
        if said and _is_known(said):
            return said
    return "UTC" if time.timezone == 0 and not time.daylight else None


def _is_known(said: str) -> bool:
    try:
        ZoneInfo(said)
    except (ValueError, OSError, KeyError):
        return False
    return True
