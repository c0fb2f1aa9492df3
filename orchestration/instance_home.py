"""Where Dagster keeps what it knows about runs: a folder of the lab, with the settings of `instance/dagster.yaml`."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import dagster as dg

SETTINGS = Path(__file__).with_name("instance") / "dagster.yaml"

POOL = "machine"
"""The pool of everything that trains: one run at a time, because the machine has one GPU (or its cores) to give."""


def prepare_instance(home: Path) -> None:
    """Makes `home` a DAGSTER_HOME with Nocturne's settings, and tells this process and its children to use it.

    Only the owner may enter (0700): who can write there, or reach the sockets in it, can run code as the owner.
    """
    home = home.absolute()
    home.mkdir(parents=True, exist_ok=True)
    with suppress(OSError):  # a file system without permissions
        home.chmod(0o700)
    wanted, target = SETTINGS.read_bytes(), home / "dagster.yaml"
    if not target.exists() or target.read_bytes() != wanted:
        _replace(target, wanted)
    os.environ["DAGSTER_HOME"] = str(home)
    os.environ["DAGSTER_DISABLE_TELEMETRY"] = "1"


def limit_pool(instance: dg.DagsterInstance) -> None:
    """Makes the limit of POOL hold from the first run on.

    Dagster learns of a pool when it first sees a run that names it, and lets all runs of that first look pass: two
    trainings would start at once in a new lab.
    """
    if POOL not in instance.event_log_storage.get_concurrency_keys():
        instance.event_log_storage.initialize_concurrency_limit_to_default(POOL)


def _replace(target: Path, content: bytes) -> None:
    """Another process that starts now reads the old settings or the new ones, never half of them."""
    number, name = tempfile.mkstemp(prefix=".dagster.yaml.", dir=target.parent)
    try:
        with os.fdopen(number, "wb") as handle:
            handle.write(content)
            handle.flush()
            os.fsync(handle.fileno())
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
