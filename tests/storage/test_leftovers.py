"""What lies on a shelf, and that a lock whose file is removed is still a lock."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from storage.artifacts import Shelf
from storage.leftovers import bytes_of, idle_locks, lying, remove_lock, remove_set_aside, set_aside, unfinished
from tests.storage.processes import Other
from tests.storage.test_artifacts import CLAIMER, write


def test_everything_on_a_shelf_is_told_with_its_owner_and_nothing_that_is_no_artifact(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, "states", {"study": "denoise"})
    for key in ("here", "dropped"):
        shelf.build(key, write)
    shelf.drop("dropped")
    shelf.remember("diverged", {"step": 3})
    (shelf.folder / "a person's.txt").write_text("x")
    (shelf.folder / "copy").mkdir()
    (shelf.folder / "copy" / "x").write_text("x")
    (shelf.folder / ".building-half").mkdir()
    told = {one.key: one for one in lying(shelf)}
    assert set(told) == {"here", "dropped", "diverged"}
    assert told["here"].has_files and told["here"].bytes > 100_000 and told["here"].note["epoch"] == 3
    assert not told["dropped"].has_files and told["dropped"].bytes == 0 and told["dropped"].note["epoch"] == 3
    assert {tuple(one.owner.items()) for one in told.values()} == {(("study", "denoise"),)}
    assert all(abs(one.since - time.time()) < 60 for one in told.values())
    ((number, taken, since),) = unfinished(shelf)
    assert (number, taken) == (1, 0) and abs(since - time.time()) < 60


def test_only_what_was_set_aside_is_removed_as_such(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, "models")
    weights = shelf.build("k", write) / "weights"
    content = bytearray(weights.read_bytes())
    content[5] ^= 1
    weights.write_bytes(content)
    assert shelf.find("k") is None
    aside = shelf.folder / ".damaged-k"
    ((place, taken, _),) = set_aside(shelf)
    assert place == aside and taken == bytes_of(aside) > 100_000
    shelf.build("healthy", write)
    assert remove_set_aside(shelf.folder / "healthy") is False and shelf.find("healthy") is not None
    assert remove_set_aside(aside) is True and remove_set_aside(aside) is False


def test_locks_of_what_is_there_or_held_stay(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, "states")
    for key in ("here", "dropped", "k"):
        shelf.build(key, write)
    shelf.drop("dropped")
    shelf.drop("k")
    assert idle_locks(shelf, time.time() - 60) == []
    with Other(CLAIMER, tmp_path) as other:
        assert other.hear() == "mine"
        idle = idle_locks(shelf, time.time() + 60)
        assert {path.stem for path in idle} == {"dropped", "k"}
        held = shelf.folder / ".claims" / "k.lock"
        assert [remove_lock(path) for path in idle] == [path != held for path in idle]
        assert held.exists() and other.say("go on") == ""
    assert remove_lock(held) is True and not held.exists()


TAKER = """
import os, sys, time
from pathlib import Path
from storage.artifacts import Shelf

shelf, taken, count = Shelf(Path(sys.argv[1]), "states"), Path(sys.argv[1]) / "taken", 0
print("ready", flush=True)
end = time.monotonic() + float(sys.argv[2])
while time.monotonic() < end:
    with shelf.claim("k"):
        os.close(os.open(taken, os.O_CREAT | os.O_EXCL))  # two at once end here
        time.sleep(0.0005)
        taken.unlink()
        count += 1
print(count, flush=True)
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows removes no file that is open")
def test_a_lock_whose_file_is_removed_all_the_time_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    seconds = float(os.environ.get("NOCTURNE_TEST_SECONDS", "1.5"))
    lock = Shelf(tmp_path, "states").folder / ".claims" / "k.lock"
    with Other(TAKER, tmp_path, seconds) as one, Other(TAKER, tmp_path, seconds) as two:
        assert one.hear() == two.hear() == "ready"
        removed = 0
        while one.process.poll() is None or two.process.poll() is None:
            removed += remove_lock(lock)
        times = [int(other.rest()[-1]) for other in (one, two)]
    print(f"taken {times} times, removed {removed} times, held by two 0 times")
    assert removed > 10 and all(times)
