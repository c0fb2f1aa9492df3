"""What drummers play, made up: grooves of one bar, fills, and songs of them, in human time.

A bar is sixteen steps: `X` loud, `x` as usual, `o` soft, `.` nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

STEPS = 16
"""Of a bar: sixteenths of four quarters."""

LOUDNESS = {"X": 0.92, "x": 0.68, "o": 0.52}

LATE = 0.004
"""Deviation of a hand or foot from the time that is written, in seconds."""

COUNTED_IN = 0.5
"""Seconds before the first beat, at most."""

RINGS_OUT = 0.5
"""Seconds after the last hit."""

FILL_EVERY = 3
"""Bars from one fill to the next."""

Bar = Mapping[str, str]

GROOVES: dict[str, Bar] = {
    "rock": {
        "hihat_closed": "X.x.X.x.X.x.X.x.",
        "snare": "....X.......X...",
        "kick": "X.....x.X.x.....",
    },
    "rock, open": {
        "hihat_closed": "X.x.X.x.X.x.X...",
        "hihat_open": "..............X.",
        "snare": "....X.......X...",
        "kick": "X.......X.....x.",
    },
    "funk": {
        "hihat_closed": "Xoxoxoxoxoxoxoxo",
        "snare": "....X..o.o..X..o",
        "kick": "X..x..x...x..x..",
    },
    "half-time": {
        "hihat_closed": "X.x.x.x.X.x.x.x.",
        "snare": "........X.......",
        "kick": "X......x..x.....",
    },
    "disco": {
        "hihat_closed": "x...x...x...x...",
        "hihat_open": "..X...X...X...X.",
        "snare": "....X.......X...",
        "kick": "X...X...X...X...",
    },
    "ride": {
        "ride": "X.x.X.x.X.x.X.x.",
        "snare": "....X.......X..o",
        "kick": "X.x.....X.....x.",
    },
    "ride, busy": {
        "ride": "X.x.xxx.X.x.xxx.",
        "snare": "....X..o....X...",
        "kick": "X.......x.x.....",
    },
    "toms": {
        "tom_low": "X.x.x.x.X.x.x...",
        "tom_mid": "..............x.",
        "snare": "....X.......X...",
        "kick": "X.......X.......",
    },
}
"""Bars to play again and again."""

FILLS: tuple[Bar, ...] = (
    {
        "snare": "X.x.xxx.........",
        "tom_high": "........xx......",
        "tom_mid": "..........xx....",
        "tom_low": "............XxX.",
        "kick": "X...x...x...x...",
    },
    {
        "hihat_closed": "X.x.X.x.........",
        "snare": "....X...X.x.....",
        "tom_high": "..........x.x...",
        "tom_mid": ".............x..",
        "tom_low": "..............X.",
        "kick": "X.....x.........",
    },
    {
        "tom_high": "X.x.x...........",
        "tom_mid": "......X.x.......",
        "tom_low": "..........X.x.x.",
        "kick": "X...x...x...x...",
    },
    {
        "ride": "X.x.X.x.X.......",
        "snare": "....X.....xx....",
        "tom_high": "............x...",
        "tom_mid": ".............x..",
        "tom_low": "..............xx",
        "kick": "X.......X.......",
    },
)
"""Bars that lead to the next part."""


class Stroke(NamedTuple):
    """One hit of a song."""

    milliseconds: int
    component: str
    velocity: float


class Played(NamedTuple):
    """A song as it was played."""

    strokes: list[Stroke]
    bpm: float
    offset: float
    """Seconds of the first beat."""
    seconds: float
    """How long the song is."""


def play(rng: np.random.Generator, seconds: float, parts: tuple[str, ...] = ()) -> Played:
    """A song of about `seconds`, of the grooves `parts` one after the other (drawn where none are named).

    Every part ends with a fill, and a crash begins the next one.
    """
    bpm = float(rng.uniform(84, 138))
    step = 60 / bpm / 4
    offset = float(rng.uniform(0.1, COUNTED_IN))
    bars = max(2, int((seconds - offset - RINGS_OUT) / (STEPS * step)))
    drawn = parts or tuple(str(name) for name in rng.permutation(list(GROOVES)))
    swing = float(rng.choice([0.0, 0.0, 0.12])) * step
    strokes: list[Stroke] = []
    for number in range(bars):
        fills = number % FILL_EVERY == FILL_EVERY - 1 or number == bars - 1
        groove = drawn[number // FILL_EVERY % len(drawn)]
        bar = FILLS[rng.integers(len(FILLS))] if fills else GROOVES[groove]
        begins = offset + number * STEPS * step
        strokes += _bar(rng, bar, begins, step, swing, crashes=number % FILL_EVERY == 0)
    strokes += [_stroke(rng, offset + bars * STEPS * step, name, "X") for name in ("crash", "kick")]
    strokes.sort()
    return Played(strokes, bpm, offset, strokes[-1].milliseconds / 1000 + RINGS_OUT)


def _bar(
    rng: np.random.Generator, bar: Bar, begins: float, step: float, swing: float, *, crashes: bool
) -> list[Stroke]:
    found = []
    for component, steps in bar.items():
        for number, mark in enumerate(steps):
            hand_is_busy = crashes and number == 0 and component not in ("kick", "snare")
            if mark != "." and not hand_is_busy:
                found.append(_stroke(rng, begins + number * step + swing * (number % 2), component, mark))
    return [*found, _stroke(rng, begins, "crash", "X")] if crashes else found


def _stroke(rng: np.random.Generator, seconds: float, component: str, mark: str) -> Stroke:
    late = float(np.clip(rng.normal(0, LATE), -2 * LATE, 2 * LATE))
    velocity = float(np.clip(LOUDNESS[mark] + rng.normal(0, 0.06), 0.15, 1.0))
    return Stroke(max(0, round(1000 * (seconds + late))), component, round(velocity, 2))
