"""What is to be started now: a decision from the records, the runs of the night and the clock, and from nothing else.

So it can be taken at any moment and as often as one likes: after a start in the middle of the night, after a sleep,
twice at once. What a run of the night is at already, or waits for, is not asked for again. The schedule of a study
begins its night; the sensor begins one that was missed, asks for the trials, and for the report in the morning.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import dagster as dg
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG

from ml.config import ConfigError
from ml.studies.night import NightConfig
from ml.studies.registry import ALL_STUDIES
from ml.studies.study import Study
from ml.studies.words import first_of
from orchestration.nights import choosing, clock, marks
from orchestration.nights.awake import turned_off
from orchestration.nights.guards import disk_problem, holdup, source_problem
from orchestration.nights.planning import StudyPlan, plan_nights
from orchestration.nights.runs import NightRun, runs_of
from orchestration.nights.wanted import Unknown, wanted_by
from orchestration.nights.window import Night, next_night, night_at
from orchestration.nights.work import TURNS
from orchestration.resources import Bench, NotReady

IN_QUEUE = 6
"""So many runs with trials wait at most: enough that the machine never waits for the next look."""

AT_REST = "nothing is left to be begun in this night"
"""Said of a study between two plans."""

LONGEST_PATIENCE = 3600.0
"""Seconds; data that could not be prepared is tried again at least so often."""

SCHEDULE_SECONDS = 60.0
"""A schedule that is not heard of so long after its time has missed it: the machine slept, or nothing was up."""


@dataclass(frozen=True)
class Step:
    """What to do now."""

    requests: tuple[dg.RunRequest, ...] = ()
    sentences: tuple[str, ...] = ()
    """What is going on, or why nothing is, study by study."""
    at_rest: frozenset[str] = frozenset()
    """Studies of which nothing is under way and nothing is left: their plan need not be made again soon."""
    rest_seconds: float = 0.0


@dataclass(frozen=True)
class OnGoing:
    """A study whose night is going on."""

    study: Study
    config: NightConfig
    night: Night
    runs: list[NightRun]

    def of(self, part: str) -> list[NightRun]:
        """Its runs that do this part."""
        return [run for run in self.runs if run.part == part]

    def request(self, part: str, span: tuple[str, str] | None = None) -> dg.RunRequest:
        """Asks for a run that does this part of the night, with the trials from one to the other.

        Its key names the last run that was asked to do the same: two who look at once say one key, for which Dagster
        starts one run. A number would come again when a person deletes a run, and be dropped without a word.
        """
        tags = marks.marks(self.night, self.config, part)
        alone = span is not None and span[0] == span[1]
        what = f"{part} {span[0]}..{span[1]}" if span else part
        before = [run.run.run_id for run in self.of(part) if run.span == span]
        if span and not alone:
            tags |= {ASSET_PARTITION_RANGE_START_TAG: span[0], ASSET_PARTITION_RANGE_END_TAG: span[1]}
        return dg.RunRequest(
            run_key=f"{self.night.tag} {what} after {before[-1] if before else 'none'}",
            job_name=marks.job_name(self.study.name, part),
            partition_key=span[0] if span and alone else None,
            tags=tags,
        )


def patience(night: Night) -> float:
    """Seconds before something that failed is tried again in this night: five minutes, less in a very short night."""
    return min(300.0, (night.ends - night.begins).total_seconds() / 100)


def going_on(bench: Bench, study: Study, instance: dg.DagsterInstance, now: dt.datetime) -> OnGoing | str:
    """The night of the study, or why there is none now."""
    config = bench.settings(study).night
    night = night_at(config, now, study.name)
    if night is None:
        following = next_night(config, now, study.name)
        if following is None:
            return "its nights are off"
        return f"its next night begins on {following.day} at {following.shown(following.begins)}"
    return OnGoing(study, config, night, runs_of(instance, night.tag))


def prepare(bench: Bench, found: OnGoing, now: dt.datetime) -> dg.RunRequest | str:
    """The run that looks at the source and builds the features, or why it is not asked for; "" when that is done. It is
    asked for again when the features are not there any more, or are not those that the settings say by now."""
    runs = found.of(marks.DATA)
    enough_waits = sum(run.waits() for run in found.of(marks.TRIALS)) >= IN_QUEUE // 2  # no more is asked for now
    is_built = any(run.ended_as(dg.DagsterRunStatus.SUCCESS) for run in runs)
    if is_built and (enough_waits or not _lacks_features(bench, found.study)):
        return ""
    if any(run.unfinished() for run in runs):
        return "its data is being prepared"
    if why := source_problem(bench.source(found.study)):  # where none is set, that raises a sentence that says so
        return why
    if runs and runs[-1].stopped():
        return "the run that prepares its data was ended by a person; `nocturne run` or the next night goes on"
    if runs and (ended := runs[-1].ended):
        wait = min(LONGEST_PATIENCE, patience(found.night) * 2 ** (len(runs) - 1))
        again = ended + dt.timedelta(seconds=wait)
        if clock.as_recorded(now) < again:
            last, at = f"run {runs[-1].run.run_id[:8]}", found.night.shown(again)
            if runs[-1].ended_as(dg.DagsterRunStatus.SUCCESS):
                return f"its features are gone, or its settings have changed since {last}: they are built again at {at}"
            return f"its data could not be prepared ({last} says why); tried again at {at}"
    return found.request(marks.DATA)


def _lacks_features(bench: Bench, study: Study) -> bool:
    """Whether trials need features that are not there. Their bytes are looked at by who reads them."""
    try:
        key = bench.data(study).features_key
        if key in bench.shelf("features").keys():  # noqa: SIM118 - a shelf is no mapping
            return False
        return bool(wanted_by(bench, study).goes_on)  # what no trial needs is cleaned up, and stays away
    except NotReady:  # the plan says why
        return False
    except Unknown:
        return True


def begin(bench: Bench, study: Study, instance: dg.DagsterInstance, now: dt.datetime) -> dg.RunRequest | str:
    """How the night of one study begins, if it can and has not: for its schedule."""
    try:
        found = going_on(bench, study, instance, now)
        if isinstance(found, str):
            return found
        if found.night.begins.second:
            return "it begins between two minutes, where no schedule hears: the sensor `nights` begins it"
        return prepare(bench, found, now) or "its data is prepared; the sensor `nights` asks for its trials"
    except (ConfigError, NotReady) as problem:
        return str(problem)


def advance(
    bench: Bench,
    instance: dg.DagsterInstance,
    now: dt.datetime,
    studies: Sequence[Study] = ALL_STUDIES,
    *,
    at_rest: frozenset[str] = frozenset(),
    known: choosing.Known = choosing.everything,
) -> Step:
    """What all nights that go on ask for now, a study after the other.

    `at_rest`: of these the plan was made a moment ago, and nothing was left. `known`: the partitions that are loaded.
    """
    requests: list[dg.RunRequest] = []
    said: list[str] = []
    ready: list[OnGoing] = []
    silent = turned_off(instance)
    for study in studies:
        try:
            found = going_on(bench, study, instance, now)
            if isinstance(found, OnGoing) and bench.source_or_none(study) is None:
                found = "no source folder is set (its schedule says how)"
            schedule = marks.schedule_name(study.name)
            if schedule in silent:
                found = f"its schedule {schedule} is turned off on the page: nothing is begun"
            step = found if isinstance(found, str) else _left_to_schedule(found, now) or prepare(bench, found, now)
        except ConfigError as problem:
            step = f"its settings cannot be read: {problem}"
        except NotReady as problem:
            step = str(problem)
        if isinstance(step, dg.RunRequest):
            requests.append(step)
            said.append(f"{study.name}: its night begins with its data")
        elif step:
            said.append(f"{study.name}: {step}")
        elif isinstance(found, OnGoing):
            ready.append(found)
    resting = frozenset(found.study.name for found in ready)
    if resting <= at_rest:
        said += [f"{name}: {AT_REST}" for name in sorted(resting)]
        return Step(tuple(requests), tuple(said), at_rest)
    trials, words, rests = _trials(bench, ready, now, known)
    rest = min(patience(found.night) for found in ready)
    return Step((*requests, *trials), (*said, *words), resting if rests else frozenset(), rest)


def _left_to_schedule(found: OnGoing, now: dt.datetime) -> str:
    """A night that begins at this very moment is begun by its schedule: two at once would both ask for its data."""
    begins = found.night.begins
    own = begins.second == 0 and (now - begins).total_seconds() < SCHEDULE_SECONDS
    return "its schedule begins its night now" if own and not found.runs else ""


def _trials(
    bench: Bench, ready: Sequence[OnGoing], now: dt.datetime, known: choosing.Known
) -> tuple[list[dg.RunRequest], list[str], bool]:
    """The next runs of trials: of the first study that has any left."""
    under_way = [run for found in ready for run in found.of(marks.TRIALS) if run.unfinished()]
    waiting = sum(run.waits() for run in under_way)
    if waiting >= IN_QUEUE // 2:
        return [], [f"{waiting} runs with trials wait in the queue"], False
    aside = {
        found.study.name: choosing.let_be(bench, found.study, found.runs, patience(found.night), now, known)
        for found in ready
    }
    # What cannot begin has no place: the night is not to be kept for it.
    able = plan_nights(bench, now, [found.study for found in ready], without=aside)
    plans = {one.study.name: one for one in able}
    in_turn = sorted(ready, key=lambda found: _first_begins(plans[found.study.name], now))
    words = {name: _words(bench, plan, aside[name]) for name, plan in plans.items()}
    for turn in TURNS:
        if turn and under_way:  # in the queue it would overtake the retry of what comes before it
            break
        for place, found in enumerate(in_turn):
            name = found.study.name
            groups = choosing.next_groups(bench, found.study, plans[name], found.runs, turn)
            if not groups:
                continue
            if not under_way and (why := holdup(bench)):
                return [], [f"{name}: {why}"], False
            at_most = (1 if found.config.order == "smart" else IN_QUEUE) - waiting
            requests = [_of_group(found, group) for group in groups[: max(0, at_most)]]
            for number, other in enumerate(in_turn):
                later = TURNS[turn + (number < place) :]
                if other is not found and plans[other.study.name].left(*later):
                    words[other.study.name] = f"after {name}"
            return requests, [f"{found.study.name}: {words[found.study.name]}" for found in in_turn], False
    return [], [f"{found.study.name}: {words[found.study.name]}" for found in in_turn], not under_way


def _words(bench: Bench, plan: StudyPlan, aside: Mapping[str, str]) -> str:
    """What is to be said of a study that has its turn, or has nothing left."""
    not_now = [_not_now({trial: aside[trial] for trial in plan.aside})] if plan.aside else []
    full = [disk_problem(bench)] if plan.named("no room") else []
    said = [*([plan.sentence] if plan.tonight else []), *not_now, *filter(None, full)]
    return "; ".join(said or [plan.sentence])


def _first_begins(plan: StudyPlan, now: dt.datetime) -> dt.datetime:
    """Whose turn it is: one that has only what no night is long enough for comes after those with other work."""
    return min((entry.begins for entry in plan.tonight if entry.begins), default=now)


def _not_now(aside: Mapping[str, str]) -> str:
    trials: dict[str, list[str]] = {}
    for name, why in aside.items():
        trials.setdefault(why, []).append(name)
    return "; ".join(f"{first_of(names, 3)} {why}" for why, names in trials.items())


def _of_group(found: OnGoing, group: Sequence[str]) -> dg.RunRequest:
    return found.request(marks.TRIALS, (group[0], group[-1]))
