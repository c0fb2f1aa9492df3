"""What nobody needs goes, and nothing else: real trials in a small lab, then all that leaves something behind."""

from __future__ import annotations

import datetime as dt
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from ml.config import fingerprint
from ml.studies.concert.study import CONCERT
from orchestration import data
from orchestration.answers import best_model
from orchestration.nights.cleaning import AlreadyCleaning, Cleaned, clean, make_room
from orchestration.nights.unneeded import Found, unneeded
from orchestration.releasing import owner_of, state_keys
from orchestration.resources import Bench
from orchestration.study_assets import study_assets
from orchestration.trials import run_trial
from storage.artifacts import Shelf
from storage.lab import Lab
from storage.names import BadName
from tests.orchestration.nights.made_up import look
from tests.small_lab import nocturne, small_lab, write_yaml
from tests.storage.processes import Other

TRIALS = ("first", "second")
LATER = dt.timedelta(hours=2)


def train(bench: Bench, name: str, forced_by: str | None = None) -> None:
    run_trial(bench, CONCERT, name, run_id="by hand", forced_by=forced_by, say=lambda words: None)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, corpus: Path) -> Path:
    """A lab with the answers of two trials, which are all that it has; tests take copies of it."""
    bench = small_lab(tmp_path_factory.mktemp("cleaning") / "lab", corpus)
    look(bench, CONCERT)
    for seed, name in enumerate(TRIALS):
        write_yaml(bench.lab.experiments("concert") / f"{name}.yaml", {"seed": seed})
        train(bench, name)
    best_model(bench, CONCERT)
    return bench.lab.root


@pytest.fixture
def lab(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """A copy, in which the study has no other trials than those two."""
    shutil.copytree(trained, tmp_path / "lab")
    monkeypatch.setattr(type(CONCERT), "experiments", tmp_path / "none")
    yield Bench(Lab.open(tmp_path / "lab"))


def found(bench: Bench, later: dt.timedelta = LATER) -> Found:
    return unneeded(bench, dt.datetime.now(dt.UTC) + later, studies=[CONCERT])


def kinds(what: Found) -> set[tuple[str, str]]:
    """Kind and reason of what is unneeded, without locks."""
    return {(one.kind, one.why) for one in what.leftovers if one.kind != "locks"}


def everything(bench: Bench) -> dict[Path, bytes]:
    """Every file of records, reports and what a person wrote."""
    root = bench.lab.root
    own = [*bench.lab.records.rglob("*"), *(root / "experiments").rglob("*"), *bench.lab.reports.rglob("*")]
    own += [*bench.lab.collected.rglob("*"), *root.glob("*.yaml"), *root.glob("*.duckdb")]
    return {path.relative_to(root): path.read_bytes() for path in own if path.is_file()}


def test_of_a_lab_whose_trials_are_done_nothing_goes_but_locks(lab: Bench) -> None:
    what = found(lab)
    assert kinds(what) == set() and what.notes == [] and what.bytes == 0
    assert {one.kind for one in what.spared} == {"states"}, "more epochs would go on from them"
    before = everything(lab)
    states, models = lab.shelf("states").keys(), lab.shelf("models").keys()
    assert clean(lab, what.leftovers).problems == ()
    assert everything(lab) == before and lab.shelf("states").keys() == states and lab.shelf("models").keys() == models
    assert best_model(lab, CONCERT).folder.is_dir()


@pytest.mark.parametrize("change", ["settings", "gone", "data", "precision"])
def test_states_whose_trials_say_something_else_now_go_with_their_notes(lab: Bench, change: str) -> None:
    own = lab.lab.experiments("concert")
    keys = {
        name: set(state_keys(record).values())
        for name in TRIALS
        if (record := lab.records.latest("concert", name)) is not None
    }
    if change == "settings":
        write_yaml(own / "first.yaml", {"seed": 7})
    elif change == "gone":
        (own / "first.yaml").unlink()
    elif change == "precision":
        write_yaml(lab.lab.machine_file, {"device": "cpu", "precision": "bf16", "threads": 1})
    else:
        extra = {"retry_delay_seconds": 0.2, "split": {"train": 0.6, "validation": 0.2, "test": 0.2, "seed": 9}}
        write_yaml(lab.lab.studies_file, {"concert": extra})
        data.divide(lab, CONCERT)
    gone = keys["first"] if change in ("settings", "gone") else keys["first"] | keys["second"]
    what = found(lab)
    assert {one.kind for one in what.leftovers} - {"locks"} == {"states"}
    assert found(lab, dt.timedelta(minutes=50)).bytes == 0, "what is younger than an hour stays"
    before = everything(lab)
    assert clean(lab, what.leftovers).number >= len(gone)
    shelf = lab.shelf("states")
    assert not gone & set(shelf.keys()) and all(shelf.note(key) is None for key in gone)
    assert all(shelf.note(key) is not None for key in (keys["first"] | keys["second"]) - gone)
    assert everything(lab) == before, "records and what a person wrote are never touched"
    assert len(lab.shelf("models").keys()) == 2, "models of what is on the leaderboard stay"


def test_what_was_trained_by_force_goes_when_that_has_ended_and_the_older_model_with_it(lab: Bench) -> None:
    best = lab.records.noted("concert", "best_model")
    assert best is not None
    name = next(name for name in TRIALS if name != best.account["trial"])
    plain = lab.records.latest("concert", name)
    train(lab, name, forced_by="request")
    forced = lab.records.latest("concert", name)
    assert plain is not None and forced is not None and forced.number > plain.number
    what = found(lab)
    assert kinds(what) == {
        ("states", "of a request to train again that is at its end"),
        ("models", "of attempts that newer ones replaced, or that left no record"),
    }
    clean(lab, what.leftovers)
    assert plain.account["model_key"] not in lab.shelf("models").keys()  # noqa: SIM118 - a shelf is no mapping
    assert lab.shelf("models").find(forced.account["model_key"]) is not None
    assert not set(state_keys(forced).values()) & set(lab.shelf("states").keys())
    assert set(state_keys(plain).values()) & set(lab.shelf("states").keys()), "from there more epochs go on"


def _state(bench: Bench, trial: str, key: str, **owner: Any) -> None:
    """A state as a trial leaves it that was killed."""
    now = bench.data(CONCERT)
    origin = CONCERT.origin(now.fingerprint, now.features_key)
    declared = {one.name: one for one in bench.trials(CONCERT).trials}[trial]
    whose = owner_of(CONCERT, declared, origin, bench.machine().precision, None) | owner
    bench.shelf("states", whose).build(key, lambda folder: {"epoch": 1, "settings": {"batch": 1}, "key": key})


def test_of_an_attempt_that_was_killed_everything_stays_until_its_trial_is_at_its_end(lab: Bench) -> None:
    write_yaml(lab.lab.experiments("concert") / "third.yaml", {"seed": 3})
    _state(lab, "third", "paused")
    assert kinds(found(lab)) == set()
    (lab.lab.experiments("concert") / "third.yaml").unlink()
    assert kinds(found(lab)) == {("states", "of trials that are gone, or say something else now")}


def test_a_kill_between_record_and_release_leaves_states_that_go(lab: Bench) -> None:
    _state(lab, "first", "fork")  # of a trial that is at its end
    assert kinds(found(lab)) == {("states", "of families whose trials are all at their end")}
    write_yaml(lab.lab.experiments("concert") / "third.yaml", {"seed": 3})
    assert kinds(found(lab)) == set(), "the third might go on from there: some studies share epochs without families"
    (lab.lab.experiments("concert") / "third.yaml").unlink()
    clean(lab, found(lab).leftovers)
    assert "fork" not in lab.shelf("states").keys()  # noqa: SIM118 - a shelf is no mapping
    assert lab.shelf("states").note("fork") is not None, "more epochs count from what is noted"


def test_a_request_that_goes_on_keeps_its_states_and_one_that_was_forgotten_does_not(lab: Bench) -> None:
    _state(lab, "first", "asked", forced_by="1234")
    assert kinds(found(lab)) == set(), "somebody may go on with it tomorrow"
    assert kinds(found(lab, dt.timedelta(days=4))) == {
        ("states", "of a request to train again with which nobody went on")
    }
    from orchestration import forcing

    forcing.remember(lab, CONCERT, lab.trials(CONCERT).trials, forcing.Request("1234", "2026-11-21", False))
    assert kinds(found(lab, dt.timedelta(days=4))) == set()


def test_epochs_on_the_way_to_a_trial_that_is_still_to_end_stay_whoever_trained_them(lab: Bench) -> None:
    """Trials of some studies share epochs without being of one family."""
    write_yaml(lab.lab.experiments("concert") / "third.yaml", {"seed": 3})
    said = {"batch": 16, "lr": 0.1}
    second, third = fingerprint("root", said), fingerprint(fingerprint("root", said), said)
    gone = {"family": "of a trial that is gone", "trial": "gone"}
    now = lab.data(CONCERT)
    origin = CONCERT.origin(now.fingerprint, now.features_key)
    declared = {one.name: one for one in lab.trials(CONCERT).trials}["third"]
    whose = owner_of(CONCERT, declared, origin, lab.machine().precision, None)
    for key, epoch, owner in (("root", 1, gone), (second, 2, gone), (third, 3, {}), ("aside", 2, gone)):
        note = {"epoch": epoch, "settings": said, "key": key}
        lab.shelf("states", whose | owner).build(key, lambda folder, note=note: note)
    what = found(lab)
    assert [one.number for one in what.leftovers if one.kind == "states"] == [1]
    clean(lab, what.leftovers)
    assert {"root", second, third} <= set(lab.shelf("states").keys()) and lab.shelf("states").note("aside") is None


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


def test_a_file_that_vanished_since_the_split_changes_nothing_before_it_is_divided_anew(lab: Bench) -> None:
    """The inventory is taken by itself whenever the source changes, in the middle of a night too."""
    inventory = lab.records.noted("concert", "inventory")
    assert inventory is not None
    files, before = inventory.table("files"), lab.data(CONCERT)
    lab.records.note("concert", "inventory", {"fingerprint": "other"}, {"files": files.iloc[1:]})
    assert lab.data(CONCERT).fingerprint == before.fingerprint
    assert kinds(found(lab)) == set() and found(lab).notes == []
    train(lab, "first")  # found, not trained


def test_features_of_former_recordings_go_when_the_present_ones_are_built(lab: Bench) -> None:
    shelf = lab.shelf("features", {"study": "concert"})
    alike = fingerprint("concert", CONCERT.revision, CONCERT.features_identity(lab.settings(CONCERT)))
    shelf.build("former", lambda folder: {"alike": alike} | {"x": (folder / "x").write_bytes(b"1" * 1000)})
    assert kinds(found(lab)) == {("features", "of recordings or settings as they were before")}
    present = lab.data(CONCERT).features_key
    shelf.discard(present, noted=True)
    assert kinds(found(lab)) == set(), "the present ones are made of them sooner"


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


# --- by budget ---------------------------------------------------------------------------------------------------


@pytest.fixture
def room(lab: Bench, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], tuple[Cleaned, list[str]]]:
    """Makes room under a budget in bytes, two hours from now."""

    def make(budget: int) -> tuple[Cleaned, list[str]]:
        said: list[str] = []
        done = make_room(lab, dt.datetime.now(dt.UTC) + LATER, said.append, budget)
        return done, said

    return make


def test_a_budget_takes_first_what_nobody_needs_then_what_only_more_epochs_would_need(
    lab: Bench, room: Callable[[int], tuple[Cleaned, list[str]]]
) -> None:
    for name, hours in (("older", 9), ("newer", 3)):
        _state(lab, "first", name, family="gone")
        manifest = lab.shelf("states").folder / name / "manifest.json"
        (manifest.parent / "files" / "weights").write_bytes(b"w" * 100_000)
        then = manifest.stat().st_mtime - 3600 * hours
        os.utime(manifest, (then, then))
    used = sum(lab.shelf(kind).bytes() for kind in ("states", "features"))
    assert room(used + 1) == (Cleaned(), [])
    assert set(lab.shelf("states").keys()) >= {"older", "newer"}
    done, said = room(used - 50_000)
    assert done.number == 1 and "more than the" in said[0] and said[1] == "removed 0 MB that nobody needs"
    assert len(said) == 2
    assert "older" not in lab.shelf("states").keys() and "newer" in lab.shelf("states").keys()  # noqa: SIM118
    before, models = everything(lab), lab.shelf("models").keys()
    done, said = room(0)
    assert lab.shelf("states").keys() == []
    assert "from which finished trials would have gone on" in said[2] and "all else is needed or in use" in said[3]
    assert everything(lab) == before and lab.shelf("models").keys() == models
    assert lab.shelf("features").find(lab.data(CONCERT).features_key) is not None, "trials of tonight read them"
    train(lab, "first")  # finished still, so nothing is trained


def test_a_disk_that_is_nearly_full_is_cleared_until_enough_is_free(lab: Bench) -> None:
    _state(lab, "first", "nobodys", family="gone")
    write_yaml(lab.lab.nights_file, {"keep_free_gb": 1e6})
    said: list[str] = []
    make_room(lab, dt.datetime.now(dt.UTC) + LATER, said.append)
    assert "are free on the lab's disk, 1000000.0 GB are to be left free: making room" in said[0]
    assert "nobodys" not in lab.shelf("states").keys()  # noqa: SIM118 - a shelf is no mapping


def test_what_goes_wrong_while_room_is_made_is_said_and_costs_nobody_his_night(lab: Bench) -> None:
    lab.lab.nights_file.write_text("keep_free: 3\n")
    said: list[str] = []
    assert make_room(lab, dt.datetime.now(dt.UTC), said.append) == Cleaned()
    assert said == [
        f"no room could be made: {lab.lab.nights_file}: unknown key `keep_free`; allowed here: "
        "budget_gb, gpu_spares_mib, gpu_wait, keep_free_gb, on_morning"
    ]


def test_before_a_night_the_step_that_builds_features_makes_room_by_the_budget_of_the_lab(lab: Bench) -> None:
    write_yaml(lab.lab.nights_file, {"budget_gb": 1e-6})
    key = dg.AssetKey(["concert", "features"])
    with dg.DagsterInstance.ephemeral() as instance:
        done = dg.materialize(study_assets(CONCERT, lab), selection=[key], instance=instance)  # type: ignore[arg-type]
        said = [entry.user_message for entry in instance.all_logs(done.run_id)]
    assert done.success and lab.shelf("states").keys() == []
    assert any("states and features take" in words and "making room" in words for words in said), said


# --- the command -------------------------------------------------------------------------------------------------


def test_the_command_shows_first_and_removes_only_when_told_to(lab: Bench) -> None:
    whose = lab.shelf("states").owner(lab.shelf("states").keys()[0])
    lab.shelf("states", whose | {"family": "gone"}).build("nobodys", lambda folder: None)
    manifest = lab.shelf("states").folder / "nobodys" / "manifest.json"
    os.utime(manifest, (manifest.stat().st_mtime - 7200, manifest.stat().st_mtime - 7200))
    before = everything(lab)
    shown = nocturne(lab, "clean")
    assert shown.returncode == 0, shown.stderr
    assert "states of concert" in shown.stdout and "nothing was removed: `nocturne clean --yes`" in shown.stdout
    assert lab.shelf("states").find("nobodys") is not None
    told = nocturne(lab, "clean", "--yes", "--budget", "0")
    assert told.returncode == 0, told.stderr
    assert "removed 1, " in told.stdout and "states and features take" in told.stdout
    assert lab.shelf("states").keys() == [] and everything(lab) == before


def test_hostile_names_reach_nothing_outside_the_shelf(lab: Bench) -> None:
    with pytest.raises(BadName):
        lab.shelf("states").discard("../../records", noted=True)
