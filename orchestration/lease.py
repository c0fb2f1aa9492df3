"""The machine of a lab is lent to one trial at a time, whoever asks: a backfill, a night, the command line."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from ml.training import gpu
from storage import durable
from storage.lab import Lab

if TYPE_CHECKING:
    from ml.training.machine import Machine

LOOK_SECONDS = 1.0

GLANCE_SECONDS = 0.2
"""Who only asks whether the machine is lent (`is_lent`) has its lock for less."""


def _for_ever() -> bool:
    return False


def is_lent(lab: Lab) -> bool:
    """Whether some process has the machine now. The kernel is asked: who had it last stays written down."""
    try:
        with FileLock(lab.locks / "machine.lock", timeout=0):
            return False
    except Timeout:
        return True


@contextmanager
def machine_lease(
    lab: Lab, machine: Machine, what: str, say: Callable[[str], None], give_up: Callable[[], bool] = _for_ever
) -> Iterator[bool]:
    """The machine for `what`; a second one waits and says for what. The kernel frees the lease of a killed process.

    False where `give_up` became true while it waited: then the machine is still another's.
    """
    holder = lab.machine_holder_file
    lock = FileLock(lab.locks / "machine.lock")
    try:
        lock.acquire(timeout=GLANCE_SECONDS)
    except Timeout:
        said = durable.read_sealed(holder) if holder.is_file() else {"what": "another trial", "pid": "?"}
        say(f"the machine is busy with {said['what']} (process {said['pid']}); waiting for it")
        while not lock.is_locked:
            if give_up():
                yield False
                return
            with suppress(Timeout):
                lock.acquire(timeout=LOOK_SECONDS)
    try:
        since = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
        durable.write_sealed(holder, {"what": what, "pid": os.getpid(), "since": since})
        if machine.device.startswith("cuda") and (others := gpu.describe(gpu.holders())):
            say(others)  # another program may be why memory runs out, or time runs away
        yield True
    finally:
        lock.release()
