from __future__ import annotations

import os
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from storage import durable
from storage.artifacts import Shelf
from storage.names import BadName
from tests.storage.processes import Other

BUILDER = """
import sys, time
from pathlib import Path
from storage.artifacts import Shelf

def write(folder):
    print("building", flush=True)
    (folder / "weights").write_bytes(b"w" * 1000)
    if sys.argv[2] == "stay":
        sys.stdin.readline()
    return {"loss": 0.5}

print(Shelf(Path(sys.argv[1]), "states").build("key", write), flush=True)
"""


def write(folder: Path) -> dict[str, Any]:
    (folder / "weights").write_bytes(b"w" * 100_000)
    (folder / "part").mkdir()
    (folder / "part" / "żółw.json").write_text("{}")
    return {"epoch": 3, "history": {2: 0.5, 10: float("nan")}}


def flip(path: Path, at: int = 50) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def test_built_once_found_again_dropped_but_noted(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, "states")
    assert shelf.note("k") is None and shelf.find("k") is None and shelf.keys() == []
    folder = shelf.build("k", write)
    assert (folder / "part" / "żółw.json").read_text() == "{}"
    assert Shelf(tmp_path, "states").find("k") == folder == shelf.build("k", lambda _: pytest.fail("built twice"))
    assert shelf.keys() == ["k"] and shelf.bytes() > 100_000
    note = shelf.note("k")
    assert note is not None and note["epoch"] == 3 and note["history"]["2"] == 0.5
    shelf.drop("k")
    shelf.drop("k")
    assert shelf.find("k") is None and shelf.keys() == [] and shelf.note("k") is not None and shelf.bytes() < 2_000
    assert shelf.build("k", write).is_dir() and shelf.find("k")


@pytest.mark.parametrize("place", ["files/weights", "manifest.json", "files/part/żółw.json"])
@pytest.mark.parametrize("damage", ["flip", "cut", "gone"])
def test_damage_is_noticed_set_aside_and_built_again(tmp_path: Path, place: str, damage: str) -> None:
    shelf = Shelf(tmp_path, "states")
    shelf.build("k", write)
    path = tmp_path / "states" / "k" / place
    if damage == "flip":
        flip(path, 1)
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-1])
    else:
        path.unlink()
    assert shelf.find("k") is None
    assert (tmp_path / "states" / ".damaged-k").is_dir() and shelf.keys() == []
    assert (shelf.note("k") is None) == (place == "manifest.json")
    assert shelf.build("k", write) == shelf.find("k")


FINDER = """
import sys
from pathlib import Path
from storage import seen_lately
from storage.artifacts import Shelf
seen_lately.LARGE_BYTES = int(sys.argv[2])
print(Shelf(Path(sys.argv[1]), "features").find("k") is not None)
"""
SMALLER, LARGER = 1_000, 1_000_000


def find_elsewhere(root: Path, large_bytes: int) -> bool:
    """Whether another process, for which files of `large_bytes` are large, finds the artifact and thinks it whole."""
    return Other(FINDER, root, large_bytes).rest() == ["True"]


def flip_on_the_disk(path: Path) -> None:
    """A bit that flips without anybody writing."""
    facts = path.stat()
    with path.open("r+b") as file:
        file.seek(70_000)
        file.write(b"x")
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))


def age(root: Path, hours: float) -> None:
    """Makes the note about the large files older."""
    place = root / "features" / ".seen" / "k.json"
    body = durable.read_sealed(place)
    durable.write_sealed(place, {"files": [[file, when - 3600 * hours] for file, when in body["files"]]})


def test_what_flips_in_a_large_file_is_found_within_a_day(tmp_path: Path) -> None:
    weights = Shelf(tmp_path, "features").build("k", write) / "weights"
    assert not (tmp_path / "features" / ".seen" / "k.json").exists()  # it is small
    assert find_elsewhere(tmp_path, SMALLER)
    flip_on_the_disk(weights)
    age(tmp_path, 23)
    assert find_elsewhere(tmp_path, SMALLER)  # the price: it was read in full less than a day ago
    age(tmp_path, 2)
    assert not find_elsewhere(tmp_path, SMALLER)
    assert (tmp_path / "features" / ".damaged-k").is_dir()


def test_a_small_file_is_read_by_every_process(tmp_path: Path) -> None:
    weights = Shelf(tmp_path, "features").build("k", write) / "weights"
    assert find_elsewhere(tmp_path, LARGER)
    flip_on_the_disk(weights)
    assert not find_elsewhere(tmp_path, LARGER)


@pytest.mark.parametrize("change", ["written", "replaced", "note from the future", "note damaged"])
def test_a_large_file_is_read_again_when_its_note_does_not_fit(tmp_path: Path, change: str) -> None:
    weights = Shelf(tmp_path, "features").build("k", write) / "weights"
    assert find_elsewhere(tmp_path, SMALLER)
    if change == "written":
        flip(weights)
    elif change == "replaced":
        other = weights.with_name("other")
        shutil.copy2(weights, other)
        flip_on_the_disk(other)
        other.replace(weights)
    else:
        flip_on_the_disk(weights)
        if change == "note from the future":
            age(tmp_path, -5)
        else:
            flip(tmp_path / "features" / ".seen" / "k.json")
    assert not find_elsewhere(tmp_path, SMALLER)


CLAIMER = """
import sys
from pathlib import Path
from storage.artifacts import Shelf

shelf = Shelf(Path(sys.argv[1]), "states")
with shelf.claim("k"):
    print("mine", flush=True)
    sys.stdin.readline()
    shelf.build("k", lambda folder: {"by": "the first"})
"""


@pytest.mark.parametrize("how", ["ends", "killed"])
def test_who_claims_what_another_process_works_on_waits_for_its_end(tmp_path: Path, how: str) -> None:
    shelf, heard = Shelf(tmp_path, "states"), []

    def wait() -> None:
        with shelf.claim("k"):
            heard.append(shelf.note("k"))

    with Other(CLAIMER, tmp_path) as other:
        assert other.hear() == "mine"
        waiting = threading.Thread(target=wait)
        waiting.start()
        with shelf.claim("another"):
            shelf.build("another", write)  # nobody else waits
        time.sleep(0.2)
        assert heard == [] and waiting.is_alive()
        if how == "ends":
            other.say("go on")
        else:
            other.kill()
        waiting.join(timeout=20)
    assert heard == [{"by": "the first"} if how == "ends" else None]


def test_what_is_remembered_without_files_is_a_note_and_nothing_else(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, "states")
    shelf.remember("k", {"diverged": "the loss is nan"})
    assert Shelf(tmp_path, "states").note("k") == {"diverged": "the loss is nan"}
    assert shelf.find("k") is None and shelf.keys() == []


def test_released_are_only_the_keys_that_are_named_and_their_notes_stay(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, "states")
    for key in ("a", "b", "c"):
        shelf.build(key, write)
    shelf.drop("b")
    assert shelf.release(["a", "b", "never built"]) == 1
    assert shelf.keys() == ["c"] and shelf.note("a") is not None and shelf.note("b") is not None


def test_a_failing_builder_leaves_nothing(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, "states")

    def fail(folder: Path) -> None:
        (folder / "half").write_text("x")
        raise RuntimeError("the GPU fell off")

    with pytest.raises(RuntimeError, match="fell off"):
        shelf.build("k", fail)
    assert shelf.find("k") is None and not list(tmp_path.rglob("half"))


def test_a_failing_fsync_is_not_reported_as_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf = Shelf(tmp_path, "states")
    with monkeypatch.context() as patch:  # a disk that says so can't be had

        def broken(_: int) -> None:
            raise OSError(5, "Input/output error")

        patch.setattr(os, "fsync", broken)
        with pytest.raises(OSError, match="Input/output"):
            shelf.build("k", write)
        assert shelf.find("k") is None
    assert shelf.build("k", write).is_dir()


def test_two_builders_at_once_build_once_and_get_the_same(tmp_path: Path) -> None:
    with Other(BUILDER, tmp_path, "stay") as first:
        assert first.hear() == "building"
        with Other(BUILDER, tmp_path, "go") as second:
            time.sleep(0.5)  # long enough to come to the lock
            assert second.process.poll() is None and Shelf(tmp_path, "states").find("key") is None
            found = first.say("go on")
            assert second.rest() == [found] == [str(tmp_path / "states" / "key" / "files")]


def test_a_builder_that_died_holding_the_lock_is_swept(tmp_path: Path) -> None:
    with Other(BUILDER, tmp_path, "stay") as dying:
        assert dying.hear() == "building"
        shelf = Shelf(tmp_path, "states")
        assert shelf.sweep() == 0  # it is alive
        dying.kill()
    assert shelf.find("key") is None and (tmp_path / "states" / ".building-key").is_dir()
    shelf.build("another", write)
    assert not (tmp_path / "states" / ".building-key").exists()
    assert shelf.build("key", write).is_dir()


def test_hostile_keys_are_refused(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "a", "states")
    for key in ("../x", "/x", "a\x00", "..", ".locks"):
        for use in (
            shelf.find,
            shelf.note,
            shelf.drop,
            lambda name: shelf.build(name, write),
            lambda name: shelf.remember(name, {}),
            lambda name: shelf.claim(name).__enter__(),
        ):
            with pytest.raises(BadName):
                use(key)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]


def test_whose_it_is_is_noted_and_outlives_the_files(tmp_path: Path) -> None:
    mine = {"study": "denoise", "family": "f"}
    shelf = Shelf(tmp_path, "states", mine)
    shelf.build("k", write)
    shelf.remember("diverged", {"why": "nan"})
    other = Shelf(tmp_path, "states", {"study": "concert"})
    assert other.build("k", write) and other.owner("k") == mine, "who finds it does not own it"
    other.drop("k")
    assert other.owner("k") == other.owner("diverged") == mine and other.owner("never") == {}
    note = other.note("k")
    assert note is not None and set(note) == {"epoch", "history"}
    Shelf(tmp_path, "models").build("k", write)
    assert Shelf(tmp_path, "models").owner("k") == {}


@pytest.mark.parametrize("noted", [True, False])
def test_discarded_are_the_files_and_where_asked_the_note_but_nothing_that_is_worked_on(
    tmp_path: Path, noted: bool
) -> None:
    shelf = Shelf(tmp_path, "states")
    for key in ("k", "key", "other"):
        shelf.build(key, write)
    with Other(CLAIMER, tmp_path) as claimer:
        assert claimer.hear() == "mine"
        assert shelf.discard("k", noted=noted) is False and shelf.find("k") is not None
    assert shelf.discard("k", noted=noted) is True and shelf.keys() == ["key", "other"]
    assert (shelf.note("k") is None) == noted
    assert shelf.discard("k", noted=noted) is True, "two may do it one after the other"
    shelf.drop("key")
    with Other(BUILDER, tmp_path, "stay") as builder:
        assert builder.hear() == "building"
        assert shelf.discard("key", noted=noted) is False and shelf.note("key") is not None
