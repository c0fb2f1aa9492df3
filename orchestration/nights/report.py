"""The report of a night: one page that says what happened, what was learned, and what waits for a person."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import dagster as dg

from ml.config import ConfigError
from ml.studies.registry import ALL_STUDIES
from ml.studies.study import Study
from ml.studies.words import counted
from orchestration.failures import sentence
from orchestration.nights.advice import Advice, of_a_study, of_the_house, of_the_night
from orchestration.nights.confounds import confounds
from orchestration.nights.holdups import Holdup, holdups
from orchestration.nights.house import BadFiles, Fact, Runs, bad_files, facts, runs_in
from orchestration.nights.learned import Learned, learned
from orchestration.nights.looking_back import DIED, Evening, Tried, evening_at, tried_in
from orchestration.nights.planning import Entry, StudyPlan, plan_nights
from orchestration.resources import Bench, NotReady
from storage import durable

NEXT = 6
"""Trials of the next night that are named, for each study."""

OUTCOMES = {
    "finished": "finished",
    "paused": "paused",
    "failed": "failed",
    "diverged": "diverged",
    DIED: "ended without a word",
    "running": "still at work",
}
"""What a trial can have come to, in the order in which it is told, and how that is said."""


VERBS = {"paused": "is paused", "running": "is still at work"}
"""How it is said of one alone, where that differs."""


@dataclass(frozen=True)
class OfStudy:
    """What the report says of one study."""

    study: Study
    tried: list[Tried]
    known: Learned | None
    problem: str
    """Why nothing can be said of its results; "" where it can."""
    bad: BadFiles
    upcoming: StudyPlan | None
    notes: list[str]
    """What to know before its next night is spent."""
    advice: list[Advice]

    @property
    def told(self) -> str:
        """How much was done and is left, in a few words."""
        outcomes = Counter(one.outcome for one in self.tried)
        said = [f"{outcomes[name]} {OUTCOMES[name]}" for name in OUTCOMES if outcomes[name]] or ["nothing was trained"]
        return ", ".join([*said, *([f"{self.not_begun} not begun yet"] if self.not_begun else [])])

    @property
    def unfinished(self) -> list[Tried]:
        """What was worked at and did not finish, what went wrong first."""
        order = ["failed", "diverged", DIED, "running", "paused"]
        return sorted((one for one in self.tried if one.outcome in order), key=lambda one: order.index(one.outcome))

    @property
    def next_entries(self) -> list[Entry]:
        """The first of what its next night begins."""
        return self.upcoming.tonight[:NEXT] if self.upcoming else []

    @property
    def next_more(self) -> int:
        """How many more there are."""
        return len(self.upcoming.tonight) - len(self.next_entries) if self.upcoming else 0

    @property
    def left(self) -> int:
        """Trials that are to be trained, what is paused or failed included."""
        if self.upcoming is None:
            return 0
        return len(self.upcoming.named("tonight", "begins tonight", "next night", "no room"))

    @property
    def not_begun(self) -> int:
        """Trials that are left and that this night did not come to."""
        if self.upcoming is None:
            return 0
        names = {one.trial for one in self.tried}
        return sum(entry.when != "done" and entry.trial.name not in names for entry in self.upcoming.entries)


@dataclass(frozen=True)
class Report:
    """All that a morning's page shows."""

    evening: Evening
    written: dt.datetime
    studies: list[OfStudy]
    silent: list[tuple[str, str]]
    """Studies that nothing is said of, and why: nobody has set them up."""
    facts: list[Fact]
    advice: list[Advice]
    holdups: list[Holdup]

    @property
    def is_over(self) -> bool:
        """Has the last bell rung?"""
        return self.written >= self.evening.ends

    @property
    def tried(self) -> list[Tried]:
        """Everything that was worked at."""
        return [one for study in self.studies for one in study.tried]

    @property
    def outcomes(self) -> dict[str, int]:
        """How many trials came to what; only what there was."""
        outcomes = Counter(one.outcome for one in self.tried)
        return {name: outcomes[name] for name in OUTCOMES if outcomes[name]}

    @property
    def left(self) -> int:
        """Trials that are to be trained, of all studies."""
        return sum(one.left for one in self.studies)

    @property
    def left_for(self) -> str:
        """How many of them the next night has room for; "" where nobody knows how long they take, and while this night
        goes on, which is at them itself."""
        plans = [one.upcoming for one in self.studies if one.upcoming and one.upcoming.tonight]
        if not self.is_over or any(plan.until is None for plan in plans):
            return ""
        fits = sum(len(plan.tonight) for plan in plans)
        return " for the next night" if fits == self.left else f", {fits or 'none'} of them for the next night"

    @property
    def _why_nothing(self) -> str:
        """Why no trial was begun, as far as the looks of the night tell."""
        if not self.studies:
            return "no study has a source folder yet (at the end of the page: how to set one)"
        held = [one for one in self.holdups if one.takes_most_of(self.evening)]
        if not held:
            return "there was nothing left to do, or nothing could be begun"
        first = next((one for one in held if one.whose), held[0])
        others = sorted({one.whose for one in held} - {first.whose, ""})
        # What to do about it is told below, in full.
        said = f"{first.whose}: {first.said}".removeprefix(": ").partition("; ")[0].replace("`", "")
        return f"{said} (held up too: {', '.join(others)})" if others else said

    @property
    def headline(self) -> str:
        """The night in a sentence."""
        number = len(self.tried)
        if not number:
            return f"Nothing was trained: {self._why_nothing}."
        said = [f"{amount} {OUTCOMES[name]}" for name, amount in self.outcomes.items()]
        if len(self.outcomes) == 1 and number == 1:
            return f"The one trial that ran {VERBS.get(self.tried[0].outcome, said[0].partition(' ')[2])}."
        if list(self.outcomes) == ["finished"]:
            return f"All {number} trials that ran finished."
        return f"{counted(number, 'trial')} ran: {', '.join(said)}."


def collect(
    bench: Bench,
    instance: dg.DagsterInstance | None,
    now: dt.datetime,
    name: str | None = None,
    studies: Sequence[Study] = ALL_STUDIES,
) -> Report:
    """Everything there is to say of the evening of that date (the newest one without a name).

    What goes wrong with one study is said in its place; the others are told all the same.
    """
    evening = evening_at(bench, now, name, studies, instance)
    plans = {one.study.name: one for one in _plans(bench, now, studies)}
    told, silent = [], []
    for study in studies:
        tried = tried_in(bench, study, evening, now)
        missing, unread = _not_set_up(bench, study)
        if missing and not tried:
            silent.append((study.name, missing))
        else:
            told.append(_of_study(bench, study, tried, plans.get(study.name), missing, unread))
    runs: Runs | None = runs_in(instance, evening, now) if instance is not None else None
    found = facts(bench, runs, [one for study in told for one in study.tried], now)
    worked = {study.study.name: study.tried for study in told}
    held = holdups(instance, evening, now, studies, worked) if instance is not None else []
    advice = [
        *of_the_house(found, runs),
        *of_the_night(held, evening),
        *(one for study in told for one in study.advice),
    ]
    held = [one for one in held if not one.beside]
    return Report(evening, now, told, silent, found, sorted(advice, key=lambda one: not one.urgent), held)


def _of_study(
    bench: Bench,
    study: Study,
    tried: list[Tried],
    upcoming: StudyPlan | None,
    source_problem: str,
    settings_problem: str,
) -> OfStudy:
    known, problem, notes = None, "", []
    new = {one.trial for one in tried if any(span.outcome == "finished" for span in one.spans)}
    try:
        known = learned(bench, study, new)
    except Exception as trouble:
        problem = f"its results cannot be told: {sentence(trouble)}"
    bad = _bad_files(bench, study)
    try:
        if upcoming is not None and (todo := [entry.trial for entry in upcoming.tonight]):
            notes = confounds(bench, study, todo)
    except Exception as trouble:
        notes = [f"what its next night cannot find out is unknown: {sentence(trouble)}"]
    gone = source_problem or ("" if settings_problem else _source_is_gone(bench, study))
    advice = of_a_study(study, tried, bad, upcoming, gone, settings_problem)
    return OfStudy(study, tried, known, problem, bad, upcoming, notes, advice)


def _plans(bench: Bench, now: dt.datetime, studies: Sequence[Study]) -> list[StudyPlan]:
    try:
        return plan_nights(bench, now, studies)
    except Exception:  # said by `nocturne plan`; the report is about what was
        return []


def _bad_files(bench: Bench, study: Study) -> BadFiles:
    try:
        return bad_files(bench, study)
    except durable.Damaged:
        return BadFiles()


def _not_set_up(bench: Bench, study: Study) -> tuple[str, str]:
    """Why the study has no source, and what is wrong with its settings; "" and "" where it can run."""
    try:
        bench.source(study)
        bench.settings(study)
    except NotReady as problem:
        return str(problem), ""
    except ConfigError as problem:
        return "", str(problem)
    return "", ""


def _source_is_gone(bench: Bench, study: Study) -> str:
    source = bench.source_or_none(study)
    if source is None or source.exists():
        return ""
    return f"{source}: no such folder; connect the drive or correct the path"
