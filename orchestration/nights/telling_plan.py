"""`nocturne plan`: what the present or the next night will do, in the terminal and on the page."""

from __future__ import annotations

import datetime as dt
import sys
import textwrap
from collections.abc import Sequence

from ml.config import ConfigError
from ml.studies.registry import ALL_STUDIES
from ml.studies.study import Study
from ml.studies.words import counted, first_of
from orchestration import plan
from orchestration.asking import FEW, duration, size, time_of
from orchestration.estimating import Cost, added
from orchestration.exits import WRONG
from orchestration.nights import clock
from orchestration.nights.awake import Sleep
from orchestration.nights.choosing import NEW
from orchestration.nights.confounds import POINTS, confounds
from orchestration.nights.guards import disk_problem, gpu_problem, source_problem
from orchestration.nights.lab_nights import nights_of_lab
from orchestration.nights.loaded import not_loaded
from orchestration.nights.planning import Entry, StudyPlan, plan_nights
from orchestration.nights.work import NOT_LOOKED_AT
from orchestration.resources import Bench

SHOWN = 8
"""Of a night of more than FEW trials, so many of each kind are listed."""


def print_nights(bench: Bench, study: Study | None, points: float = POINTS) -> int:
    """The plan of every study, or of one; the exit code of the command. Where nothing was measured, steps are timed."""
    if study is not None:  # a mistake in its settings, or no source, is what the command ends with
        bench.settings(study)
        bench.source(study)
    kept_free = nights_of_lab(bench.lab).keep_free_bytes
    now, sleep = clock.now(), Sleep(bench.lab)
    plans = plan_nights(bench, now, foresee=True, without=_new(bench))
    print(f"lab: {bench.lab.root}")
    for problem in (sleep.of_all, gpu_problem(bench), disk_problem(bench)):
        if problem:
            print(problem)
    for found in plans:
        if study is None or found.study.name == study.name:
            print("\n" + "\n".join(told(bench, found, now, points, _but(bench, found, sleep))))
    _print_disk(bench, plans, kept_free)
    sys.stdout.flush()
    return WRONG if any(_cannot_be_read(bench, found.study) for found in plans) else 0


def told(
    bench: Bench, found: StudyPlan, now: dt.datetime, points: float = POINTS, but: Sequence[str] = ()
) -> list[str]:
    """The plan of one study for a person, line by line; `but`: why it will not go so by itself."""
    study, night = found.study, found.night
    if night is None:
        return [f"{study.name}: {found.sentence}"]
    goes_on = night.begins <= now
    until = night.shown(night.ends) + (f", in {duration(night.left(now))}" if goes_on else "")
    first = "the present night" if goes_on else "the next night"
    day = night.day if night.day == night.name else f"{night.day} (evening of {night.name})"
    lines = [
        f"{study.name}: {study.question}",
        f"{first}: {day}, {night.shown(night.begins)} until {until}",
        found.sentence,
        *(f"but {sentence}" for sentence in but),
    ]
    lines += _table(found)
    trials = bench.trials(study)
    lines += [f"left out: {problem}" for problem in trials.problems] + [f"note: {note}" for note in trials.notes]
    todo = [entry.trial for entry in found.entries if entry.when not in ("done", "given up")]
    if todo:
        lines += [f"note: {sentence}" for sentence in confounds(bench, study, todo, points)]
    return lines


def as_markdown(found: StudyPlan, notes: Sequence[str] = ()) -> str:
    """The plan of one study for the page: its sentence, a row for every trial that is not done, and `notes` on it."""
    rows = [
        [_clock(found, entry), entry.trial.name, entry.state, _time(entry), entry.explained] for entry in _few(found)
    ]
    said = [f"- {note}" for note in notes]
    if not rows:
        return "\n".join([found.sentence, *([""] if said else []), *said])
    head = ["begins", "trial", "state", "time", "why"]
    lines = [f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in (head, ["---"] * 5, *rows)]
    return "\n".join([found.sentence, "", *lines, *([""] if said else []), *said])


def _new(bench: Bench) -> dict[str, set[str]]:
    """The trials that nobody begins by himself before a Reload."""
    readable = [study for study in ALL_STUDIES if not _cannot_be_read(bench, study)]
    return not_loaded(bench, readable)


def _but(bench: Bench, found: StudyPlan, sleep: Sleep) -> list[str]:
    said = [sleep.of(found.study)]
    if found.night is not None:
        said.append(source_problem(bench.source(found.study)))
    if found.aside:
        said.append(f"{first_of(sorted(found.aside), 3)} {NEW}")
    return [sentence for sentence in said if sentence]


def _cannot_be_read(bench: Bench, study: Study) -> bool:
    try:
        bench.trials(study)
    except ConfigError:
        return True
    return False


def _table(found: StudyPlan) -> list[str]:
    listed = _few(found)
    if not listed:
        return []
    width = max(24, *(len(entry.trial.name) + 2 for entry in listed))
    place = max(12, *(len(_clock(found, entry)) + 2 for entry in listed))
    together = _together(found)
    said = [*map(_time, listed), _time(together)]
    times = max(9, *(len(each) + 1 for each in said))
    lines = ["", f"{'begins':<{place}}{'trial':<{width}}{'state':<10}{'time':>{times}}{'disk':>9}"]
    for entry, each in zip(listed, said, strict=False):
        cost = f"{each:>{times}}{size(entry.disk_bytes) if entry.disk_bytes else '':>9}"
        why = textwrap.shorten(entry.explained, 150, placeholder=" …")
        lines.append(
            f"{_clock(found, entry):<{place}}{entry.trial.name:<{width}}{entry.state:<10}{cost}  {why}".rstrip()
        )
    hidden = sum(entry.when != "done" for entry in found.entries) - len(listed)
    if hidden:
        lines.append(f"… and {counted(hidden, 'more trial')}".replace("more trials", "more"))
    wide = place + width + 10
    if found.features.disk_bytes:
        built = f"{duration(found.features.seconds):>{times}}{size(found.features.disk_bytes):>9}"
        lines.append(f"{'features, built first':<{wide}}{built}")
    lines.append(f"{'trials together tonight':<{wide}}{said[-1]:>{times}}{_size(found):>9}")
    bases = dict.fromkeys(entry.basis for entry in found.entries if entry.basis)
    lines += [f"time is {basis}" for basis in list(bases)[:3]]
    return [*lines, *([f"time of building is {found.features.basis}"] if found.features.basis else [])]


def _few(found: StudyPlan) -> list[Entry]:
    """The trials that are listed: all that are not done, or of many the first of each kind."""
    listed = [entry for entry in found.entries if entry.when != "done"]
    if len(listed) <= FEW:
        return listed
    seen: dict[str, int] = {}
    few = []
    for entry in listed:
        seen[entry.when] = seen.get(entry.when, 0) + 1
        if seen[entry.when] <= SHOWN or entry.when == "begins tonight":
            few.append(entry)
    return few


def _clock(found: StudyPlan, entry: Entry) -> str:
    return found.clock(entry) if entry.when in ("tonight", "begins tonight") else entry.when


def _time(cost: Entry | Cost) -> str:
    return time_of(cost.seconds, cost.at_most)


def _together(found: StudyPlan) -> Cost:
    return added([Cost(entry.seconds, entry.at_most, entry.disk_bytes, "") for entry in found.tonight])


def _disk(found: StudyPlan) -> int:
    return found.features.disk_bytes + _together(found).disk_bytes


def _size(found: StudyPlan) -> str:
    return size(_disk(found)) if _disk(found) else ""


def _print_disk(bench: Bench, plans: Sequence[StudyPlan], kept_free: int) -> None:
    free, needed = plan.free_bytes(bench.lab.root), sum(_disk(found) for found in plans)
    unknown = [found.study.name for found in plans if any(one.basis == NOT_LOOKED_AT for one in found.tonight)]
    parts = [f"this may need {size(needed)} at most"] if needed or not unknown else []
    if unknown:
        parts.append(f"what {' and '.join(unknown)} may need is not known before the source has been looked at")
    print(f"\ndisk: {size(free)} free, {size(kept_free)} of it are kept free; {'; '.join(parts)}")
