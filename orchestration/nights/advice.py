"""What waits for a person in the morning, the most urgent first; nothing, where the house looks after itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ml.studies.study import Study
from ml.studies.words import counted, first_of
from orchestration.nights.holdups import Holdup
from orchestration.nights.house import BadFiles, Fact, Runs
from orchestration.nights.looking_back import DIED, Evening, Tried
from orchestration.nights.planning import StudyPlan

NAMED = 3


@dataclass(frozen=True)
class Advice:
    """One thing to do."""

    what: str
    why: str
    how: str = ""
    """A command, or what to write where; "" where the sentence says it all."""
    urgent: bool = True
    """Whether something stands still, or stays wrong, until it is done."""


def of_the_house(facts: Sequence[Fact], runs: Runs | None) -> list[Advice]:
    """What the house as a whole needs."""
    found = [Advice(f"{fact.name}: {fact.said}", fact.todo) for fact in facts if fact.wrong]
    if runs is not None:
        found += [
            Advice(f"{', '.join(names)} failed and {'was' if len(names) == 1 else 'were'} not made since", why)
            for names, why in runs.failed
        ]
        if runs.hook:
            said = runs.hook.removeprefix("on_morning ")
            found.append(Advice("on_morning failed when the last report was written", f"it {said}", urgent=False))
    return found


def of_the_night(held: Sequence[Holdup], evening: Evening) -> list[Advice]:
    """What held the nights up for most of their time; trials that were left aside while others were trained, once."""
    found = []
    for one in held:
        if one.takes_most_of(evening):
            times = f"from {evening.shown(one.since)} to {evening.shown(one.until)}"
            found.append(Advice(f"{one.whose or 'all studies'}: held up {times}", one.said))
    aside = dict.fromkeys((one.whose, part) for one in held if one.beside for part in one.said.split("; ") if part)
    return found + [Advice(f"{whose}: {said}", "", urgent=False) for whose, said in aside]


def of_a_study(
    study: Study,
    tried: Sequence[Tried],
    bad: BadFiles,
    upcoming: StudyPlan | None,
    source_problem: str,
    settings_problem: str = "",
) -> list[Advice]:
    """What one study needs."""
    name = study.name
    found = []
    if settings_problem:
        found.append(Advice(f"{name}: its settings cannot be read", settings_problem))
    if source_problem:
        found.append(Advice(f"{name}: its source cannot be seen", source_problem))
    for outcome, what, how in (
        ("diverged", "diverged and is not tried again as it is", f"nocturne run {name} {{}} --force"),
        ("failed", "failed and would fail again as it is", f"nocturne run {name} {{}}"),
    ):
        own = [one for one in tried if one.outcome == outcome and not one.again]
        found += [Advice(f"{name}: {one.trial} {what}", one.why, how.format(one.trial)) for one in own[:NAMED]]
    passing = [one for one in tried if one.again and one.outcome in ("failed", DIED)]
    if passing:
        named = first_of([one.trial for one in passing], NAMED)
        what = f"{name}: {named} came to nothing, and is tried again next night"
        found.append(Advice(what, passing[0].why, urgent=False))
    if bad.rejected:
        what = f"{name}: {counted(bad.rejected, 'file')} of its source {'is' if bad.rejected == 1 else 'are'} left out"
        first = next((f"{one.path}: {one.problem}" for one in bad.named if one.state == "rejected"), "")
        more = f"; the other {bad.rejected - 1} below" if bad.rejected > 1 else ""
        found.append(Advice(what, first + more, urgent=False))
    if upcoming is not None and (room := upcoming.named("no room")):
        what = f"{name}: {counted(len(room), 'trial')} {'has' if len(room) == 1 else 'have'} no room on the disk"
        found.append(Advice(what, room[0].reason, "nocturne clean"))
    return found
