"""When a night of a study begins and ends: clock on the wall in, moments out.

The wall's clock is what a person reads: on the two nights of the year on which it jumps, a night is an hour longer or
shorter, and it ends at ten all the same. Moments are UTC; what the clock shows then is asked of `Night.shown`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from ml.studies.night import WEEK, NightConfig
from orchestration.nights import clock

DAY = dt.timedelta(days=1)
_FAR = 15
"""Days to look around: every week has each day once, and the shortest of nights may fall into the jump of the clock."""


@dataclass(frozen=True)
class Night:
    """One night of one study."""

    study: str
    name: str
    """The date of its evening, where the clock hangs: 2026-11-21; what begins after midnight is of the one before."""
    begins: dt.datetime
    """UTC."""
    ends: dt.datetime
    """UTC: the bell. From here on the machine is wanted by somebody else."""
    zone: ZoneInfo | None = None
    """Where the clock hangs; None: where this machine is."""

    @property
    def tag(self) -> str:
        """How runs are marked that belong to it: `STUDY 2026-11-21`."""
        return f"{self.study} {self.name}"

    def left(self, now: dt.datetime) -> float:
        """Seconds of it that are still to come; all of them before it begins."""
        return max(0.0, (self.ends - max(now, self.begins)).total_seconds())

    def shown(self, moment: dt.datetime) -> str:
        """What the clock shows at a moment: `17:00`, with the day where that is not the one on which it begins."""
        local = moment.astimezone(self.zone)
        time = f"{local:%H:%M}" if local.second == 0 or self._is_long else f"{local:%H:%M:%S}"
        return time if f"{local:%Y-%m-%d}" == self.day else f"{time} ({local:%a %d %b})"

    @property
    def day(self) -> str:
        """The date on which it begins; that is not its name where it begins after midnight."""
        return f"{self.begins.astimezone(self.zone):%Y-%m-%d}"

    @property
    def _is_long(self) -> bool:
        return self.ends - self.begins >= dt.timedelta(hours=1)


def night_at(config: NightConfig, now: dt.datetime, study: str) -> Night | None:
    """The night that is going on, or None."""
    return next((night for night in _around(config, now, study) if night.begins <= now < night.ends), None)


def next_night(config: NightConfig, now: dt.datetime, study: str) -> Night | None:
    """The first night that begins later than now; None where the study has none."""
    return next((night for night in _around(config, now, study) if night.begins > now), None)


def last_night(config: NightConfig, now: dt.datetime, study: str) -> Night | None:
    """The newest night that is over; None where the study has none."""
    return next((night for night in reversed([*_around(config, now, study)]) if night.ends <= now), None)


def _around(config: NightConfig, now: dt.datetime, study: str) -> Iterator[Night]:
    """The nights before and after a moment, in order."""
    if not config.on:
        return
    zone = clock.zone(config.timezone)
    today = now.astimezone(zone).date()
    for days in range(-_FAR, _FAR + 1):
        evening = today + days * DAY
        if WEEK[evening.weekday()] not in config.days:
            continue
        first = evening + DAY if config.begins_after_midnight else evening
        last = first if config.ends_at > config.begins_at else first + DAY
        begins, ends = _moment(first, config.begins_at, zone), _moment(last, config.ends_at, zone)
        if begins < ends:  # minutes that the clock leaps over in spring are no night
            yield Night(study, evening.isoformat(), begins, ends, zone)


def _moment(date: dt.date, time: dt.time, zone: ZoneInfo | None) -> dt.datetime:
    """When the clock shows that: the first time where it does so twice, as much later where it leaps over it."""
    shown = dt.datetime.combine(date, time, zone)
    return shown.astimezone(dt.UTC)
