"""What the command line shows of a lab without starting anything."""

from __future__ import annotations

import math
import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from ml.config import ConfigError
from ml.studies.registry import ALL_STUDIES
from ml.studies.study import Study
from orchestration import plan
from orchestration.amounts import class_amounts
from orchestration.asking import FEW
from orchestration.resources import Bench, NotReady

SHOWN = 10
"""Files that something is said about, by name; the rest is counted."""


def print_studies(bench: Bench, only: Study | None = None) -> int:
    """Every study, or one, with its source and the state of every trial."""
    code = 0
    print(f"lab: {bench.lab.root}")
    for study in ALL_STUDIES if only is None else (only,):
        print(f"\n{study.name}: {study.question}")
        try:
            source = bench.source(study)
            print(f"  source: {source}{'' if source.is_dir() else '  (not there now)'}")
        except NotReady as problem:
            print(f"  source: {problem}")
        try:
            states = plan.trial_states(bench, study, upcoming=True)
            trials = bench.trials(study)
        except ConfigError as problem:
            print(f"  {problem}", file=sys.stderr)
            code = 2
            continue
        for sentence in trials.notes:
            print(f"  note: {sentence}")
        counts = {name: sum(state.state == name for state in states) for name in plan.STATES}
        print("  " + ", ".join(f"{count} {name}" for name, count in counts.items() if count))
        width = max([24, *(len(state.trial.name) + 2 for state in _few(states))])
        phase_of = {name: number for number, names in enumerate(study.phases, 1) for name in names}
        phase: int | None = None
        listed = _few(states)
        for state in listed:
            if study.phases and phase_of.get(state.trial.name, 0) != phase:
                phase = phase_of.get(state.trial.name, 0)
                print(f"  phase {phase}" if phase else "  in no phase")
            why = textwrap.shorten(state.why, 160, placeholder=" …")
            print(f"  {state.trial.name:<{width}}{state.state:<10}{why}".rstrip())
        _print_rest(states, listed)
        for sentence in trials.problems:
            print(f"  left out: {sentence}", file=sys.stderr)
            code = 2
    return code


def _few(states: Sequence[plan.TrialState]) -> list[plan.TrialState]:
    """Those that are listed one by one: of a large grid only points with news."""
    if len(states) <= FEW:
        return list(states)
    news = [state for state in states if not state.trial.mode or state.state not in ("missing", "done")]
    return news[:FEW]


def _print_rest(states: Sequence[plan.TrialState], listed: Sequence[plan.TrialState]) -> None:
    """How far each grid is whose points are not all listed."""
    names = {state.trial.name for state in listed}
    for mode in dict.fromkeys(state.trial.mode for state in states if state.trial.name not in names):
        own = [state for state in states if state.trial.mode == mode]
        counts = {name: sum(state.state == name for state in own) for name in plan.STATES}
        said = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
        print(f"  {mode or 'others'}: {said}")


def print_recordings(bench: Bench, study: Study) -> None:
    """What the source holds, class by class, and what of it is left out."""
    record = bench.records.noted(study.name, "inventory")
    if record is None:
        return
    files = record.table("files")
    found = class_amounts(files)
    classes = found.classes
    width = max(12, *(len(name) + 2 for name in classes.index))
    sound = "minutes" if found.with_minutes else ""
    print(f"\n{'class':<{width}}{'files':>8}{found.belonging:>12}{sound:>10}".rstrip())
    for name, row in [*classes.iterrows(), ("together", dict(classes.sum()) | {found.belonging: found.together})]:
        minutes = f"{row['minutes']:.2f}" if found.with_minutes and row["minutes"] == row["minutes"] else ""
        print(f"{name:<{width}}{row['files']:>8.0f}{row[found.belonging]:>12.0f}{minutes:>10}".rstrip())
    if found.sentence():
        print(found.sentence())
    for note in record.account["notes"]:
        print(f"note: {_one_line(note)}")
    rejected, warned = files[files["state"] == "rejected"], files[files["state"] == "warned"]
    for words, rows in (("left out", rejected), ("used with a warning", warned)):
        for row in rows.head(SHOWN).itertuples():
            print(f"{words}: {_one_line(row.path)}: {_one_line(row.problem)}")
        if len(rows) > SHOWN:
            print(f"{words}: {len(rows) - SHOWN} more; all are in the table `files`")


def _one_line(text: str) -> str:
    return str(text).replace("\n", "⏎").replace("\r", "⏎")


def print_sql(bench: Bench, statement: str, *, csv: bool) -> int:
    """The answer to one statement: a table, or where that is wider than the terminal one line per value."""
    from storage.query import query

    frame = query(bench.lab, statement)
    if csv:
        frame.to_csv(sys.stdout, index=False, lineterminator="\n")
        return 0
    rows = [[_cell(value) for value in row] for row in frame.itertuples(index=False, name=None)]
    names = [str(name) for name in frame.columns]
    widths = [max(len(cell) for cell in column) for column in zip(names, *rows, strict=True)]
    if sys.stdout.isatty() and sum(widths) + 3 * len(widths) > shutil.get_terminal_size().columns:
        longest = max(map(len, names))
        for row in rows:
            for name, cell in zip(names, row, strict=True):
                print(f"{name:<{longest}}  {cell}")
            print("─" * 20)
    elif names:
        numeric = [kind.kind in "iuf" for kind in frame.dtypes]
        for row in [names, ["─" * width for width in widths], *rows]:
            cells = (
                cell.rjust(width) if right else cell.ljust(width)
                for cell, width, right in zip(row, widths, numeric, strict=True)
            )
            print(" │ ".join(cells).rstrip())
    print(f"{len(frame)} row{'s' if len(frame) != 1 else ''}")
    return 0


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.4g}"
    if isinstance(value, Mapping | Sequence) or hasattr(value, "tolist"):
        return _one_line(str(value.tolist() if hasattr(value, "tolist") else value))
    return "" if value is None or str(value) in ("<NA>", "NaT") else _one_line(str(value))
