"""Room is made for a night as far as it is wanted; by hand, all that nobody needs goes when a person says so."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable

import dagster as dg
import pytest

from ml.studies.concert.study import CONCERT
from orchestration.nights.cleaning import Cleaned, make_room
from orchestration.nights.lab_nights import NightsOfLab
from orchestration.resources import Bench
from orchestration.study_assets import study_assets
from tests.orchestration.nights.cleaned import LATER, everything, left_by_a_kill, train
from tests.small_lab import nocturne, write_yaml


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
        left_by_a_kill(lab, "first", name, family="gone")
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
    left_by_a_kill(lab, "first", "nobodys", family="gone")
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
        + ", ".join(sorted(NightsOfLab.model_fields))
    ]


def test_before_a_night_the_step_that_builds_features_makes_room_by_the_budget_of_the_lab(lab: Bench) -> None:
    write_yaml(lab.lab.nights_file, {"budget_gb": 1e-6})
    key = dg.AssetKey(["concert", "features"])
    with dg.DagsterInstance.ephemeral() as instance:
        done = dg.materialize(study_assets(CONCERT, lab), selection=[key], instance=instance)  # type: ignore[arg-type]
        said = [entry.user_message for entry in instance.all_logs(done.run_id)]
    assert done.success and lab.shelf("states").keys() == []
    assert any("states and features take" in words and "making room" in words for words in said), said


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
