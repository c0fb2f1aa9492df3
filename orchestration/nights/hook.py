"""The command of a person's own that is run when the morning's report is written; whatever it does harms nothing."""

from __future__ import annotations

import subprocess
from pathlib import Path

from ml.config import ConfigError
from orchestration.nights.lab_nights import nights_of_lab
from storage.lab import Lab

SECONDS = 60.0
"""A command that takes longer is ended: the machine is wanted by somebody else."""

TOLD = 300
"""Characters of what a failed command said."""


def on_morning(lab: Lab, report: Path, seconds: float = SECONDS) -> str:
    """Runs `on_morning` with the path of the report as its last argument; what came of it, "" where there is none.

    No shell reads it. It works in the folder of the lab, hears nothing and is waited for: what it wants to leave behind
    it has to start apart from itself.
    """
    try:
        words = nights_of_lab(lab).morning_command(report)
    except (ConfigError, ValueError) as problem:  # an unbalanced quotation mark is a ValueError
        return f"on_morning was not run: {problem}"
    if not words:
        return ""
    try:
        done = subprocess.run(
            words,
            cwd=lab.root,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            timeout=seconds,
        )
    except subprocess.TimeoutExpired:
        return f"on_morning ({words[0]}) was ended after {seconds:.0f} s"
    except OSError as problem:
        return f"on_morning ({words[0]}) could not be run: {problem.strerror or problem}"
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split())[-TOLD:]
        return f"on_morning ({words[0]}) ended with {done.returncode}{f': {said}' if said else ''}"
    return f"on_morning ({words[0]}) was run"
