"""The command `denoise` in this process: its exit code and what it says."""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass

from ml.config import ConfigError
from tests.ml.inference.command import app


@dataclass(frozen=True)
class Said:
    """What a command came to."""

    code: int
    out: str
    err: str


def asked(*arguments: str) -> Said:
    """`nocturne denoise ARGUMENTS`, where `--model` is a folder."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = app(["denoise", *arguments], standalone_mode=False) or 0
        except ConfigError as problem:
            code = 2
            err.write(str(problem))
    return Said(code, out.getvalue(), err.getvalue())
