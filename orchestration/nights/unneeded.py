"""What nobody needs any more of what was built in a lab: looked at thing by thing, and nothing is touched."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from ml.studies.registry import ALL_STUDIES
from ml.studies.study import Study
from orchestration import forcing
from orchestration.nights import clock
from orchestration.nights.old_logs import old_logs, remove_logs
from orchestration.nights.old_runs import OLD_DAYS, old_runs, remove_run
from orchestration.nights.wanted import Unknown, Wanted, needed_models, wanted_by
from orchestration.resources import Bench
from storage.artifacts import Shelf
from storage.leftovers import Lying, idle_locks, lying, remove_lock, remove_set_aside, set_aside, unfinished

HOUR, DAY = 3600.0, 86400.0
YOUNG_SECONDS = HOUR
"""What was built within it may belong to something that is not written down yet."""
FORCED_SECONDS = 3 * DAY
"""So long the states of a request to train again are kept that did not come to its end: it may be gone on with."""
UNSAID_SECONDS = 7 * DAY
"""So long is kept what says nothing of whose it is, and what was found damaged."""
KINDS = ("features", "states", "evaluations", "models")


@dataclass(frozen=True)
class Leftover:
    """Something that nobody needs."""

    kind: str
    """features, states, evaluations, models; unfinished, damaged; locks; run logs, logs."""
    study: str
    """Empty where it is of no study alone, or where that is not known."""
    why: str
    bytes: int
    since: float
    """When it was made, seconds since 1970."""
    remove: Callable[[], bool] = field(repr=False, compare=False)
    """False where somebody works on it now: then nothing happened."""
    number: int = 1
    """How many things that is."""


@dataclass
class Found:
    """What lies in a lab and is not needed; what was passed by, and why."""

    leftovers: list[Leftover] = field(default_factory=list)
    spared: list[Leftover] = field(default_factory=list)
    """Needed only if a finished trial is given more epochs: goes when room is wanted."""
    notes: list[str] = field(default_factory=list)
    """Of what it could not be told, in sentences."""

    @property
    def bytes(self) -> int:
        """Of the leftovers."""
        return sum(one.bytes for one in self.leftovers)


def unneeded(bench: Bench, now: dt.datetime, *, runs: bool = True, studies: Sequence[Study] = ALL_STUDIES) -> Found:
    """Everything in the lab that nobody needs. `runs`: old runs in Dagster's books and old logs too."""
    wanted: dict[str, Wanted] = {}
    unknown: dict[str, str] = {}
    for study in studies:
        try:
            wanted[study.name] = wanted_by(bench, study)
        except Unknown as problem:
            unknown[study.name] = str(problem)
    now = clock.as_recorded(now)
    look = _Look(bench, wanted, unknown, now.timestamp())
    for kind in KINDS:
        look.at(kind)
    found = look.found
    for name in sorted(look.passed_by):
        found.notes.append(f"what was built for {name} stays: {unknown.get(name, 'no study is named so here')}")
    if runs:
        home = bench.lab.dagster_home
        for run in old_runs(home, now):
            rest = "" if run.whole else "; what was made in them stays in the books"
            why = f"ended more than {OLD_DAYS} days ago{rest}"
            found.leftovers.append(Leftover("run logs", "", why, run.bytes, run.ended, partial(remove_run, home, run)))
        if logs := old_logs(bench.lab, now):
            why = f"what `nocturne up` and its sensors said more than {OLD_DAYS} days ago"
            remove, taken = partial(remove_logs, bench.lab, logs), sum(one.bytes for one in logs)
            found.leftovers.append(Leftover("logs", "", why, taken, logs[0].since, remove, len(logs)))
    return found


class _Look:
    """One look at all shelves of a lab."""

    def __init__(self, bench: Bench, wanted: dict[str, Wanted], unknown: dict[str, str], now: float) -> None:
        self._bench, self._wanted, self._unknown, self._now = bench, wanted, unknown, now
        self.found = Found()
        self.passed_by: set[str] = set()
        """Studies of which something lies here and nothing can be told."""

    def at(self, kind: str) -> None:
        """Everything on one shelf; what was set aside there; files of locks."""
        shelf = self._bench.shelf(kind)
        things = lying(shelf)
        if kind == "models":
            self._models(things)
        elif kind == "features":
            self._features(things)
        else:
            self._states(kind, things)
        for number, taken, since in unfinished(shelf):
            if self._now - since > YOUNG_SECONDS:
                why = f"{kind} that a killed process left half built or half removed"
                self._add(Leftover("unfinished", "", why, taken, since, partial(_sweep, shelf), number))
        for place, taken, since in set_aside(shelf):
            if self._now - since > UNSAID_SECONDS:
                why = f"{kind} found damaged, set aside for you to look at"
                self._add(Leftover("damaged", "", why, taken, since, partial(remove_set_aside, place)))
        if locks := idle_locks(shelf, self._now - YOUNG_SECONDS):
            why = "empty files of locks that nobody holds"
            self._add(Leftover("locks", "", why, 0, self._now, partial(_remove_locks, locks), len(locks)))

    # --- states and evaluations --------------------------------------------------------------------------------

    def _states(self, kind: str, things: Sequence[Lying]) -> None:
        needed: list[Lying] = []
        nobodys: list[tuple[Lying, str]] = []
        for one in things:
            study = str(one.owner.get("study", ""))
            wanted = self._wanted.get(study)
            if wanted is None:
                self.passed_by |= {study} - {""}
                why = self._why_unsaid(kind, one)
            else:
                why = self._why(one, wanted)
                if not why and one.owner.get("family") in wanted.goes_on:
                    needed.append(one)
                elif not why and kind == "states" and one.has_files and not one.owner.get("forced_by"):
                    self._of_the_ended(one, wanted)
            if why and self._is_old(one):
                nobodys.append((one, why))
        on_the_way = _on_the_way_to(needed, [one for one, _ in nobodys])
        for one, why in nobodys:
            if one.key not in on_the_way:
                self._add_thing(kind, one, why)

    def _why(self, one: Lying, wanted: Wanted) -> str:
        """Why nobody needs it; "" where somebody does, and where it is of a family that is at its end."""
        owner = one.owner
        if owner.get("forced_by"):
            return self._why_forced(one)
        if (owner.get("origin"), owner.get("precision")) != (wanted.origin, wanted.precision):
            return "of data, features, code or precision as they were before"
        family = owner.get("family")
        if family in wanted.goes_on or family in wanted.ended or one.key in wanted.epochs:
            return ""
        return "of trials that are gone, or say something else now"

    def _of_the_ended(self, one: Lying, wanted: Wanted) -> None:
        """The files of a state whose trials are all at their end; the note stays, more epochs are counted from it."""
        if one.key in wanted.ends:
            why = "finished trials would go on from there if they were given more epochs"
            self._add_thing("states", one, why, noted=False, spared=True)
        elif self._is_old(one) and not wanted.may_branch(str(one.owner.get("family"))):
            self._add_thing("states", one, "of families whose trials are all at their end", noted=False)

    def _why_forced(self, one: Lying) -> str:
        request, trial = one.owner["forced_by"], str(one.owner.get("trial"))
        if request == forcing.request_in_progress(self._bench):
            return ""
        history = self._bench.records.history(str(one.owner["study"]), trial)
        if any(
            said.account.get("forced_by") == request and said.account["status"] in forcing.ENDED for said in history
        ):
            return "of a request to train again that is at its end"
        old = self._now - one.since > FORCED_SECONDS
        return "of a request to train again with which nobody went on" if old else ""

    def _why_unsaid(self, kind: str, one: Lying) -> str:
        """Of what says nothing of whose it is (an earlier version built it), where all studies can be judged."""
        if one.owner or self._unknown or kind != "states" or self._now - one.since <= UNSAID_SECONDS:
            return ""
        if any(one.key in wanted.epochs for wanted in self._wanted.values()):
            return ""
        return "of which nothing says whose they are, and a week old"

    # --- features and models -----------------------------------------------------------------------------------

    def _features(self, things: Sequence[Lying]) -> None:
        built = {one.key for one in things if one.has_files}
        records = self._bench.records
        noted = {
            record.account.get("features_key"): study
            for study in records.studies()
            for record in records.all_noted(study, "features")
        }
        for one in things:
            study = str(one.owner.get("study") or noted.get(one.key, ""))
            wanted = self._wanted.get(study)
            if wanted is None:
                self.passed_by |= {study} - {""}
                continue
            # Until the present ones are built, those of other recordings save reading these again.
            saves_reading = one.note.get("alike") == wanted.alike and wanted.features_key not in built
            if one.key != wanted.features_key and not saves_reading and self._is_old(one):
                self._add_thing("features", one, "of recordings or settings as they were before", study)

    def _models(self, things: Sequence[Lying]) -> None:
        try:
            needed = needed_models(self._bench)
        except Unknown as problem:
            self.found.notes.append(f"all models stay: {problem}")
            return
        for one in things:
            if one.key not in needed and one.has_files and self._is_old(one):
                self._add_thing("models", one, "of attempts that newer ones replaced, or that left no record")

    # --- what was found ----------------------------------------------------------------------------------------

    def _is_old(self, one: Lying) -> bool:
        return self._now - one.since > YOUNG_SECONDS

    def _add_thing(
        self, kind: str, one: Lying, why: str, study: str = "", *, noted: bool = True, spared: bool = False
    ) -> None:
        remove = partial(self._bench.shelf(kind).discard, one.key, noted=noted)
        thing = Leftover(kind, study or str(one.owner.get("study", "")), why, one.bytes, one.since, remove)
        (self.found.spared if spared else self.found.leftovers).append(thing)

    def _add(self, one: Leftover) -> None:
        self.found.leftovers.append(one)


def _on_the_way_to(needed: Sequence[Lying], others: Sequence[Lying]) -> set[str]:
    """Which of the `others` are epochs that led to those that are `needed`: trials that begin alike may have trained
    them under other names."""
    origins = {one.owner.get("origin") for one in needed}
    others = [one for one in others if one.owner.get("origin") in origins and "settings" in one.note]
    if not others:
        return set()
    from ml.training.keys import next_key

    known = {one.key for one in needed}
    said: dict[int, list[dict[str, object]]] = {}
    for one in needed:
        if "settings" in one.note and one.note["settings"] not in said.setdefault(one.note["epoch"], []):
            said[one.note["epoch"]].append(one.note["settings"])
    found = set()
    for one in sorted(others, key=lambda one: -int(one.note["epoch"])):
        epoch = one.note["epoch"]
        if any(next_key(one.key, settings) in known for settings in said.get(epoch + 1, ())):
            found.add(one.key)
            known.add(one.key)
            if one.note["settings"] not in said.setdefault(epoch, []):
                said[epoch].append(one.note["settings"])
    return found


def _sweep(shelf: Shelf) -> bool:
    return shelf.sweep() > 0


def _remove_locks(locks: Sequence[Path]) -> bool:
    return sum(remove_lock(path) for path in locks) > 0
