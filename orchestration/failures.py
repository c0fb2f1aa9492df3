"""Which failures Dagster may try again, and which it must not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from ml.config import ConfigError
from orchestration.resources import NotReady


@contextmanager
def may_be_tried_again() -> Iterator[None]:
    """A drive that vanished may come back: that is tried again. Settings and data stay as they are: that is not."""
    try:
        yield
    except (ConfigError, NotReady, ValueError) as problem:
        raise dg.Failure(" ".join(str(problem).split()), allow_retries=False) from problem
