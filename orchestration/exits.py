"""How the command ends when something goes wrong: one sentence, and an exit code that scripts can use."""

from __future__ import annotations

FAILED, WRONG, NOT_READY, INTERRUPTED = 1, 2, 3, 130


def told(problem: Exception) -> tuple[str, int]:
    """What to say about `problem`, and the exit code."""
    from ml.config import ConfigError
    from ml.models.hub import ModelUnavailable
    from ml.training.machine import MachineError
    from orchestration.resources import NotReady
    from storage.durable import LabFull
    from storage.lab import NotALab
    from storage.query import NoResults, QueryFailed

    if isinstance(problem, NotReady | NoResults | ModelUnavailable):
        return str(problem), NOT_READY
    if isinstance(problem, ConfigError | NotALab | QueryFailed | MachineError):
        return str(problem), WRONG
    if isinstance(problem, LabFull):
        return str(problem), FAILED
    if isinstance(problem, OSError) and problem.strerror and problem.filename:
        return f"{problem.filename}: {problem.strerror[0].lower()}{problem.strerror[1:]}", FAILED
    said = " ".join(str(problem).split())
    return f"{type(problem).__name__}: {said} (NOCTURNE_DEBUG=1 shows where)", FAILED
