"""Runs that begin at once: their process is forked from one that has torch and transformers loaded already.

Dagster's code server starts every run as a fresh Python, and importing what trains costs a run of one trial more than
everything else about it. On Linux the code server keeps one idle process with these imports done, and forks each
run from it: such a run is a process of its own as before, and dies or is killed as before. Elsewhere nothing changes.
It reaches into one attribute of Dagster's server that is not public; the version is pinned and a test watches it.
"""

from __future__ import annotations

import multiprocessing
import sys
from typing import Any

IMPORTS = [
    "dagster._grpc.impl",
    "ml.models.ast",
    "ml.models.resnet",
    "ml.studies.pictures",
    "ml.training.engine",
    "storage.results",
]
"""Loaded once, before any run; nothing among them starts threads or touches a GPU."""


def fork_runs_from_a_warm_process() -> bool:
    """From now on, runs that this process is asked to start are forked warm; False where that cannot be."""
    if sys.platform != "linux" or not _is_code_server():
        return False
    from dagster._grpc.server import DagsterApiServer

    warm = multiprocessing.get_context("forkserver")
    warm.set_forkserver_preload(IMPORTS)
    # A data descriptor wins over what the server has put, or will put, into itself.
    DagsterApiServer._mp_ctx = property(lambda self: warm, _leave)
    return True


def _leave(server: Any, context: Any) -> None:
    """The server wants to choose how its runs are started; it has been chosen."""


def _is_code_server() -> bool:
    """Is this process one that Dagster asks to start runs? (Not a run, not a command.)"""
    return "dagster._grpc.server" in sys.modules and multiprocessing.current_process().name == "MainProcess"
