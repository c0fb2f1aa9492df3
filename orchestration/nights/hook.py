"""The command of a person's own that is run when the morning's report is written; whatever it does harms nothing."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import IO

import psutil

from ml.config import ConfigError
from orchestration.nights.lab_nights import nights_of_lab
from storage.lab import Lab

SECONDS = 60.0
"""A command that takes longer is ended: the machine is wanted by somebody else."""

TOLD = 300
"""Characters of what a failed command said."""

MOST_PRINTED = 16_000_000
"""Bytes; what prints more without an end would fill the disk."""

WAS_RUN = "was run"
"""So ends what is said of a command that did its work."""

OPERATORS = (">", ">>", "<", "|", "&", "&&", "||")
"""What a shell reads and no program does, where it is a word of its own."""

LOOK_SECONDS = 0.1
LAST_SECONDS = 5.0
"""So long what was killed is waited for."""


def on_morning(lab: Lab, report: Path, seconds: float = SECONDS) -> str:
    """Runs `on_morning` with the path of the report as its last argument; what came of it, "" where there is none.

    No shell reads it. It works in the folder of the lab, hears nothing and is waited for. What it leaves behind when it
    ends in time (a browser, a player) lives on.
    """
    try:
        words = nights_of_lab(lab).morning_command(report)
    except (ConfigError, ValueError) as problem:  # an unbalanced quotation mark is a ValueError
        return f"on_morning was not run: {problem}"
    if not words:
        return ""
    if meant := _meant_for_a_shell(nights_of_lab(lab).on_morning):
        return f"on_morning was not run: no shell reads it, and `{meant}` is for one: write a script, or sh -c '…'"
    with tempfile.TemporaryFile() as printed:
        try:
            process = subprocess.Popen(
                words,
                cwd=lab.root,
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # so that all of it can be ended; Windows knows none
            )
        except OSError as problem:
            return f"on_morning ({words[0]}) could not be run: {problem.strerror or problem}"
        if too_much := _wait(process, printed, seconds):
            return f"on_morning ({words[0]}) was ended {too_much}"
        if process.returncode:
            said = _last_words(printed)
            return f"on_morning ({words[0]}) ended with {process.returncode}{f': {said}' if said else ''}"
        return f"on_morning ({words[0]}) {WAS_RUN}"


def _meant_for_a_shell(said: list[str] | str | None) -> str:
    """The first word that only a shell understands; "" where there is none. What is quoted is meant as it stands."""
    if isinstance(said, list):
        return next((word for word in said if word in OPERATORS), "")
    with suppress(ValueError):  # it can be split as it is run, and that is what counts
        for word in shlex.split(said or "", posix=False):
            if word in OPERATORS or word.endswith(";") or re.match(r"[\d&]?>", word):
                return word
    return ""


def _wait(process: subprocess.Popen[bytes], printed: IO[bytes], seconds: float) -> str:
    """Until the command has ended, whatever it leaves behind; else it is ended with all that it started: why."""
    last = time.monotonic() + seconds
    try:
        while time.monotonic() < last:
            with suppress(subprocess.TimeoutExpired):
                process.wait(LOOK_SECONDS)
                return ""
            if os.fstat(printed.fileno()).st_size > MOST_PRINTED:
                return f"when it had printed more than {MOST_PRINTED // 10**6} MB"
        return f"after {seconds:.0f} s"
    finally:
        if process.returncode is None:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kills it and what it started: its children, and whose parent has gone but is still in its session."""
    with suppress(psutil.NoSuchProcess):
        for one in psutil.Process(process.pid).children(recursive=True):
            with suppress(psutil.Error):
                one.kill()
    if sys.platform != "win32":
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    with suppress(subprocess.TimeoutExpired):
        process.wait(LAST_SECONDS)


def _last_words(printed: IO[bytes]) -> str:
    end = printed.seek(0, os.SEEK_END)
    printed.seek(max(0, end - 4 * TOLD))  # a character takes four bytes at most
    return " ".join(printed.read().decode("utf-8", "replace").split())[-TOLD:]
