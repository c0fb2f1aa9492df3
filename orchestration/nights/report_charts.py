"""What is drawn in the report of a night: the trials on the clock, intervals, curves. HTML and SVG, no script."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from ml.studies.words import counted
from orchestration.nights.learned import Learned, Measured
from orchestration.nights.looking_back import Evening, Tried

Place = Callable[[dt.datetime], float]
"""Where a moment lies, in percent."""

NARROW = 0.4
"""Percent of the night: attempts that take less on the clock are drawn together with those beside them."""

TICKS = 8
"""So many times at most are written below the night."""

STEPS = (5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 3 * 3600, 6 * 3600, 12 * 3600, 24 * 3600, 48 * 3600)
"""Seconds between two of them."""


@dataclass(frozen=True)
class Block:
    """Attempts that lie beside each other and ended alike; `left` and `width` in percent."""

    left: float
    width: float
    outcome: str
    title: str


@dataclass(frozen=True)
class Lane:
    """One study on the clock."""

    name: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Tick:
    """A time below the night; `place` says whether it is at an edge, and which ones go where there is little room."""

    left: float
    said: str
    place: str


@dataclass(frozen=True)
class Timeline:
    """All that was worked at in a night."""

    lanes: tuple[Lane, ...]
    ticks: tuple[Tick, ...]
    bell: float | None
    """Where the bell is, in percent; None where there is none to be drawn."""


def timeline(evening: Evening, now: dt.datetime, tried: Mapping[str, Sequence[Tried]]) -> Timeline | None:
    """The trials of each study on the clock of the evening; None where nothing was worked at."""
    spans = [span for trials in tried.values() for one in trials for span in one.spans]
    if not spans:
        return None
    known = [end for span in spans for end in (span.begins, span.ends) if end is not None]
    if evening.nights:
        begins, ends = min(evening.begins, *known), max(evening.ends, *known)
    else:  # there is no night: as long as it took
        begins, ends = min(known), max(known) + dt.timedelta(seconds=1)
    whole = (ends - begins).total_seconds()

    def place(moment: dt.datetime) -> float:
        return 100.0 * min(1.0, max(0.0, (moment - begins).total_seconds() / whole))

    lanes = tuple(Lane(name, _blocks(trials, place, now, evening)) for name, trials in tried.items() if any(trials))
    bell = place(evening.ends) if evening.nights and evening.begins < evening.ends else None
    return Timeline(lanes, _ticks(begins, ends, place, evening), bell)


def _blocks(trials: Sequence[Tried], place: Place, now: dt.datetime, evening: Evening) -> tuple[Block, ...]:
    """Each attempt; those too small to be seen alone are one with their neighbours that ended alike."""
    pieces = sorted(
        ((span.begins, span, one.trial) for one in trials for span in one.spans), key=lambda piece: piece[0]
    )
    drawn: list[tuple[float, float, str, list[str], str]] = []
    for number, (began, span, trial) in enumerate(pieces):
        after = pieces[number + 1][0] if number + 1 < len(pieces) else now
        ended = span.ends or min(after, now)  # of what died: at the latest when the next one began
        left, right = place(began), place(max(ended, began))
        times = f"{evening.shown(began)} to {evening.shown(ended)}" if span.ends else f"from {evening.shown(began)}"
        if drawn:
            before = drawn[-1]
            near = left - before[1] < NARROW and right - left < NARROW and before[2] == span.outcome
            if near and (before[1] - before[0] < NARROW or len(before[3]) > 1):
                drawn[-1] = (before[0], max(right, before[1]), span.outcome, [*before[3], trial], before[4])
                continue
        drawn.append((left, right, span.outcome, [trial], times))
    return tuple(
        Block(
            round(left, 3),
            round(right - left, 3),
            outcome,
            f"{names[0]}, {outcome}, {times}" if len(names) == 1 else f"{counted(len(names), 'attempt')}, {outcome}",
        )
        for left, right, outcome, names, times in drawn
    )


def _ticks(begins: dt.datetime, ends: dt.datetime, place: Place, evening: Evening) -> tuple[Tick, ...]:
    whole = (ends - begins).total_seconds()
    step = next((one for one in STEPS if whole / one <= TICKS), STEPS[-1])
    zone = evening.zone
    midnight = begins.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0)
    found = []
    moment = midnight
    while moment <= ends:
        if moment >= begins:
            form = "%H:%M" if step % 60 == 0 else "%H:%M:%S"
            found.append((place(moment), f"{moment.astimezone(zone):{form}}"))
        moment = (moment.astimezone(dt.UTC) + dt.timedelta(seconds=step)).astimezone(zone)
    ticks = []
    for number, (left, said) in enumerate(found):
        edge = "first " if left < 3 else "last " if left > 97 else ""
        ticks.append(Tick(round(left, 3), said, edge + ("odd" if number % 2 else "even")))
    return tuple(ticks)


def interval(validation: Measured | None, test: Measured | None, known: Learned) -> Markup:
    """Both parts of a result on one scale: a point and its 95 % interval each."""
    low, high = known.span
    room = (high - low) or 1.0

    def across(value: float) -> str:
        return f"{4 + 92 * (value - low) / room:.2f}%"

    drawn = [Markup('<line class="rule" x1="4%" x2="96%" y1="14" y2="14"/>')]
    leading = known.leader.test or known.leader.validation
    if leading is not None:
        drawn.append(Markup('<line class="leading" x1="{0}" x2="{0}" y1="1" y2="27"/>').format(across(leading.value)))
    for name, one, y, size in (("validation", validation, 8, 3.2), ("test", test, 20, 3.8)):
        if one is None:
            continue
        if one.low is not None and one.high is not None:
            line = Markup('<line class="{}" x1="{}" x2="{}" y1="{}" y2="{}"/>')
            drawn.append(line.format(name, across(one.low), across(one.high), y, y))
        drawn.append(Markup('<circle class="{}" cx="{}" cy="{}" r="{}"/>').format(name, across(one.value), y, size))
    picture = Markup('<svg class="interval" aria-hidden="true">{}</svg>')
    return picture.format(Markup("").join(drawn))


def curve(values: Sequence[float]) -> Markup:
    """A learning curve as small as a word; nothing where there are fewer than two epochs."""
    if len(values) < 2:
        return Markup("")
    low, high = min(values), max(values)
    room = (high - low) or 1.0
    points = " ".join(
        f"{100 * number / (len(values) - 1):.1f},{26 - 24 * (value - low) / room:.1f}"
        for number, value in enumerate(values)
    )
    return Markup(
        '<svg class="curve" viewBox="0 0 100 28" preserveAspectRatio="none" aria-hidden="true">'
        '<polyline points="{}"/></svg>'
    ).format(points)
