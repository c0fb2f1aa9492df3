"""The `nocturne` command: thin. It starts Dagster work and reads results; what is heavy is imported where it is used.

Exit codes: 0 done, 1 something failed (the others stand), 2 the request or a setting is wrong, 3 something has to be
there first, 130 interrupted.
"""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ml.studies.commands import COMMANDS
from ml.studies.surroundings import Surroundings
from orchestration.exits import INTERRUPTED, WRONG, told

if TYPE_CHECKING:
    from ml.studies.study import Study
    from orchestration.resources import Bench

app = typer.Typer(
    name="nocturne",
    help="Overnight training studies of sound and pictures. The lab is ./lab, or the folder that NOCTURNE_LAB names. "
    "NOCTURNE_DEBUG=1 shows where an error came from.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
db = typer.Typer(help="Repair the results database.", no_args_is_help=True)
app.add_typer(db, name="db")


class Order(StrEnum):
    """In which order trials run."""

    declared = "declared"
    smart = "smart"


StudyName = Annotated[str, typer.Argument(metavar="STUDY", help="Name of a study; `nocturne studies` lists them.")]


@app.command()
def run(
    study: StudyName,
    trials: Annotated[
        list[str] | None, typer.Argument(metavar="[TRIAL]...", help="Names of trials; without: all that are not done.")
    ] = None,
    filter: Annotated[str | None, typer.Option(metavar="TEXT", help="Only trials whose name contains this.")] = None,
    phase: Annotated[
        int | None, typer.Option(metavar="N", help="Only the trials of this phase of the study, from 1.")
    ] = None,
    mode: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only the points of this grid, such as quick or full.")
    ] = None,
    order: Annotated[
        Order, typer.Option(help="smart: first what the finished trials make likely to be best, one run each.")
    ] = Order.declared,
    force: Annotated[bool, typer.Option("--force", help="Train again although finished; older results stay.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Train what is not done, after listing it and asking.

    Looks at the source, lists what will run with time and disk, asks, and runs it here. Ctrl+C keeps every finished
    epoch; the same command goes on from there.
    """
    from orchestration.running import Asked, run_study

    chosen = _study(study)
    raise typer.Exit(
        run_study(_bench(), chosen, Asked(trials or [], filter, phase, mode, order.value == "smart", force, yes))
    )


@app.command()
def studies(
    study: Annotated[
        str | None, typer.Argument(metavar="[STUDY]", help="Name of a study; without: all of them.")
    ] = None,
) -> None:
    """List studies and trials: done, missing, stale, failed."""
    from orchestration.reading import print_studies

    chosen = None if study is None else _study(study)
    raise typer.Exit(print_studies(_bench(), chosen))


@app.command()
def plan(
    study: Annotated[
        str | None, typer.Argument(metavar="[STUDY]", help="Name of a study; without: all of them.")
    ] = None,
    difference: Annotated[
        float, typer.Option(metavar="POINTS", min=0.1, max=100, help="Difference between two trials that matters.")
    ] = 5.0,
) -> None:
    """Show what the next night will do: when, how long, how much disk, and what will not fit.

    Also what it cannot find out, before it is spent. Where no epoch was measured yet a few steps are timed once.
    """
    from orchestration.nights.telling_plan import print_nights

    chosen = None if study is None else _study(study)
    raise typer.Exit(print_nights(_bench(), chosen, difference))


@app.command()
def report(
    evening: Annotated[
        str | None, typer.Argument(metavar="[DATE]", help="Of the evening, like 2026-11-21; without: the newest.")
    ] = None,
    open: Annotated[bool, typer.Option("--open", help="Show it in the browser.")] = False,
) -> None:
    """Write the morning's page now: what ran, what failed and why, what was learned, what runs next."""
    from orchestration.nights.telling_report import print_report

    raise typer.Exit(print_report(_bench(), evening, show=open))


@app.command()
def summary(study: StudyName) -> None:
    """Read what the finished trials say, and the best one."""
    from orchestration.answers import standing

    chosen = _study(study)
    print(chosen.summary(standing(_bench(), chosen)))


@app.command()
def analyze(study: StudyName) -> None:
    """Read what the finished trials say about each setting; trains nothing."""
    from orchestration.answers import standing

    chosen = _study(study)
    print(chosen.analysis(standing(_bench(), chosen)))


@app.command()
def compare(
    study: StudyName,
    split: Annotated[str, typer.Option(metavar="val|test", help="The part whose results are shown.")] = "val",
    metric: Annotated[
        str | None, typer.Option(metavar="NAME", help="Shown class by class: f1 (usual), recall or precision.")
    ] = None,
    export: Annotated[
        Path | None, typer.Option(metavar="FILE.csv", help="Also write all settings and all metrics, a row per trial.")
    ] = None,
) -> None:
    """Put all finished trials beside each other, and say what is certain."""
    from orchestration.comparing import print_comparison

    raise typer.Exit(print_comparison(_bench(), _study(study), split, metric, export))


@app.command()
def sql(
    statement: Annotated[str, typer.Argument(help='For example "select * from leaderboard".')],
    csv: Annotated[bool, typer.Option("--csv", help="Comma-separated values instead of a table.")] = False,
) -> None:
    """Ask the results database in SQL, read-only."""
    from orchestration.reading import print_sql

    raise typer.Exit(print_sql(_bench(), statement, csv=csv))


@db.command("rebuild")
def rebuild() -> None:
    """Make results.duckdb again from the records alone."""
    from storage.results import rebuild

    report = rebuild(_bench().lab)
    print(report.message)


@app.command()
def export(
    study: StudyName,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where to write; made if missing.")],
    format: Annotated[str, typer.Option(help="document: the files that the study's original wrote.")] = "document",
    pth: Annotated[bool, typer.Option("--pth", help="Also write each model as a .pth state dict.")] = False,
) -> None:
    """Write results and models for other programs."""
    from orchestration.answers import model_folders, standing

    if format != "document":
        from ml.config import ConfigError

        raise ConfigError(f"--format {format}: there is `document` only")
    chosen, bench = _study(study), _bench()
    written = chosen.export_document(folder, standing(bench, chosen), model_folders(bench, chosen), pth=pth)
    for path in written:
        print(path)


@app.command()
def up(port: Annotated[int, typer.Option(help="Port of the UI on 127.0.0.1.")] = 3000) -> None:
    """Serve the UI and run its daemon until Ctrl+C."""
    from orchestration.up import run_up

    raise typer.Exit(run_up(_bench().lab.root, port))


@app.command()
def clean(
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Remove what is listed.")] = False,
    budget: Annotated[
        float | None, typer.Option(metavar="GB", min=0, help="Make states and features fit into so much.")
    ] = None,
) -> None:
    """List what nobody needs any more of what was built here; --yes removes it. Records and sources stay."""
    from orchestration.nights.telling_clean import print_cleaning

    raise typer.Exit(print_cleaning(_bench(), yes=yes, budget_gb=budget))


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The demo's lab.")] = Path("lab-demo"),
) -> None:
    """Run every study in a small lab of made-up files."""
    from orchestration.demo import run_demo

    raise typer.Exit(run_demo(folder))


def _study(name: str) -> Study:
    from ml.config import ConfigError
    from ml.studies.registry import study_named

    try:
        return study_named(name)
    except KeyError as problem:
        raise ConfigError(str(problem.args[0])) from None


def _bench() -> Bench:
    from orchestration.resources import open_bench

    return open_bench()


def _surroundings(study: str) -> Surroundings:
    """What the commands of a study may ask of the lab, which is opened when they do."""

    def find(said: str | None) -> Path:
        from orchestration.models import find_model

        return find_model(_bench(), _study(study), said)

    return Surroundings(
        find_model=find,
        collection=lambda: _bench().collection(_study(study)),
        source=lambda: _bench().source_or_none(_study(study)),
        settings=lambda: _bench().settings(_study(study)),
        files=lambda: _bench().files(_study(study)),
    )


for _name, _add in COMMANDS:
    _add(app, _surroundings(_name))


def main() -> int:
    """Run the command; what goes wrong is one sentence, and an exit code that scripts can use."""
    try:
        code = app(prog_name="nocturne", standalone_mode=False)  # what a command ended with by typer.Exit
        sys.stdout.flush()
    except BrokenPipeError:  # the reader (head, less) has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (typer.Abort, KeyboardInterrupt):
        print("\ninterrupted", file=sys.stderr)
        return INTERRUPTED
    except Exception as problem:
        show = getattr(problem, "show", None)  # of typer's own errors: a wrong option, a missing argument
        if show is not None:
            show()
            return WRONG
        if os.environ.get("NOCTURNE_DEBUG"):
            raise
        sentence, code = told(problem)
        print(f"nocturne: {sentence}", file=sys.stderr)
        return code
    return code if isinstance(code, int) else 0


if __name__ == "__main__":
    sys.exit(main())
