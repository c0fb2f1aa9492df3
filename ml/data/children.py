"""A small pool of child processes in which a crash or a hang costs one item and nothing else.

Decoders are native code that meets whatever lies on a drive: one file may crash the process that reads it, or never
come back. concurrent.futures gives up the whole pool when one process dies; here that process is replaced and the work
goes on. The children start from a bare interpreter, so they never pay for what the parent has imported.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from ml.data.source import GONE, SourceVanished

Item = TypeVar("Item")
Result = TypeVar("Result")

START_SECONDS = 120.0
"""How long a child may take to start; importing on a loaded machine is slow, hanging there is a fault of ours."""

_BOOT = "import sys; sys.path[:] = sys.argv[2:]; from ml.data.child import serve; serve(int(sys.argv[1]))"
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


@dataclass(frozen=True)
class ChildFailure:
    """Why an item has no result: the child `crashed`, was `timed_out`, or the function `raised`."""

    kind: str
    reason: str


def map_in_children(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    workers: int,
    seconds_allowed: Callable[[Item], float],
) -> Iterator[tuple[Item, Result | ChildFailure]]:
    """`function` of every item, computed in child processes; results come as they finish.

    `function` must be importable by name (a top-level function, or a `functools.partial` of one), items and results
    must pickle; send large results by file. At most `workers` items are in flight, and `items` is read as needed.
    `seconds_allowed(item)` is wall clock; a child that takes longer is killed. A drive that went away raises
    `SourceVanished` for the whole map; every other error costs its item only. Ending the iteration early ends the
    children.
    """
    if workers < 1:
        raise ValueError(f"workers is {workers}; at least one child must do the work")
    packed = pickle.dumps(function)
    waiting = iter(items)
    heard: queue.SimpleQueue[tuple[_Child[Item], Any]] = queue.SimpleQueue()
    children: set[_Child[Item]] = set()
    try:
        exhausted = False
        while True:
            while not exhausted and len(children) < workers:
                try:
                    item = next(waiting)
                except StopIteration:
                    exhausted = True
                    break
                children.add(_Child(packed, item, heard))
            if not children:
                return
            child, answer = _next_answer(children, heard, seconds_allowed)
            if answer == "ready":
                child.ask(time.monotonic() + seconds_allowed(child.item))
                continue
            item = child.item
            outcome = _outcome(item, answer)
            if isinstance(answer, tuple) and answer[0] in ("done", "raised"):
                try:
                    child.item = next(waiting)
                    child.ask(time.monotonic() + seconds_allowed(child.item))
                except StopIteration:
                    exhausted = True
                    children.discard(child)
                    child.dismiss()
            else:
                children.discard(child)
                child.kill()
            yield item, outcome
    finally:
        for child in children:
            child.kill()


def _next_answer(
    children: set[_Child[Item]],
    heard: queue.SimpleQueue[tuple[_Child[Item], Any]],
    seconds_allowed: Callable[[Item], float],
) -> tuple[_Child[Item], Any]:
    """The next thing a child says, or the news that one has overrun its time."""
    while True:
        late = min(children, key=lambda child: child.deadline)
        try:
            child, answer = heard.get(timeout=max(0.0, late.deadline - time.monotonic()))
        except queue.Empty:
            if not late.ready:
                late.kill()
                raise RuntimeError(f"a child process did not start within {START_SECONDS:.0f} s") from None
            allowed = seconds_allowed(late.item)
            return late, ChildFailure("timed_out", f"took longer than the {allowed:.0f} s allowed and was stopped")
        if child not in children:  # killed for its time while its answer was on the way
            continue
        if answer is None:
            code = child.end()
            if not child.ready:
                raise RuntimeError(f"a child process ended before it could work ({_how_ended(code)})")
            return child, ChildFailure("crashed", f"the process that worked on it crashed ({_how_ended(code)})")
        if answer[0] == "unfit":
            raise RuntimeError(f"a child process cannot load the function it is to run: {answer[1]}")
        return child, "ready" if answer[0] == "ready" else answer


def _outcome(item: Any, answer: Any) -> Any:
    if isinstance(answer, ChildFailure):
        return answer
    kind, value, number = answer
    if kind == "done":
        return value
    if number in GONE:
        raise SourceVanished(number, f"{item}: {value}")
    return ChildFailure("raised", value)


def _how_ended(code: int | None) -> str:
    if code is None:
        return "it does not end"
    if code < 0:
        with contextlib.suppress(ValueError):
            return signal.Signals(-code).name
    return f"exit code {code}"


class _Child(Generic[Item]):
    """One process, the item it works on, and a thread that hears what it says.

    The thread makes waiting with a deadline the same on every system, and one that is stuck (a process that the
    kernel cannot end, on a dead network drive) is simply left behind.
    """

    def __init__(self, packed: bytes, item: Item, heard: queue.SimpleQueue[tuple[_Child[Item], Any]]) -> None:
        self.item = item
        self.ready = False
        self.deadline = time.monotonic() + START_SECONDS
        self._heard = heard
        self._process = subprocess.Popen(
            [sys.executable, "-c", _BOOT, str(os.getpid()), *sys.path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | _ONE_THREAD,
        )
        threading.Thread(target=self._listen, daemon=True).start()
        self._send(packed)

    def ask(self, deadline: float) -> None:
        """Hand over `self.item`, to be answered before `deadline` (seconds of the monotonic clock)."""
        self.ready = True
        self.deadline = deadline
        self._send(pickle.dumps(self.item))

    def _send(self, packed: bytes) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):  # it has died: the listening thread will say so
            pickle.dump(packed, self._process.stdin)
            self._process.stdin.flush()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        answer: Any
        with self._process.stdout as answers:
            while True:
                try:
                    answer = pickle.load(answers)  # noqa: S301 - from our own child
                except Exception:  # the end of the pipe, or half an answer: either way it has ended
                    self._heard.put((self, None))
                    return
                self._heard.put((self, answer))

    def dismiss(self) -> None:
        """Let an idle child go."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        if self.end() is None:
            self.kill()

    def kill(self) -> None:
        self._process.kill()
        self.end()

    def end(self) -> int | None:
        """The exit code, waiting a moment for it; None when the process cannot be ended."""
        try:
            return self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            return None
        finally:
            with contextlib.suppress(OSError):
                if self._process.stdin is not None:
                    self._process.stdin.close()
