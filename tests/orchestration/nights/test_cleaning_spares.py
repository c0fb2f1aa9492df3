"""What is in use, not understood or somebody else's stays whole, whoever cleans, and whenever a cleaner is killed."""

from __future__ import annotations

import datetime as dt
import shutil

import pytest

from orchestration.nights.cleaning import AlreadyCleaning, clean
from orchestration.releasing import state_keys
from orchestration.resources import Bench
from storage.artifacts import Shelf
from storage.names import BadName
from tests.orchestration.nights.cleaned import everything, found, kinds
from tests.small_lab import write_yaml
from tests.storage.processes import Other

HOLDER = """
import sys
from pathlib import Path
from storage.lab import Lab
from storage.records import Records

with Records(Lab(Path(sys.argv[1]))).begin("concert", "second", "run"):
    print("mine", flush=True)
    sys.stdin.readline()
"""


def test_while_a_trial_runs_nothing_of_its_study_goes(lab: Bench) -> None:
    (lab.lab.experiments("concert") / "first.yaml").unlink()
    before = found(lab)
    assert before.bytes > 0
    with Other(HOLDER, lab.lab.root) as other:
        assert other.hear() == "mine"
        now = found(lab)
        assert now.bytes == 0 and now.notes == ["what was built for concert stays: second is running"]
        done = clean(lab, [one for one in before.leftovers if one.study])
        assert done.number == 0 and done.busy > 0, "it was begun after what is unneeded had been looked up"
    assert clean(lab, before.leftovers).bytes == before.bytes


@pytest.mark.parametrize("why", ["a file that cannot be read", "no split", "a damaged record"])
def test_where_it_cannot_be_told_what_is_needed_all_stays(lab: Bench, why: str) -> None:
    own = lab.lab.experiments("concert")
    (own / "first.yaml").unlink()
    assert found(lab).bytes > 0
    if why == "a file that cannot be read":
        write_yaml(own / "third.yaml", {"sed": 3})
    elif why == "no split":
        shutil.rmtree(lab.lab.records / "concert" / "_notes" / "split")
    else:
        path = lab.lab.records / "concert" / "second" / "000001" / "record.json"
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content[:-40])
    what = found(lab)
    assert what.bytes == 0 and kinds(what) == set()
    assert any(note.startswith("what was built for concert stays: ") for note in what.notes), what.notes


def test_what_lies_in_other_peoples_places_is_left_alone(lab: Bench) -> None:
    """Of a study that this version does not know, of nobody, with names that are no keys."""
    lab.shelf("states", {"study": "of_tomorrow"}).build("k", lambda folder: None)
    lab.shelf("states").build("unsaid", lambda folder: None)
    (lab.shelf("states").folder / "not mine.txt").write_text("a person put it here")
    (lab.shelf("states").folder / "before").mkdir()
    (lab.shelf("states").folder / "before" / "copy").write_text("that too")
    (lab.lab.root / "notes of mine.txt").write_text("mine")
    what = found(lab)
    assert kinds(what) == set() and what.notes == ["what was built for of_tomorrow stays: no study is named so here"]
    week = found(lab, dt.timedelta(days=8))
    assert kinds(week) == {("states", "of which nothing says whose they are, and a week old")}
    clean(lab, week.leftovers)
    assert (lab.shelf("states").folder / "before" / "copy").is_file()
    assert (lab.shelf("states").folder / "not mine.txt").is_file() and (lab.lab.root / "notes of mine.txt").is_file()
    assert lab.shelf("states").note("k") is not None and lab.shelf("states").note("unsaid") is None


def test_half_done_and_damaged_things_go_and_locks_that_nobody_holds(lab: Bench) -> None:
    shelf = lab.shelf("models")
    shelf.build("held", lambda folder: None)
    shelf.drop("held")
    for name in (".building-a", ".dropping-b", ".damaged-c"):
        (shelf.folder / name).mkdir()
        (shelf.folder / name / "weights").write_bytes(b"w" * 100)
    assert {one.kind for one in found(lab).leftovers} == {"unfinished", "locks"}
    week = found(lab, dt.timedelta(days=8))
    assert {one.kind for one in week.leftovers} >= {"unfinished", "damaged", "locks"}
    with shelf.claim("held"):
        clean(lab, week.leftovers)
        assert [path.stem for path in (shelf.folder / ".claims").glob("*.lock")] == ["held"], "somebody holds it"
    assert not list(shelf.folder.glob(".building-*")) + list(shelf.folder.glob(".d*-*"))
    for path in (shelf.folder / ".locks").glob("*.lock"):
        assert path.stem in [*shelf.keys(), "a", "b"], "which were taken to sweep, a moment ago"


CLEANER = """
import datetime as dt, sys
from pathlib import Path
from ml.studies.concert.study import CONCERT
from orchestration.nights.cleaning import AlreadyCleaning, clean
from orchestration.nights.unneeded import unneeded
from orchestration.resources import Bench
from storage import artifacts
from storage.lab import Lab

type(CONCERT).experiments = Path(sys.argv[1]) / "none"
bench = Bench(Lab(Path(sys.argv[1])))
found = unneeded(bench, dt.datetime.now(dt.UTC) + dt.timedelta(hours=2), runs=False, studies=[CONCERT])
remove = artifacts._remove

def slowly(folder):
    if folder.exists() and folder.name.startswith(".dropping"):
        print("dropping", flush=True)
        sys.stdin.readline()
    remove(folder)

artifacts._remove = slowly
print("looked", flush=True)
sys.stdin.readline()
try:
    print(clean(bench, found.leftovers).number, flush=True)
except AlreadyCleaning as problem:
    print(problem, flush=True)
"""


def _damaged(bench: Bench) -> list[str]:
    shelves = [bench.shelf(kind) for kind in ("states", "models", "features")]
    return [
        key
        for shelf in shelves
        for key in set(shelf.keys())
        if Shelf(bench.lab.artifacts, shelf.folder.name).find(key) is None
    ]


def test_two_at_once_and_one_killed_in_the_middle_leave_everything_whole(lab: Bench) -> None:
    (lab.lab.experiments("concert") / "first.yaml").unlink()
    before, what = everything(lab), found(lab)
    with Other(CLEANER, lab.lab.root) as one, Other(CLEANER, lab.lab.root) as two:
        assert one.hear() == two.hear() == "looked"
        assert one.say("go on") == "dropping"
        assert "another process is cleaning this lab now" in two.say("go on")
        with pytest.raises(AlreadyCleaning):
            clean(lab, what.leftovers)
        one.kill()
    assert list(lab.shelf("states").folder.glob(".dropping-*")), "it was killed in the middle"
    assert _damaged(lab) == [] and everything(lab) == before
    assert clean(lab, what.leftovers).problems == ()
    again = found(lab)
    clean(lab, again.leftovers)
    assert kinds(found(lab)) == set() and _damaged(lab) == [] and everything(lab) == before
    assert not list(lab.shelf("states").folder.glob(".dropping-*"))
    assert set(lab.shelf("states").keys()) == _ends(lab, "second")


def _ends(bench: Bench, trial: str) -> set[str]:
    record = bench.records.latest("concert", trial)
    assert record is not None
    keys = state_keys(record)
    return {keys[record.account["epochs_done"]], keys[record.account["best_epoch"]]}


def test_hostile_names_reach_nothing_outside_the_shelf(lab: Bench) -> None:
    with pytest.raises(BadName):
        lab.shelf("states").discard("../../records", noted=True)
