"""What held a night up, from what the sensor `nights` said each time it looked: and when nobody looked at all."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import dagster as dg
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.scheduler.instigation import InstigatorTick, TickStatus

from ml.studies.study import Study
from orchestration.nights import clock, marks
from orchestration.nights.driving import AT_REST
from orchestration.nights.looking_back import Evening, Span, Tried

HOLDUPS = (
    "the GPU is held by",
    "are to stay free",
    "no such folder",
    "cannot be read now",
    "is turned off on the page",
    "could not be prepared",
    "they are built again at",
    "was ended by a person",
    "its settings cannot be read",
    "is new since the definitions were loaded",
)
"""Words by which a sentence of the sensor says that a night waits for something."""

OF_SOME_TRIALS = ("was ended by a person", "is new since the definitions were loaded")
"""Those that keep trials from being begun, and no night: the others of the study are trained meanwhile."""

OF_DATA = "the run that prepares its data"
"""Said where a person ended that one: for it every trial waits."""

BETWEEN = dt.timedelta(minutes=1)
"""So long it takes from one run to the next: a study that is between two is at work."""

MANY = 20_000
"""Looks of one night: one every few seconds."""

LOOKED_FOR = dt.timedelta(days=6)
"""Of a night that is longer ago Dagster has thrown away when nothing was asked for."""

SILENCE = 600.0
"""So many seconds without a look, or a tenth of a very short night: the machine slept, or nothing was up."""


Key = tuple[str, str, bool]
"""Whose it is, the words without their numbers, and whether the study was at work meanwhile."""


@dataclass(frozen=True)
class Holdup:
    """Something for which a night waited."""

    whose: str
    """The study; "" for all of them."""
    said: str
    since: dt.datetime
    until: dt.datetime
    beside: bool = False
    """Whether the study was at work all the same: only some of its trials waited."""

    def takes_most_of(self, evening: Evening) -> bool:
        """Did it hold the nights of the evening up for more than half of their time?"""
        return not self.beside and self.until - self.since > (evening.ends - evening.begins) / 2


def holdups(
    instance: dg.DagsterInstance,
    evening: Evening,
    now: dt.datetime,
    studies: Sequence[Study],
    worked: Mapping[str, Sequence[Tried]] | None = None,
) -> list[Holdup]:
    """What held the nights of the evening up, in the order in which it began; nothing where there are no nights.

    `worked`: by study, the trials that were worked at: meanwhile a trial that is left aside holds nothing up.
    """
    shift = now - clock.as_recorded(now)
    ends = min(evening.ends, now)
    if not evening.nights or now - evening.begins > LOOKED_FOR:
        return []
    looks = _ticks(instance, evening.begins - shift, ends - shift)
    if looks is None:
        return []
    ticks = sorted(((dt.datetime.fromtimestamp(tick.timestamp, dt.UTC) + shift, tick) for tick in looks), key=_first)
    found = _silences([moment for moment, _ in ticks], evening.begins, ends)
    names = "|".join(re.escape(study.name) for study in studies)
    going_on: dict[Key, Holdup] = {}
    for moment, tick in ticks:
        if tick.status == TickStatus.SUCCESS:  # it asked for runs, and says nothing of what waits meanwhile
            continue
        seen = {
            (*key, _is_of_some(said) and _at_work(worked, key[0], moment)): said
            for key, said in _sentences(tick, names).items()
        }
        rests = tick.skip_reason or ""  # what was said when the plan was made holds until it is made again
        for key in [key for key in going_on if key not in seen and f"{key[0]}: {AT_REST}" not in rests]:
            found.append(replace(going_on.pop(key), until=moment))
        for key, said in seen.items():
            before = going_on.get(key)
            going_on[key] = Holdup(key[0], said, before.since if before else moment, moment, key[2])
    found += list(going_on.values())
    return sorted(found, key=lambda one: one.since)


def _ticks(instance: dg.DagsterInstance, since: dt.datetime, until: dt.datetime) -> list[InstigatorTick] | None:
    """Every look between two moments of Dagster's books; None where `nocturne up` never ran in this lab."""
    states = instance.all_instigator_state(instigator_type=InstigatorType.SENSOR)
    own = [state for state in states if state.instigator_name == marks.SENSOR]
    span = {"after": since.timestamp() - 1, "before": until.timestamp(), "limit": MANY}
    found = [tick for one in own for tick in instance.get_ticks(one.instigator_origin_id, one.selector_id, **span)]
    return found if own else None


def _is_of_some(said: str) -> bool:
    """Does the sentence say only that some trials are left aside?"""
    whole = [words for words in HOLDUPS if words not in OF_SOME_TRIALS]
    return OF_DATA not in said and not any(words in said for words in whole)


def _at_work(worked: Mapping[str, Sequence[Tried]] | None, study: str, moment: dt.datetime) -> bool:
    """Was a trial of the study trained then, or between two of them?"""
    spans = [span for one in (worked or {}).get(study, ()) for span in one.spans]
    return any(span.begins - BETWEEN <= moment <= _end_of(span, moment) + BETWEEN for span in spans)


def _end_of(span: Span, moment: dt.datetime) -> dt.datetime:
    """Of what goes on: not yet. Nobody knows when one that died did so: it is not counted on."""
    return span.ends or (moment if span.outcome == "running" else span.begins)


def _first(pair: tuple[dt.datetime, InstigatorTick]) -> dt.datetime:
    return pair[0]


def _sentences(tick: InstigatorTick, names: str) -> dict[tuple[str, str], str]:
    """What the night waits for at this look, by study and by words without their numbers."""
    if tick.status == TickStatus.FAILURE:
        why = " ".join((tick.error.message if tick.error else "").split())
        return {("", "failure"): f"the sensor `nights` failed: {why}"}
    seen = {}
    for part in re.split(rf"; (?=(?:{names}): )", tick.skip_reason or ""):
        whose, _, said = part.partition(": ")
        if any(words in said for words in HOLDUPS):
            seen[whose, re.sub(r"\d+", "", said)] = said
    return seen


def _silences(looks: Sequence[dt.datetime], begins: dt.datetime, ends: dt.datetime) -> list[Holdup]:
    """When nobody looked: the machine slept, or `nocturne up` did not run."""
    longest = min(SILENCE, (ends - begins).total_seconds() / 10)
    moments = [begins, *sorted(looks), ends]
    return [
        Holdup("", "nothing looked after the night: the machine slept, or `nocturne up` did not run", one, other)
        for one, other in pairwise(moments)
        if (other - one).total_seconds() > max(longest, 60.0)
    ]
