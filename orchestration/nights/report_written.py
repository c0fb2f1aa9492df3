"""The morning's page as a file: it appears whole, and the newest one under a name that stays, too."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path

import dagster as dg

from ml.studies.registry import ALL_STUDIES
from ml.studies.study import Study
from orchestration.nights.report import Report, collect
from orchestration.nights.report_page import page
from orchestration.resources import Bench
from storage import durable

LATEST = "latest.html"


def write_report(
    bench: Bench,
    instance: dg.DagsterInstance | None,
    now: dt.datetime,
    name: str | None = None,
    studies: Sequence[Study] = ALL_STUDIES,
) -> tuple[Report, Path]:
    """Writes the page of an evening into the lab's reports, and the newest one as `latest.html` too."""
    report = collect(bench, instance, now, name, studies)
    return report, write_page(report, bench)


def write_page(report: Report, bench: Bench) -> Path:
    """Writes what was collected."""
    text = page(report, bench).encode("utf-8", "replace")
    bench.lab.reports.mkdir(parents=True, exist_ok=True)
    target = bench.lab.reports / f"{report.evening.name}.html"
    newest = max(evenings_written(bench), default="")
    places = [target] if newest > report.evening.name else [target, bench.lab.reports / LATEST]
    for path in places:
        durable.write_beside(path, lambda beside: beside.write_bytes(text))
    return target


def evenings_written(bench: Bench) -> set[str]:
    """The evenings that have a page."""
    return {path.stem for path in bench.lab.reports.glob("????-??-??.html")}
