"""Which failures may be tried again, and which must not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from ml.config import ConfigError
from ml.training.accounts import OutOfMemory
from orchestration.resources import NotReady
from orchestration.showing import VOICE
from storage.durable import LabFull


def may_pass(problem: BaseException) -> bool:
    """Can the same step succeed later? A drive may come back; settings, data, memory and code stay as they are."""
    if isinstance(problem, ConfigError | NotReady | ValueError | LabFull):
        return False
    return isinstance(problem, OSError) or "CUDA error" in str(problem)


def passes_later(problem: BaseException) -> bool:
    """Can it succeed later the same night? Where `may_pass`; and where the disk is full or a GPU's memory taken, though
    not within seconds."""
    return may_pass(problem) or isinstance(problem, LabFull | OutOfMemory)


def sentence(problem: BaseException) -> str:
    """What went wrong on one line; what is not one of our own sentences begins with its kind."""
    said = " ".join(str(problem).split())
    own = type(problem).__module__.partition(".")[0] in ("ml", "storage", "orchestration")
    if said and (own or isinstance(problem, ValueError | OSError)):
        return said
    return f"{type(problem).__name__}: {said}" if said else type(problem).__name__


class Interrupted(dg.DagsterError, dg.DagsterExecutionInterruptedError):
    """Ctrl+C, or Terminate on the page. Being a DagsterError, it passes by the retry policy, which would try again."""


@contextmanager
def ends_when_interrupted() -> Iterator[None]:
    """An interrupted step ends its run; Dagster's retry policy would begin the step anew."""
    try:
        yield
    except (KeyboardInterrupt, dg.DagsterExecutionInterruptedError) as interrupt:
        raise Interrupted("interrupted") from interrupt


@contextmanager
def may_be_tried_again() -> Iterator[None]:
    """Dagster tries again what may pass; anything else ends the step with its sentence at once."""
    with ends_when_interrupted():
        try:
            yield
        except dg.Failure:
            raise
        except Exception as problem:
            if may_pass(problem):
                VOICE.info("%s (this may pass: it is tried again, a few times)", sentence(problem))
            raise dg.Failure(sentence(problem), allow_retries=may_pass(problem)) from problem
