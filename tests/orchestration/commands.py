"""Commands in this process: what a person reads, and the exit code, without a start of Python each time."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from unittest import mock

from dagster._core.definitions.reconstruct import ReconstructableJob

from orchestration import cli
from orchestration.resources import Bench
from orchestration.showing import VOICE


@dataclass(frozen=True)
class Said:
    """What a command came to."""

    code: int
    out: str
    err: str

    @property
    def trained(self) -> list[str]:
        """The trials that trained an epoch, in order, each once."""
        names = [line.split()[1].rstrip(":") for line in self.out.splitlines() if ": epoch " in line]
        return list(dict.fromkeys(names))


def command(bench: Bench, *arguments: str, variables: Mapping[str, str] | None = None) -> Said:
    """`nocturne ARGUMENTS` in the lab of `bench`, nobody at the keyboard."""
    forget_definitions()
    out, err = io.StringIO(), io.StringIO()
    said = {"NOCTURNE_LAB": str(bench.lab.root), **(variables or {})}
    with (
        mock.patch.dict(os.environ, said),
        mock.patch.object(sys, "argv", ["nocturne", *arguments]),
        mock.patch.object(sys, "stdin", io.StringIO()),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        code = cli.main()
    VOICE.handlers.clear()
    assert "Traceback" not in out.getvalue() + err.getvalue()
    return Said(code, out.getvalue(), err.getvalue())


def forget_definitions() -> None:
    """The definitions are those of one lab at one moment: the next command loads them anew."""
    sys.modules.pop("orchestration.definitions", None)
    ReconstructableJob.get_definition.cache_clear()
    VOICE.handlers.clear()
