"""Real children that really crash, hang, run out of memory and lose their parent."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest

from ml.data.children import ChildFailure, map_in_children
from ml.data.source import SourceVanished


def act(order: str) -> str:
    """What the children of these tests do."""
    if order == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if order == "leave":
        os._exit(3)
    if order == "hang":
        time.sleep(600)
    if order == "raise":
        raise ValueError("no good")
    if order == "chatter":
        print("a library talks to standard output")
        sys.stdout.flush()
        os.write(1, b"and past Python's buffers\n")
    if order == "eat":
        bytearray(64 * 1024**3)
    if order == "drive gone":
        raise OSError(errno.ESTALE, "Stale file handle")
    if order == "odd":
        return lambda: 0  # type: ignore[return-value]  # cannot be pickled
    return f"{order} by {os.getpid()}"


def ten_seconds(_: str) -> float:
    return 10.0


@pytest.mark.parametrize("workers", [1, 2])
def test_a_crash_and_a_hang_cost_one_item_each(workers: int) -> None:
    orders = ["a", "crash", "b", "hang", "c", "raise", "leave", "chatter", "eat", "odd", "d"]
    started = time.monotonic()
    found = dict(
        map_in_children(
            act,
            orders,
            workers=workers,
            seconds_allowed=lambda order: 1.0 if order == "hang" else 60.0,
        )
    )
    assert time.monotonic() - started < 60
    assert set(found) == set(orders)
    failures = {order: outcome for order, outcome in found.items() if isinstance(outcome, ChildFailure)}
    assert {order: failure.kind for order, failure in failures.items()} == {
        "crash": "crashed",
        "leave": "crashed",
        "hang": "timed_out",
        "raise": "raised",
        "eat": "raised",
        "odd": "raised",
    }
    assert "SIGSEGV" in failures["crash"].reason
    assert "exit code 3" in failures["leave"].reason
    assert "1 s" in failures["hang"].reason
    assert failures["raise"].reason == "ValueError: no good"
    assert "MemoryError" in failures["eat"].reason
    assert str(os.getpid()) not in str(found["a"]), "even one worker is a child"


def test_a_drive_that_goes_away_stops_the_whole_map() -> None:
    with pytest.raises(SourceVanished, match="Stale file handle"):
        list(map_in_children(act, ["a", "drive gone", "b"], workers=1, seconds_allowed=ten_seconds))
    assert not living_children()


def test_items_are_taken_only_as_they_are_needed_and_leaving_early_ends_the_children() -> None:
    taken: list[str] = []

    def endless() -> list[str]:
        for number in range(10**9):
            taken.append(str(number))
            yield taken[-1]

    results = map_in_children(act, endless(), workers=2, seconds_allowed=ten_seconds)
    for _ in range(5):
        next(results)
    assert len(taken) <= 5 + 2 + 1
    results.close()
    assert not living_children()


def test_a_function_that_children_cannot_load_is_said_at_once() -> None:
    with pytest.raises(RuntimeError, match="cannot load the function"):
        list(map_in_children(Unloadable(), ["a"], workers=1, seconds_allowed=ten_seconds))


class Unloadable:
    def __call__(self, order: str) -> str:
        return order

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (int, ("not a number",))


def test_no_items_start_no_children() -> None:
    assert list(map_in_children(act, [], workers=2, seconds_allowed=ten_seconds)) == []


def test_children_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(
        textwrap.dedent(
            """
            import sys
            from ml.data.children import map_in_children
            from tests.ml.data.test_children import act
            print("started", flush=True)
            for item, outcome in map_in_children(act, ["a", "hang", "hang"], workers=2, seconds_allowed=lambda _: 600):
                print(outcome, flush=True)
            """
        )
    )
    root = str(Path(__file__).parents[3])
    parent = subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": root}
    )
    try:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "started\n"
        assert " by " in parent.stdout.readline()
        children = psutil.Process(parent.pid).children()
        assert len(children) == 2
    finally:
        parent.kill()
        parent.wait()
    _, alive = psutil.wait_procs(children, timeout=5)
    assert not alive, "a child lived on after its parent was killed"


def living_children() -> list[psutil.Process]:
    """Without the servers that multiprocessing leaves for other tests of this process."""
    living = [child for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE]
    return [child for child in living if "from multiprocessing." not in " ".join(child.cmdline())]
