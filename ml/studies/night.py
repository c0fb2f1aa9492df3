"""When trials of a study may run by themselves: the night that a lab grants it, as it is written in `studies.yaml`."""

from __future__ import annotations

import datetime as dt
import re
from typing import Any, Literal
from zoneinfo import ZoneInfo

from pydantic import Field, field_validator

from ml.config import Config

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
WEEK: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

_TIME = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?")


class NightConfig(Config):
    """When a night begins and ends, and what is trained in it. None of it is part of a trial's identity."""

    on: bool = True
    """Whether trials of the study are begun at night without being asked for. False: by hand only."""
    starts: str = "17:00"
    """When a night begins, on the clock of `timezone`: HH:MM or HH:MM:SS."""
    ends: str = "10:00"
    """When the machine is free again; a time that is not later than `starts` is one of the next day."""
    timezone: str | None = None
    """Where the clock hangs, such as Europe/Berlin; null: where this machine is."""
    days: tuple[Day, ...] = Field(default=WEEK, min_length=1)
    """Evenings that have a night: mon, tue, wed, thu, fri, sat, sun. One that begins after midnight is of the evening
    before: with fri it begins at 01:00 on Saturday."""
    order: Literal["declared", "smart"] = "declared"
    """Which trial comes next: declared, as the study lists them; smart, what the finished ones make likely to win."""
    mode: str | None = None
    """Only the trials of this grid, such as quick; null: all trials of the study."""
    attempts: int = Field(default=3, ge=1, le=100)
    """How often one trial is begun in one night before it is given up until the next."""
    grace_seconds: float = Field(default=120.0, ge=0, le=3600)
    """In the morning an epoch may still end within this time; then training stops in its middle."""

    @field_validator("starts", "ends", mode="before")
    @classmethod
    def _as_written(cls, said: Any) -> Any:
        # YAML takes an unquoted 17:00 for the number 1020, and 17:00:00 for 61200: each stands for one time only.
        if type(said) is int and 60 <= said < 24 * 60:
            return f"{said // 60:02d}:{said % 60:02d}"
        if type(said) is int and 3600 <= said < 24 * 3600:
            return f"{said // 3600:02d}:{said // 60 % 60:02d}:{said % 60:02d}"
        return said

    @field_validator("starts", "ends")
    @classmethod
    def _is_a_time(cls, said: str) -> str:
        if not _TIME.fullmatch(said):
            raise ValueError('a time of day is written "17:00" or "17:00:30", from 00:00 to 23:59')
        return said

    @field_validator("timezone")
    @classmethod
    def _is_a_place(cls, said: str | None) -> str | None:
        if said is not None:
            try:
                ZoneInfo(said)
            except (ValueError, OSError, KeyError):
                raise ValueError(
                    "a time zone is written like Europe/Berlin or UTC; null is the machine's own"
                ) from None
        return said

    @property
    def begins_at(self) -> dt.time:
        """`starts` as a time of day."""
        return _time(self.starts)

    @property
    def ends_at(self) -> dt.time:
        """`ends` as a time of day."""
        return _time(self.ends)

    @property
    def begins_after_midnight(self) -> bool:
        """Whether a night begins on the day after its evening: its middle is in a morning (08:00 to 20:00 is a day)."""
        begins, ends = (
            dt.timedelta(hours=at.hour, minutes=at.minute, seconds=at.second) for at in (self.begins_at, self.ends_at)
        )
        return begins < ends and begins + ends < dt.timedelta(days=1)

    @property
    def days_of_beginning(self) -> tuple[Day, ...]:
        """The days of the calendar on which a night begins."""
        if not self.begins_after_midnight:
            return self.days
        return tuple(WEEK[(WEEK.index(day) + 1) % len(WEEK)] for day in self.days)


def _time(said: str) -> dt.time:
    return dt.time.fromisoformat(said if said[2] == ":" else f"0{said}")
