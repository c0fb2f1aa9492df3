"""The report of a night as one HTML file: nothing in it is fetched from anywhere, and nothing in it is executed.

Whatever comes from files, trials and errors is escaped by the template; the page also forbids itself all scripts and
every address but its own.
"""

from __future__ import annotations

import base64
import datetime as dt
import json
import re
from contextlib import suppress
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from orchestration.asking import duration
from orchestration.nights import report_charts
from orchestration.nights.learned import Learned, Result, in_units
from orchestration.nights.looking_back import DIED, Tried
from orchestration.nights.planning import StudyPlan
from orchestration.nights.report import OUTCOMES, Report
from orchestration.resources import Bench

FOLDER = Path(__file__).with_name("page")

MOST_ADVICE, MOST = 8, 15
"""Things to do, and rows of a list, that are shown."""


def page(report: Report, bench: Bench) -> str:
    """The whole page."""
    night = report.evening
    bell = night.shown(night.ends)
    shown = {one.study.name: one.tried for one in report.studies}
    spans = {span.outcome for one in report.tried for span in one.spans}
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            report=report,
            style=Markup((FOLDER / "report.css").read_text(encoding="utf-8")),  # noqa: S704 - our own file
            outcomes=OUTCOMES,
            spans=[name for name in OUTCOMES if name in spans],
            urgent=any(one.urgent for one in report.advice),
            when=_when(report),
            bell=bell,
            timeline=report_charts.timeline(night, report.written, shown),
            address=_address(bench),
            lab=str(bench.lab.root),
            most_advice=MOST_ADVICE,
            most=MOST,
        )
    )


@cache
def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "base64": lambda png: base64.b64encode(png).decode(),
        "curve": report_charts.curve,
        "duration": lambda seconds: "" if seconds is None else duration(seconds),
        "interval": lambda result, known: report_charts.interval(result.validation, result.test, known),
        "marked": marked,
        "next_step": _next_step,
        "night": _night,
        "numbers": _numbers,
        "verdict": _verdict,
    }
    return made


def marked(text: str) -> Markup:
    """The text with what stands between `backticks` as code; everything in it is escaped."""
    parts = [
        Markup("<code>{}</code>").format(part) if number % 2 else escape(part)
        for number, part in enumerate(str(text).split("`"))
    ]
    if len(parts) % 2 == 0:  # a backtick that is not closed is one
        return escape(text)
    return Markup("").join(parts)


def _when(report: Report) -> str:
    night = report.evening
    if not night.nights and night.ends != report.written:
        return (
            f"{night.day(night.begins)}, {night.shown(night.begins)}, to {night.day(night.ends)}, no night of any study"
        )
    if not night.nights:
        return f"The last 24 hours, until {night.day(night.ends)}, {night.shown(night.ends)}"
    said = f"Night of {night.day(night.begins)}, {night.shown(night.begins)} to {night.shown(night.ends)}"
    evening = dt.date.fromisoformat(night.name)
    if night.begins.astimezone(night.zone).date() != evening:  # it begins after midnight
        said += f" (evening of {evening.day} {evening:%B})"
    return said if report.is_over else f"{said}: still going on, written at {night.shown(report.written)}"


def _next_step(tried: Tried) -> str:
    """What becomes of a trial that did not finish."""
    if tried.outcome == "paused":
        return "Goes on from there next night."
    if tried.outcome == "running":
        return "Still at work when this was written."
    if tried.outcome == "diverged":
        return "Not tried again as it is: its settings have to change."
    if tried.again or tried.outcome == DIED:
        return "Tried again next night."
    return "Tried once more next night; without a change it fails again."


def _numbers(result: Result, known: Learned) -> str:
    """Test, else validation, with its interval, in words."""
    one = result.test or result.validation
    if one is None:
        return ""
    part = "test" if result.test else "validation"
    said = f"{part} {in_units(known.metric_name, one.value)}"
    if one.low is None or one.high is None:
        return said
    return f"{said} ({_ends(known.metric_name, one.low, one.high)})"


def _ends(metric: str, low: float, high: float) -> str:
    first, last = in_units(metric, low), in_units(metric, high)
    unit = re.search(r" \D+$", last)
    return f"{first.removesuffix(unit.group()) if unit else first} to {last}"


def _verdict(said: str) -> Markup:
    """The verdict against the leader, its reason left to who points at it."""
    if not said:
        return Markup("<b>the leader</b>")
    words = said.partition(":")[0]
    p_value = re.search(r"\(p = ([^)]+)\)", said)
    small = Markup('<span class="changes">p = {}</span>').format(p_value.group(1)) if p_value else Markup("")
    return escape(words) + small


def _night(found: StudyPlan) -> str:
    night = found.night
    if night is None:
        return ""
    begins, ends = night.begins.astimezone(night.zone), night.ends.astimezone(night.zone)
    return f"{begins:%A} {begins.day} {begins:%B}, {begins:%H:%M} to {ends:%H:%M}"


def _address(bench: Bench) -> str:
    """Where the pages of the lab are served now; "" where they are not."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        said = json.loads((bench.lab.locks / "up.json").read_text(encoding="utf-8"))["address"]
        if urlsplit(said).scheme == "http":
            return str(said).rstrip("/")
    return ""
