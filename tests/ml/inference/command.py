"""The command `denoise` alone, in a process of its own: python -m tests.ml.inference.command denoise ARGUMENTS

`--model` is the folder of a model, as it lies there.
"""

from __future__ import annotations

import sys
from pathlib import Path

import typer

from ml.config import ConfigError
from ml.studies.denoise.commands import add
from ml.studies.surroundings import Surroundings

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
add(app, Surroundings(lambda said: Path(said or "no model was named"), Path, Path, dict, lambda: None))


@app.callback()
def nocturne() -> None:
    """Makes `denoise` the name of a command."""


if __name__ == "__main__":
    try:
        sys.exit(app(standalone_mode=False) or 0)
    except ConfigError as problem:
        print(f"nocturne: {problem}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        sys.exit(130)
