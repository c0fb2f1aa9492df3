"""What happened in a night: which trials were worked at, when, how often, and what came of each.

From the records, which hold whoever began a trial: the night, a backfill, a person. Dagster's books say when a night
began whose hours were moved since.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg

from ml.config import ConfigError
from ml.studies.night import NightConfig
from ml.studies.registry import ALL_STUDIES
from ml.studies.study import Study
from orchestration.nights import clock
from orchestration.nights.marks import DATA, NIGHT, REPORT, night_of
from orchestration.nights.runs import runs_of, runs_since
from orchestration.nights.window import DAY, Night, last_night, next_night, night_at
from orchestration.nights.work import GIVEN_UP
from orchestration.resources import Bench

LOOKED_BACK = 7 * DAY
"""So far the newest evening is looked for among runs."""

DIED = "died"
"""What came of an attempt that left no record: it was killed, ran out of memory, or the power went."""


@dataclass(frozen=True)
class Evening:
    """All nights of one evening, and what belongs to them: everything until the next ones begin."""

    name: str
    """The date: 2026-11-21."""
    begins: dt.datetime
    ends: dt.datetime
    """The last bell; where no study has nights, the moment of looking."""
    until: dt.datetime
    """What began after this belongs to another night, or has not happened yet."""
    nights: dict[str, Night] = field(default_factory=dict)
    """By study; empty where no study has nights: then it is the last 24 hours, or a day from noon to noon."""

    @property
    def zone(self) -> ZoneInfo | None:
        """Where the clock of its first night hangs; None: where this machine is."""
        return next((night.zone for night in self.nights.values()), None)

    def shown(self, moment: dt.datetime) -> str:
        """What the clock shows at a moment, with seconds that are not zero where the night is a matter of minutes."""
        local = moment.astimezone(self.zone)
        is_short = self.ends - self.begins < dt.timedelta(hours=1)
        return f"{local:{'%H:%M:%S' if is_short and local.second else '%H:%M'}}"

    def day(self, moment: dt.datetime) -> str:
        """The date at a moment, for a person."""
        local = moment.astimezone(self.zone)
        return f"{local:%A}, {local.day} {local:%B %Y}"


@dataclass(frozen=True)
class Span:
    """One attempt on the clock."""

    begins: dt.datetime
    ends: dt.datetime | None
    """None: nobody knows; it died, or it goes on."""
    outcome: str


@dataclass(frozen=True)
class Tried:
    """A trial that was worked at in the night."""

    trial: str
    outcome: str
    """Of its last attempt: finished, paused, failed, diverged, died or running; failed where it was given up."""
    why: str
    """In a sentence; "" where it finished."""
    again: bool
    """Whether another try, with nothing changed, can help."""
    epochs_done: int | None
    epochs_planned: int | None
    spans: tuple[Span, ...]
    run_id: str = ""

    @property
    def seconds(self) -> float:
        """Of all its attempts whose end is known."""
        return sum((span.ends - span.begins).total_seconds() for span in self.spans if span.ends)

    @property
    def attempts(self) -> int:
        return len(self.spans)

    def count(self, outcome: str) -> int:
        """How many of its attempts ended so."""
        return sum(span.outcome == outcome for span in self.spans)


def evening_at(
    bench: Bench,
    now: dt.datetime,
    name: str | None = None,
    studies: Sequence[Study] = ALL_STUDIES,
    instance: dg.DagsterInstance | None = None,
) -> Evening:
    """The evening of that date; without a name the newest one that has begun, else the last 24 hours. One of a date on
    which no study had a night goes from noon to noon.

    It begins when its first run was to begin (`instance`), whatever the settings have come to say meanwhile: what was
    trained before its hours were moved belongs to it.
    """
    configs = {study.name: config for study in studies if (config := _night_config(bench, study)) is not None}
    if name is None:
        begun = [
            night.name
            for study, config in configs.items()
            for night in (night_at(config, now, study) or last_night(config, now, study),)
            if night is not None
        ]
        if instance is not None:
            since = clock.as_recorded(now) - LOOKED_BACK
            marked = (night_of(run.run.tags) for run in runs_since(instance, DATA, since))
            begun += [night.name for night in marked if night is not None and night.begins <= now]
        name = max(begun, default=None)
    nights = {}
    for study, config in configs.items():
        if name is not None and (night := _named(config, name, study)) is not None and night.begins <= now:
            nights[study] = night
    if instance is not None and name is not None:
        for one in studies:
            zone = clock.zone(configs[one.name].timezone) if one.name in configs else None
            for began in _marked(instance, f"{one.name} {name}", now):
                night = nights.setdefault(one.name, replace(began, zone=zone))
                nights[one.name] = replace(night, begins=min(night.begins, began.begins))
    if not nights:
        today = f"{now.astimezone(None):%Y-%m-%d}"
        if name in (None, today):
            return Evening(today, now - DAY, now, now)
        noon = dt.datetime.fromisoformat(f"{name}T12:00").astimezone()
        return Evening(str(name), noon, noon + DAY, min(now, noon + DAY))
    begins, ends = min(one.begins for one in nights.values()), max(one.ends for one in nights.values())
    following = [
        night.begins
        for study, config in configs.items()
        if (night := _after(config, str(name), nights[study].begins if study in nights else ends, study)) is not None
        and night.begins > begins
    ]
    return Evening(str(name), begins, ends, min([now, *following]), nights)


def evenings_in(instance: dg.DagsterInstance) -> set[str]:
    """The evenings of which there are runs in Dagster's books."""
    tagged = instance.get_run_tags(tag_keys=[NIGHT])
    return {said.rpartition(" ")[2] for _, values in tagged for said in values if not said.startswith(REPORT)}


def tried_in(bench: Bench, study: Study, evening: Evening, now: dt.datetime) -> list[Tried]:
    """The trials of the study that were worked at, in the order in which they were first begun."""
    found = [_tried(bench, study.name, trial, evening, now) for trial in bench.records.trials(study.name)]
    return sorted((one for one in found if one is not None), key=lambda one: (one.spans[0].begins, one.trial))


def ended_at(account: dict[str, Any], now: dt.datetime) -> dt.datetime:
    """When the attempt ended, by the clock of the nights: records know nothing of one that a test has moved."""
    return dt.datetime.fromisoformat(account["ended"]) + (now - clock.as_recorded(now))


def _night_config(bench: Bench, study: Study) -> NightConfig | None:
    """None where nobody can tell: its settings are wrong, or it has no source."""
    try:
        config = bench.settings(study).night
        return config if bench.source_or_none(study) is not None else None
    except ConfigError:
        return None


def _named(config: NightConfig, name: str, study: str) -> Night | None:
    """The night of that date."""
    moment = dt.datetime.fromisoformat(name).replace(tzinfo=dt.UTC) - DAY
    while (night := next_night(config, moment, study)) is not None and night.name <= name:
        if night.name == name:
            return night
        moment = night.begins
    return None


def _after(config: NightConfig, name: str, moment: dt.datetime, study: str) -> Night | None:
    """The first night after that moment which is of another evening."""
    night = next_night(config, moment, study)
    while night is not None and night.name == name:
        night = next_night(config, night.begins, study)
    return night


def _marked(instance: dg.DagsterInstance, night: str, now: dt.datetime) -> list[Night]:
    """The night as its runs are marked with it, the newest first: its hours may have been moved between them."""
    found = (night_of(run.run.tags) for run in reversed(runs_of(instance, night)))
    return [one for one in found if one is not None and one.begins <= now]


def _tried(bench: Bench, study: str, trial: str, evening: Evening, now: dt.datetime) -> Tried | None:
    begun = {
        number: (dt.datetime.fromisoformat(said["started"]), str(said.get("run_id", "")))
        for number, said in bench.records.begun(study, trial).items()
    }
    newest = [number for number, (began, _) in begun.items() if began < evening.until]
    if not newest:
        return None
    accounts = {record.number: record.account for record in bench.records.history(study, trial)}
    left_a_record = bench.records.ended(study, trial)
    spans: list[Span] = []
    last, given_up = 0, ""
    for number in sorted(newest):
        began, account = begun[number][0], accounts.get(number)
        if account and GIVEN_UP in account:  # nobody was at the trial: it is said of the attempts before
            last, given_up = (number, str(account["status"])) if spans else (last, given_up)
            continue
        ended = ended_at(account, now) if account else None
        running = number not in left_a_record and account is None
        if max(began, ended or (now if running else began)) < evening.begins:
            continue
        outcome = str(account["status"]) if account else "running" if running else DIED
        # Whole seconds are recorded: an attempt of a moment must not end before it began.
        spans.append(Span(began, max(ended, began) if ended else None, outcome))
        last, given_up = number, ""
    if not spans:
        return None
    account = accounts.get(last, {})
    outcome = given_up or spans[-1].outcome
    why = "" if outcome == "finished" else str(account.get("error") or "").split("\n")[0]
    if outcome == DIED:
        why = "it ended without a word: killed, out of memory, stood still for long, or the power went"
    return Tried(
        trial,
        outcome,
        why,
        outcome in (DIED, "paused") or bool(account.get("again") or account.get("later")),
        account.get("epochs_done"),
        account.get("epochs_planned"),
        tuple(spans),
        begun[last][1],
    )
