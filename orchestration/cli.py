"""The `nocturne` command: thin. It starts Dagster work and reads results; what is heavy is imported where it is used.

Exit codes: 0 done, 1 something failed (the others stand), 2 the request or a setting is wrong, 3 something has to be
there first, 130 interrupted.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from ml.config import ConfigError
from orchestration.resources import NotReady, open_bench
from storage.lab import NotALab
from storage.query import NoResults, QueryFailed

app = typer.Typer(
    name="nocturne",
    help="Overnight training studies for audio models. The lab is ./lab, or the folder that NOCTURNE_LAB names.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
db = typer.Typer(help="The results database.", no_args_is_help=True)
app.add_typer(db, name="db")

FAILED, WRONG, NOT_READY, INTERRUPTED = 1, 2, 3, 130

StudyName = Annotated[str, typer.Argument(metavar="STUDY", help="Name of a study; `nocturne studies` lists them.")]


@app.command()
def run(
    study: StudyName,
    trials: Annotated[list[str] | None, typer.Argument(help="Names of trials; without: all not done.")] = None,
    filter: Annotated[str | None, typer.Option(help="Only trials whose name contains this.")] = None,
    force: Annotated[bool, typer.Option(help="Train again although finished; older results are kept.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Look at the source, list what will run with time and disk, ask, and run it here."""
    from orchestration.running import run_study

    raise typer.Exit(run_study(open_bench(), _study(study), trials or [], filter, force=force, yes=yes))


@app.command()
def studies() -> None:
    """Studies and trials: which are done, missing, stale, failed or paused."""
    from orchestration.reading import print_studies

    raise typer.Exit(print_studies(open_bench()))


@app.command()
def summary(study: StudyName) -> None:
    """What the finished trials say: accuracies, times, remarks, the best model."""
    from orchestration.answers import standing

    chosen = _study(study)
    now = standing(open_bench(), chosen)
    print(chosen.summary(now.leaderboard, now.per_class, now.inventory))


@app.command()
def sql(
    statement: Annotated[str, typer.Argument(help='For example "select * from leaderboard".')],
    csv: Annotated[bool, typer.Option("--csv", help="Comma-separated values instead of a table.")] = False,
) -> None:
    """Ask the results database; it is opened read-only and cannot be changed."""
    from orchestration.reading import print_sql

    raise typer.Exit(print_sql(open_bench(), statement, csv=csv))


@db.command("rebuild")
def rebuild() -> None:
    """Make results.duckdb again, from the records alone."""
    from storage.results import rebuild

    report = rebuild(open_bench().lab)
    print(report.message)


@app.command()
def export(
    study: StudyName,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where to write; made if missing.")],
    format: Annotated[str, typer.Option(help="document: the files that the study's original wrote.")] = "document",
    pth: Annotated[bool, typer.Option("--pth", help="Also write each model as a .pth state dict.")] = False,
) -> None:
    """Write results and models as plain files for other programs."""
    from orchestration.answers import model_folders, standing

    if format != "document":
        raise ConfigError(f"--format {format}: there is `document` only")
    bench, chosen = open_bench(), _study(study)
    now = standing(bench, chosen)
    written = chosen.export_document(folder, now.leaderboard, now.per_class, model_folders(bench, chosen), pth=pth)
    for path in written:
        print(path)


@app.command()
def up(port: Annotated[int, typer.Option(help="Port of the UI on 127.0.0.1.")] = 3000) -> None:
    """Serve the Dagster UI and run its daemon on this lab until Ctrl+C."""
    from orchestration.up import run_up

    raise typer.Exit(run_up(open_bench().lab.root, port))


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The demo's lab.")] = Path("lab-demo"),
) -> None:
    """Make a small lab with synthesized recordings and run every study in it."""
    from orchestration.demo import run_demo

    raise typer.Exit(run_demo(folder))


def _study(name: str) -> Any:
    from ml.studies.registry import study_named

    try:
        return study_named(name)
    except KeyError as problem:
        raise ConfigError(str(problem.args[0])) from None


def main() -> int:
    """Run the command; what goes wrong is one sentence, and an exit code that scripts can use."""
    try:
        code = app(standalone_mode=False)  # what a command ended with by typer.Exit
    except typer.Abort:
        print("nothing was started", file=sys.stderr)
        return INTERRUPTED
    except KeyboardInterrupt:
        print(
            "\ninterrupted: finished epochs and trials are kept; the same command goes on from there", file=sys.stderr
        )
        return INTERRUPTED
    except (ConfigError, NotALab, QueryFailed) as problem:
        return _told(problem, WRONG)
    except (NotReady, NoResults) as problem:
        return _told(problem, NOT_READY)
    except BrokenPipeError:
        return 0
    except Exception as problem:
        show = getattr(problem, "show", None)  # of typer's own errors: a wrong option, a missing argument
        if show is None:
            raise
        show()
        return WRONG
    return code if isinstance(code, int) else 0


def _told(problem: Exception, code: int) -> int:
    print(f"nocturne: {problem}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
