"""What nobody needs goes, and nothing else: real trials in a small lab, then all that leaves something behind."""

from __future__ import annotations

import datetime as dt

import pytest

from ml.config import fingerprint
from ml.studies.concert.study import CONCERT
from orchestration import data, forcing
from orchestration.answers import best_model
from orchestration.nights.cleaning import clean
from orchestration.releasing import state_keys
from orchestration.resources import Bench
from tests.orchestration.nights.cleaned import TRIALS, everything, found, kinds, left_by_a_kill, owner_now, train
from tests.small_lab import write_yaml


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


def test_of_an_attempt_that_was_killed_everything_stays_until_its_trial_is_at_its_end(lab: Bench) -> None:
    write_yaml(lab.lab.experiments("concert") / "third.yaml", {"seed": 3})
    left_by_a_kill(lab, "third", "paused")
    assert kinds(found(lab)) == set()
    (lab.lab.experiments("concert") / "third.yaml").unlink()
    assert kinds(found(lab)) == {("states", "of trials that are gone, or say something else now")}


def test_a_kill_between_record_and_release_leaves_states_that_go(lab: Bench) -> None:
    left_by_a_kill(lab, "first", "fork")  # of a trial that is at its end
    assert kinds(found(lab)) == {("states", "of families whose trials are all at their end")}
    write_yaml(lab.lab.experiments("concert") / "third.yaml", {"seed": 3})
    assert kinds(found(lab)) == set(), "the third might go on from there: some studies share epochs without families"
    (lab.lab.experiments("concert") / "third.yaml").unlink()
    clean(lab, found(lab).leftovers)
    assert "fork" not in lab.shelf("states").keys()  # noqa: SIM118 - a shelf is no mapping
    assert lab.shelf("states").note("fork") is not None, "more epochs count from what is noted"


def test_a_request_that_goes_on_keeps_its_states_and_one_that_was_forgotten_does_not(lab: Bench) -> None:
    left_by_a_kill(lab, "first", "asked", forced_by="1234")
    assert kinds(found(lab)) == set(), "somebody may go on with it tomorrow"
    assert kinds(found(lab, dt.timedelta(days=4))) == {
        ("states", "of a request to train again with which nobody went on")
    }

    forcing.remember(lab, CONCERT, lab.trials(CONCERT).trials, forcing.Request("1234", "2026-11-21", False))
    assert kinds(found(lab, dt.timedelta(days=4))) == set()


def test_epochs_on_the_way_to_a_trial_that_is_still_to_end_stay_whoever_trained_them(lab: Bench) -> None:
    """Trials of some studies share epochs without being of one family."""
    write_yaml(lab.lab.experiments("concert") / "third.yaml", {"seed": 3})
    said = {"batch": 16, "lr": 0.1}
    second, third = fingerprint("root", said), fingerprint(fingerprint("root", said), said)
    gone = {"family": "of a trial that is gone", "trial": "gone"}
    whose = owner_now(lab, "third")
    for key, epoch, owner in (("root", 1, gone), (second, 2, gone), (third, 3, {}), ("aside", 2, gone)):
        note = {"epoch": epoch, "settings": said, "key": key}
        lab.shelf("states", whose | owner).build(key, lambda folder, note=note: note)
    what = found(lab)
    assert [one.number for one in what.leftovers if one.kind == "states"] == [1]
    clean(lab, what.leftovers)
    assert {"root", second, third} <= set(lab.shelf("states").keys()) and lab.shelf("states").note("aside") is None


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
