"""A drive that hangs, such as a share whose network is gone, keeps whoever looks at it for ever: a thread looks, and is
waited for a moment only."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Any, TypeVar

Said = TypeVar("Said")

PATIENCE = 5.0
"""Seconds."""

_open: dict[str, Future[Any]] = {}
_fence = threading.Lock()


class NoAnswer(OSError):
    """The drive says nothing for now."""

    def __init__(self) -> None:
        super().__init__(errno.ETIMEDOUT, "it does not answer: the drive hangs, or is slow")


def patiently(question: str, ask: Callable[[], Said]) -> Said:
    """What `ask` says. Raises `NoAnswer` where that takes long; it goes on meanwhile, the only one with its `question`,
    and what it says is for whoever asks next."""
    with _fence:
        answer = _open.get(question)
        if answer is None:
            answer = _open[question] = Future()
            threading.Thread(target=_asked, args=(answer, ask), name=question, daemon=True).start()
    wait([answer], PATIENCE)
    if not answer.done():
        raise NoAnswer
    with _fence:
        _open.pop(question, None)
    return answer.result()


def _asked(answer: Future[Any], ask: Callable[[], Any]) -> None:
    try:
        answer.set_result(ask())
    except BaseException as problem:
        answer.set_exception(problem)
