"""A process that ends when the one that started it is gone.

`python -m orchestration.parenthood PARENT_PID MODULE ARGUMENT…` runs MODULE as a program under that promise, so that
a killed `nocturne up` leaves no daemon behind.
"""

from __future__ import annotations

import ctypes
import os
import runpy
import signal
import sys
import threading
import time

import psutil

PR_SET_PDEATHSIG = 1
LOOK_SECONDS = 1.0


def end_with_parent(parent: int) -> None:
    """From now on this process is killed when `parent` (the process that started it) ends, however that happens.

    On Linux the kernel does it; it counts the parent's thread that started us, which must therefore be its main one.
    Elsewhere a thread looks once a second.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it went before we asked
            os._exit(1)
    else:
        threading.Thread(target=_watch, args=(parent,), name="parent watch", daemon=True).start()


def _watch(parent: int) -> None:
    try:
        process = psutil.Process(parent)
        while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:  # is_running knows a reused id
            time.sleep(LOOK_SECONDS)
    except psutil.NoSuchProcess:
        pass
    os._exit(1)


if __name__ == "__main__":
    end_with_parent(int(sys.argv[1]))
    sys.argv = sys.argv[2:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
