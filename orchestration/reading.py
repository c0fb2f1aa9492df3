"""What the command line shows of a lab without starting anything."""

from __future__ import annotations

import sys

from ml.config import ConfigError
from ml.studies.registry import ALL_STUDIES
from orchestration import plan
from orchestration.resources import Bench, NotReady


def print_studies(bench: Bench) -> int:
    """Every study with its source and the state of every trial."""
    code = 0
    print(f"lab: {bench.lab.root}")
    for study in ALL_STUDIES:
        print(f"\n{study.name}: {study.question}")
        try:
            source = bench.source(study)
            print(f"  source: {source}{'' if source.is_dir() else '  (not there now)'}")
        except NotReady as problem:
            print(f"  source: {problem}")
        try:
            states = plan.trial_states(bench, study)
            problems = bench.trials(study).problems
        except ConfigError as problem:
            print(f"  {problem}", file=sys.stderr)
            code = 2
            continue
        counts = {name: sum(state.state == name for state in states) for name in plan.STATES}
        print("  " + ", ".join(f"{count} {name}" for name, count in counts.items() if count))
        for state in states:
            print(f"  {state.trial.name:<24}{state.state:<10}{state.why}")
        for sentence in problems:
            print(f"  left out: {sentence}", file=sys.stderr)
            code = 2
    return code


def print_sql(bench: Bench, statement: str, *, csv: bool) -> int:
    """The answer to one statement."""
    from storage.query import query

    frame = query(bench.lab, statement)
    if csv:
        frame.to_csv(sys.stdout, index=False, lineterminator="\n")
        return 0
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(show_edge=False)
    for name in frame.columns:
        table.add_column(Text(str(name)), overflow="fold")
    for row in frame.itertuples(index=False):
        table.add_row(*(Text(_cell(value)) for value in row))
    Console(width=None if sys.stdout.isatty() else 10_000, soft_wrap=True).print(table)
    print(f"{len(frame)} row{'s' if len(frame) != 1 else ''}")
    return 0


def _cell(value: object) -> str:
    if value is None or value != value:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
