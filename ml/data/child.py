"""The child's side of `ml.data.children`: take an item, compute, answer, and never outlive the parent.

Items and answers travel as pickles over the child's standard input and output, between processes of one program only.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import signal
import sys
import threading
from typing import Any, BinaryIO

MEMORY_BYTES = 6 * 1024**3
"""Address space of one child: far above what a block-wise decoder needs, far below what hurts the machine."""


def serve(parent: int) -> None:
    """Answer `(function)` once and then one item after the other, until the parent closes the pipe."""
    _die_with(parent)
    with contextlib.suppress(ValueError, OSError):
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C reaches the whole terminal; the parent decides
    _limit_memory()
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints must not end up among the answers
    asked: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(sys.stdin.buffer, asked), daemon=True).start()

    try:
        function = pickle.loads(asked.get())  # noqa: S301 - from our own parent
    except BaseException as problem:
        _answer(answers, "unfit", f"{type(problem).__name__}: {problem}", None)
        return
    _answer(answers, "ready", None, None)
    for stream in (1, 2):  # decoders mutter about every odd frame; what counts is answered
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
    while True:
        try:
            result = function(pickle.loads(asked.get()))  # noqa: S301 - from our own parent
        except BaseException as problem:
            number = problem.errno if isinstance(problem, OSError) else None
            _answer(answers, "raised", f"{type(problem).__name__}: {problem}", number)
        else:
            _answer(answers, "done", result, None)


def _answer(answers: BinaryIO, kind: str, value: Any, number: int | None) -> None:
    try:
        packed = pickle.dumps((kind, value, number))
    except Exception as problem:
        packed = pickle.dumps(("raised", f"the result cannot be sent back: {type(problem).__name__}: {problem}", None))
    answers.write(packed)
    answers.flush()


def _listen(stream: BinaryIO, asked: queue.SimpleQueue[bytes]) -> None:
    """Pass on what the parent sends. The end of the pipe is the end of the parent: stop at once, even in mid-work."""
    while True:
        try:
            asked.put(pickle.load(stream))  # noqa: S301 - from our own parent
        except BaseException:
            os._exit(0)


def _die_with(parent: int) -> None:
    """On Linux the kernel ends this process with its parent, also when the pipe is still open elsewhere."""
    if sys.platform == "linux":
        import ctypes

        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # 1 = PR_SET_PDEATHSIG
        if os.getppid() != parent:  # it died before we could ask
            os._exit(0)


def _limit_memory() -> None:
    try:
        import resource
    except ImportError:  # Windows
        return
    with contextlib.suppress(ValueError, OSError):
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        limit = MEMORY_BYTES if hard == resource.RLIM_INFINITY else min(MEMORY_BYTES, hard)
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
