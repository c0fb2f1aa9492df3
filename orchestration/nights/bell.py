"""The end of a night for whoever trains in it: no epoch is begun after it, and none outlasts the grace."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from orchestration.nights import clock

SHARE_FOR_EPOCHS = 0.75
"""Share of the grace in which an epoch, or an evaluation, may come to its end. The rest is for writing down and
letting go, so that the machine is free within the grace."""

LOOK_SECONDS = 0.5


class BellRang(BaseException):
    """Ends an epoch in its middle; no `Exception`, so that nothing on the way takes it for a failure."""


@dataclass(frozen=True)
class Bell:
    """When a night ends, and how much longer something may take that has begun before."""

    rings: dt.datetime
    grace: float
    """Seconds."""

    def rung(self) -> bool:
        """From here on nothing is begun."""
        return clock.now() >= self.rings

    def presses(self) -> bool:
        """From here on nothing goes on, or the machine is not free within the grace."""
        return clock.now() >= self.rings + dt.timedelta(seconds=SHARE_FOR_EPOCHS * self.grace)

    def seconds_left(self) -> float:
        """Until it rings; 0 after that."""
        return max(0.0, (self.rings - clock.now()).total_seconds())


@contextmanager
def ended_by(bell: Bell | None) -> Iterator[None]:
    """What still works in it when the bell presses is interrupted, as Ctrl+C would: an evaluation, a wait.

    Only in the main thread, which is where signals arrive and where Dagster executes the runs of a night.
    """
    if bell is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    from dagster._utils import send_interrupt

    over, fence = threading.Event(), threading.Lock()

    def watch() -> None:
        while not over.wait(LOOK_SECONDS):
            if bell.presses():
                with fence:
                    if not over.is_set():
                        send_interrupt()
                return

    threading.Thread(target=watch, name="bell", daemon=True).start()
    try:
        yield
    finally:
        with fence:  # an interrupt that is on its way arrives here, and not in what comes after
            over.set()
