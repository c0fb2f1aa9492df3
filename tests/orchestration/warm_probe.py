"""What the tests of the warm start let a code server do; `python -m tests.orchestration.warm_probe`."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from typing import Any


def tell(answers: Any) -> None:
    """In a run's process: what is loaded before it did anything, and who it is."""
    answers.put(("torch" in sys.modules, "transformers" in sys.modules, os.getpid()))


def sleep() -> None:
    time.sleep(60)


def main() -> None:
    from dagster._grpc.server import DagsterApiServer

    from orchestration.warm_start import fork_runs_from_a_warm_process

    assert fork_runs_from_a_warm_process()
    server = DagsterApiServer.__new__(DagsterApiServer)
    server._mp_ctx = multiprocessing.get_context("spawn")  # as the server's own __init__ does
    context = server._mp_ctx
    answers = context.Queue()
    seconds = []
    for _ in range(3):
        start = time.monotonic()
        process = context.Process(target=tell, args=(answers,))
        process.start()
        loaded = answers.get(timeout=120)
        process.join(30)
        seconds.append(time.monotonic() - start)
        print("loaded", *loaded[:2], "own process", loaded[2] not in (os.getpid(),), "code", process.exitcode)
    print("warm is faster", seconds[2] < seconds[0] / 3)
    killed = context.Process(target=sleep)
    killed.start()
    os.kill(killed.pid, signal.SIGKILL)
    killed.join(30)
    print("killed", killed.exitcode)
    left = context.Process(target=sleep)
    left.start()
    print("left", left.pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)  # the server dies without a word: its runs go on


if __name__ == "__main__":
    main()
