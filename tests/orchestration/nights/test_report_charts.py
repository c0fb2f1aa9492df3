"""What is drawn of a night: every attempt at its place on the clock, however many there are."""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

from orchestration.nights.looking_back import DIED, Evening, Span, Tried
from orchestration.nights.report_charts import TICKS, curve, timeline
from orchestration.nights.window import Night

BERLIN = ZoneInfo("Europe/Berlin")
BEGINS = dt.datetime(2026, 10, 24, 15, tzinfo=dt.UTC)
"""17:00 in Berlin, on the evening before the clock there is put back."""
ENDS = BEGINS + dt.timedelta(hours=18)
NIGHT = Night("concert", "2026-10-24", BEGINS, ENDS, BERLIN)
EVENING = Evening("2026-10-24", BEGINS, ENDS, ENDS, {"concert": NIGHT})


def at(hours: float) -> dt.datetime:
    return BEGINS + dt.timedelta(hours=hours)


def tried(name: str, *spans: tuple[float, float | None, str]) -> Tried:
    drawn = tuple(Span(at(begins), None if ends is None else at(ends), outcome) for begins, ends, outcome in spans)
    return Tried(name, drawn[-1].outcome, "", False, None, None, drawn)


def test_each_attempt_lies_where_it_was_on_the_clock() -> None:
    trials = [tried("one", (0, 4.5, "finished")), tried("two", (4.5, None, DIED), (9, 18, "paused"))]
    found = timeline(EVENING, ENDS, {"concert": trials, "idle": []})
    assert found is not None and found.bell == 100.0
    (lane,) = found.lanes
    assert [(block.left, block.width, block.outcome) for block in lane.blocks] == [
        (0.0, 25.0, "finished"),
        (25.0, 25.0, DIED),
        (50.0, 50.0, "paused"),
    ], "what died is drawn until the next attempt began: nobody knows more"
    assert lane.blocks[0].title == "one, finished, 17:00 to 21:30"


def test_hundreds_of_short_attempts_are_few_blocks_and_none_is_lost_among_them() -> None:
    short = 0.01
    many = [tried(f"t{number}", (number * short, (number + 0.9) * short, "finished")) for number in range(864)]
    many[400] = tried("bad", (400 * short, 400.9 * short, "failed"))
    found = timeline(EVENING, ENDS, {"concert": many})
    assert found is not None
    blocks = found.lanes[0].blocks
    assert [block.outcome for block in blocks] == ["finished", "failed", "finished"]
    assert [block.title for block in blocks] == [
        "400 attempts, finished",
        "bad, failed, 21:00 to 21:00",
        "463 attempts, finished",
    ]
    assert abs(blocks[0].width - 100 * 400 * short / 18) < 0.1


def test_the_clock_below_is_the_one_on_the_wall_in_the_night_it_is_put_back() -> None:
    found = timeline(EVENING, ENDS, {"concert": [tried("one", (0, 18, "finished"))]})
    assert found is not None and len(found.ticks) <= TICKS + 1
    said = [tick.said for tick in found.ticks]
    assert said[0] == "18:00" and len(set(said)) == len(said)
    assert all(0 <= tick.left <= 100 for tick in found.ticks)
    shown = EVENING.shown(at(found.ticks[-1].left / 100 * 18))
    assert shown == said[-1]


def test_without_a_night_the_clock_is_as_long_as_what_was_done() -> None:
    alone = Evening("2026-10-24", at(-6), ENDS, ENDS)
    found = timeline(alone, ENDS, {"concert": [tried("one", (1, 2, "finished"))]})
    assert found is not None and found.bell is None and found.lanes[0].blocks[0].width > 99
    assert timeline(alone, ENDS, {"concert": []}) is None


def test_a_curve_of_one_epoch_or_of_equals_is_no_trouble() -> None:
    assert curve([0.5]) == "" and curve([]) == ""
    assert curve([0.5, 0.5]).count("26.0") == 2
