"""Killed at random moments, and a disk that is full. Every run prints its seed."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from storage.artifacts import Shelf
from storage.lab import Lab
from storage.records import Records
from storage.results import publish, query
from tests.storage import night
from tests.storage.processes import ROOT, Other

WORKER = """
import sys
from pathlib import Path
import numpy as np
from storage.artifacts import Shelf
from storage.lab import Lab
from storage.records import Records
from storage.results import publish
from tests.storage import night
lab = Lab.open(Path(sys.argv[1]))
shelf = Shelf(lab.artifacts, "states")
tables = night.tables(0.5)
print("ready", flush=True)
for number in range(int(sys.argv[2]), 10_000):
    def write(folder):
        for part in range(3):
            (folder / f"part{part}").write_bytes(np.random.default_rng([number, part]).bytes(200_000))
        return {"number": number}
    shelf.build(f"state{number}", write)
    print("state", number, flush=True)
    with Records(lab).begin(night.STUDY, f"trial{number}", "r") as attempt:
        attempt.commit(night.account(0.5), tables)
    print("record", number, flush=True)
    assert publish(lab).published
    print("published", number, flush=True)
"""


@pytest.mark.slow
def test_killed_at_random_moments_nothing_is_half_written_and_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    seed = int(os.environ.get("NOCTURNE_TEST_SEED", random.SystemRandom().randrange(10_000)))
    kills = int(os.environ.get("NOCTURNE_TEST_KILLS", "8"))
    print(f"seed={seed} kills={kills}")
    chance = random.Random(seed)
    lab = Lab.open(tmp_path / "lab")
    said: dict[str, set[int]] = {"state": set(), "record": set(), "published": set()}
    for kill in range(kills):
        with Other(WORKER, lab.root, kill * 1000) as worker:
            assert worker.hear() == "ready"
            heard = [worker.hear() for _ in range(chance.randrange(6))]
            time.sleep(chance.uniform(0.0, 0.3))
            for line in heard + worker.kill():
                what, number = line.split()
                said[what].add(int(number))
        shelf, records = Shelf(lab.artifacts, "states"), Records(lab)
        for key in shelf.keys():  # noqa: SIM118 - a shelf is no mapping
            folder = shelf.find(key)
            assert folder is not None and len(list(folder.iterdir())) == 3, f"seed={seed}: {key} is half there"
        assert said["state"] <= {int(key.removeprefix("state")) for key in shelf.keys()}  # noqa: SIM118
        healthy, damaged = records.all()
        assert not damaged, f"seed={seed}: {damaged}"
        assert said["record"] <= {int((record.trial or "")[5:]) for record in healthy}
        if lab.results.exists():
            shown = {
                int(name[5:]) for name in query(lab, "SELECT trial FROM trials WHERE status = 'finished'")["trial"]
            }
            assert said["published"] <= set(shown), f"seed={seed}"
    report = publish(lab)
    finished = query(lab, "SELECT count(*) AS n FROM trials WHERE status = 'finished'")["n"][0]
    assert report.published and finished == len(healthy)
    Shelf(lab.artifacts, "states").build("last", lambda folder: None)
    left = [path for path in lab.root.rglob("*") if path.name.startswith((".building", ".new", ".results.duckdb.new"))]
    assert [path for path in left if ".new-" not in path.name] == []
    print(f"acknowledged: { ({what: len(numbers) for what, numbers in said.items()}) }, lost 0, half-written 0")


FULL = """
import sys
from pathlib import Path
from storage.artifacts import Shelf
from storage.durable import LabFull
from storage.lab import Lab
from storage.records import Records
from storage.results import publish
from tests.storage import night
lab = Lab.open(Path(sys.argv[1]))
if sys.argv[2] == "limit":
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), int(sys.argv[3])))
def attempt(name, work):
    try:
        work()
        print(name, "done", flush=True)
    except LabFull as problem:
        print(name, "full:", problem, flush=True)
shelf = Shelf(lab.artifacts, "states")
attempt("artifact", lambda: shelf.build("big", lambda folder: (folder / "w").write_bytes(b"x" * 30_000_000) and None))
attempt("publish", lambda: publish(lab))
def commit():
    with Records(lab).begin(night.STUDY, "another", "r") as one:
        one.commit(night.account(0.5), night.tables(0.5))
attempt("record", commit)
"""


def check_full(lab: Lab, heard: list[str]) -> None:
    """Every writer said so, nothing that was there suffered, nothing half-written stayed; with room all goes on."""
    assert [line.split(":")[0] for line in heard] == ["artifact full", "publish full", "record full"], heard
    assert all("no room to write" in line and "MiB are free" in line and "run again" in line for line in heard)
    assert query(lab, "SELECT count(*) AS n FROM trials")["n"][0] == 1
    shelf, records = Shelf(lab.artifacts, "states"), Records(lab)
    assert shelf.find("big") is None and records.all()[1] == [] and records.history(night.STUDY, "another") == []
    half = [
        path
        for path in lab.root.rglob("*")
        if path.name.startswith((".building-", ".new-", ".nocturne-", ".results.d"))
    ]
    assert half == []


def go_on(lab: Lab) -> None:
    night.finish(Records(lab), "another", 0.5)
    assert publish(lab).published and query(lab, "SELECT count(*) AS n FROM trials")["n"][0] == 3
    assert Shelf(lab.artifacts, "states").build("big", lambda folder: None).is_dir()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on the size of a file")
def test_where_no_file_can_grow_it_says_so_and_goes_on_later(tmp_path: Path) -> None:
    lab = Lab.open(tmp_path / "lab")
    night.finish(Records(lab), "first", 0.5)
    publish(lab)
    night.finish(Records(lab), "second", 0.5)
    check_full(lab, Other(FULL, lab.root, "limit", 4_000).rest())
    go_on(lab)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has tmpfs")
def test_a_full_disk_says_so_and_goes_on_when_there_is_room(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, cwd=ROOT).returncode != 0:
        pytest.skip("this machine lets nobody mount a small disk; the limit on file sizes stands for it")
    try:
        lab = Lab.open(disk / "lab")
        night.finish(Records(lab), "first", 0.5)
        publish(lab)
        night.finish(Records(lab), "second", 0.5)
        ballast = disk / "ballast"
        with ballast.open("wb", buffering=0) as file:
            try:
                while file.write(b"x" * 4096):
                    pass
            except OSError:
                pass
        check_full(lab, Other(FULL, lab.root, "disk").rest())
        ballast.unlink()
        go_on(lab)
    finally:
        subprocess.run(["umount", str(disk)], check=True)
