"""What a night will do: which trials, in which order, as many as fit before the morning; and why the others do not.

The list comes from what is not done, never from counting nights: a night that was missed, cut short or begun twice
leaves nothing behind and nothing out. The machine is one, so studies take their time one after the other.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from ml.config import ConfigError
from ml.studies.registry import ALL_STUDIES
from ml.studies.study import Study
from ml.studies.words import counted
from orchestration.feature_costs import BUILT, Building, building
from orchestration.nights.fitting import Fitting
from orchestration.nights.lab_nights import nights_of_lab
from orchestration.nights.window import Night, next_night, night_at
from orchestration.nights.work import TURNS, Entry, When, work_of
from orchestration.plan import free_bytes
from orchestration.resources import Bench, NotReady

__all__ = ["Entry", "StudyPlan", "When", "plan_nights"]


@dataclass(frozen=True)
class StudyPlan:
    """What the present or the next night of a study will do."""

    study: Study
    night: Night | None
    """None: there is none, and the sentence says why."""
    entries: tuple[Entry, ...]
    """In the order in which they run; then those that are given up and those that are done."""
    features: Building
    """What is built first."""
    sentence: str
    until: dt.datetime | None = None
    """About when its trials of this night are through; None where nobody knows, or nothing is to run."""
    aside: Collection[str] = ()
    """Trials that would be begun in it, but not now: they stand in no entry."""

    def named(self, *when: When) -> list[Entry]:
        """The entries of which one of these is said."""
        return [entry for entry in self.entries if entry.when in when]

    def clock(self, entry: Entry) -> str:
        """When the clock shows that an entry begins; "then" where nobody knows more than its place."""
        return self.night.shown(entry.begins) if self.night and entry.begins else "then"

    @property
    def tonight(self) -> list[Entry]:
        """What is to be begun in this night, in order."""
        return self.named("tonight", "begins tonight")

    def left(self, *turns: int) -> list[Entry]:
        """Of those the ones whose turn is one of these."""
        return [entry for entry in self.tonight if entry.turn in turns]


def plan_nights(
    bench: Bench,
    now: dt.datetime,
    studies: Sequence[Study] = ALL_STUDIES,
    *,
    foresee: bool = False,
    without: Mapping[str, Collection[str]] | None = None,
) -> list[StudyPlan]:
    """The plan of the night that is going on, else of the next one, of every study.

    `foresee`: what was not foreseen yet is, which builds networks and may time steps (see `estimating`); else its cost
    is unknown. `without`: trials of a study that are not to be begun now, whyever; nothing is kept for them.
    """
    try:
        kept_free = nights_of_lab(bench.lab).keep_free_bytes
    except ConfigError as problem:  # said of every study, where a person looks for why nothing runs
        return [StudyPlan(study, None, (), BUILT, str(problem)) for study in studies]
    left_out = without or {}
    drafts = [_without(_draft(bench, study, now, foresee), left_out.get(study.name, ())) for study in studies]
    fitting = Fitting(now, free_bytes(bench.lab.root) - kept_free)
    # Sorting is stable: of two whose nights go on, the first of the registry has the machine first.
    in_turn = sorted(range(len(drafts)), key=lambda number: _begins(drafts[number], now))
    for turn in TURNS:
        for number in in_turn:
            drafts[number] = _fitted(drafts[number], fitting, turn)
    return [_told(draft) for draft in drafts]


def _begins(draft: StudyPlan, now: dt.datetime) -> dt.datetime:
    return max(draft.night.begins, now) if draft.night else now


def _draft(bench: Bench, study: Study, now: dt.datetime, foresee: bool) -> StudyPlan:
    """The work of a study, as if all of it fitted."""
    try:
        config = bench.settings(study).night
        night = night_at(config, now, study.name) or next_night(config, now, study.name)
        if night is None:
            said = (
                f"its nights are off: `{study.name}: {{night: {{on: true}}}}` in {bench.lab.studies_file} turns them on"
            )
            return StudyPlan(study, None, (), BUILT, said)
        bench.source(study)
        entries = work_of(bench, study, night, foresee=foresee, upcoming=night.begins > now)
    except (ConfigError, NotReady) as problem:
        return StudyPlan(study, None, (), BUILT, str(problem))
    try:
        features = building(bench, study)
    except NotReady:  # before the first inventory nobody knows
        features = BUILT
    return StudyPlan(study, night, tuple(entries), features, "")


def _without(draft: StudyPlan, names: Collection[str]) -> StudyPlan:
    aside = {one.trial.name for one in draft.entries if one.when == "tonight" and one.trial.name in names}
    return replace(draft, entries=tuple(one for one in draft.entries if one.trial.name not in aside), aside=aside)


def _fitted(draft: StudyPlan, fitting: Fitting, turn: int) -> StudyPlan:
    """With the places of those whose turn it is."""
    if draft.night is None or not any(entry.when == "tonight" for entry in draft.entries):
        return draft
    if turn == 0:
        entries = fitting.place(draft.night, draft.entries, draft.features)
        return replace(draft, entries=tuple(entries), until=fitting.free if fitting.known else None)
    free = fitting.free
    entries = fitting.place_turn(draft.night, draft.entries, turn)
    return replace(draft, entries=tuple(entries), until=fitting.free if fitting.free > free else draft.until)


def _told(draft: StudyPlan) -> StudyPlan:
    if draft.night is None:
        return draft
    fitted = replace(draft, until=draft.until if draft.tonight else None)
    return replace(fitted, sentence=_sentence(fitted, draft.night))


def _sentence(found: StudyPlan, night: Night) -> str:
    """The plan on one line."""
    if not found.entries:
        return "nothing to do: the study has no trials"
    numbers = {when: len(found.named(when)) for when in ("next night", "no room", "given up", "done")}
    rest = [f"{number} {when}" for when, number in numbers.items() if number and when != "done"]
    if numbers["done"]:
        rest.append(f"{numbers['done']} done")
    if not found.tonight:
        if numbers["done"] == len(found.entries):
            return f"nothing to do: {counted(numbers['done'], 'trial')}, all done"
        return f"nothing to begin: {', '.join(rest)}"
    cut = len(found.named("begins tonight"))
    until = f"until about {night.shown(found.until)}" if found.until else "how long is not known"
    begins = found.tonight[0].begins or night.begins
    first = f"{counted(len(found.tonight), 'trial')} from {night.shown(begins)}, {until}"
    return ", ".join([first, *(["the last goes on next night"] if cut else []), *rest])
