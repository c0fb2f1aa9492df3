"""`nocturne report`: the page of the newest evening, written now."""

from __future__ import annotations

import datetime as dt
import webbrowser
from pathlib import Path

import dagster as dg

from ml.config import ConfigError
from ml.studies.words import first_of
from orchestration.nights import clock
from orchestration.nights.looking_back import evening_at, evenings_in
from orchestration.nights.report import Report, collect
from orchestration.nights.report_written import evenings_written, write_page
from orchestration.resources import Bench, NotReady

NAMED = 6
"""Evenings that are named where another one is not known."""


def print_report(bench: Bench, evening: str | None, *, show: bool) -> int:
    """Writes the report of an evening (its date; the newest without), says what it says first; the exit code."""
    if evening is not None:
        try:
            evening = dt.date.fromisoformat(evening).isoformat()
        except ValueError:
            raise ConfigError(f"{evening}: the date of an evening is written like 2026-11-21") from None
    home = bench.lab.dagster_home
    if (home / "dagster.yaml").is_file():
        with dg.DagsterInstance.from_config(str(home)) as instance:
            report, path = _written(bench, instance, evening)
    else:  # nothing has run here under Dagster
        report, path = _written(bench, None, evening)
    print(report.headline)
    for one in report.advice:
        print(f"- {one.what}" + "".join(f"\n    {said}" for said in (one.why, one.how) if said))
    print(path)
    if show and not webbrowser.open(path.as_uri()):
        print("no browser could be opened here; the file opens in any")
    return 0


def _written(bench: Bench, instance: dg.DagsterInstance | None, evening: str | None) -> tuple[Report, Path]:
    """The report and its page; no page of an evening of which nothing is known."""
    now = clock.now()
    report = collect(bench, instance, now, evening)
    known = _known(bench, instance, now)
    if evening is None or evening in known or report.tried or any(one.whose for one in report.holdups):
        return report, write_page(report, bench)
    told = f"known are {first_of(sorted(known, reverse=True), NAMED)}" if known else "no night has been here yet"
    raise NotReady(f"nothing is known of the evening of {evening}: {told}")


def _known(bench: Bench, instance: dg.DagsterInstance | None, now: dt.datetime) -> set[str]:
    """Evenings of which there is something to tell: they have a page or runs, or are the newest one."""
    newest = evening_at(bench, now, instance=instance)
    found = evenings_written(bench) | ({newest.name} if newest.nights else set())
    return found | (evenings_in(instance) if instance is not None else set())
