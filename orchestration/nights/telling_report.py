"""`nocturne report`: the page of the newest evening, written now."""

from __future__ import annotations

import datetime as dt
import webbrowser

import dagster as dg

from ml.config import ConfigError
from orchestration.nights import clock
from orchestration.nights.report_written import write_report
from orchestration.resources import Bench


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
            report, path = write_report(bench, instance, clock.now(), evening)
    else:  # nothing has run here under Dagster
        report, path = write_report(bench, None, clock.now(), evening)
    print(report.headline)
    for one in report.advice:
        print(f"- {one.what}" + (f": {one.how}" if one.how else ""))
    print(path)
    if show and not webbrowser.open(path.as_uri()):
        print("no browser could be opened here; the file opens in any")
    return 0
