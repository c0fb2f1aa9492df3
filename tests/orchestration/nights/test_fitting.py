"""One machine, several studies: who has it from when, and epochs that trials share are counted once."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path

import pytest

from ml.studies.concert.study import CONCERT
from ml.studies.denoise.demo import write_corpus
from ml.studies.denoise.study import DENOISE
from ml.studies.night import NightConfig
from orchestration.estimating import costs, longest_of_chains
from orchestration.feature_costs import BUILT, Building
from orchestration.nights.fitting import Fitting
from orchestration.nights.planning import plan_nights
from orchestration.nights.window import Night, night_at
from orchestration.nights.work import Entry
from orchestration.resources import Bench
from storage.lab import Lab
from tests.orchestration.nights.made_up import attempt, look, measured
from tests.small_lab import small_lab, write_yaml

NOW = dt.datetime(2026, 11, 21, 18, tzinfo=dt.UTC)
ROOM = 10**12


def entries(tmp_path: Path, *hours: float | None) -> list[Entry]:
    trials = Bench(Lab.open(tmp_path / "lab")).trials(CONCERT).trials
    return [
        Entry(trial, "missing", "", None if each is None else each * 3600, "", 10**9, "tonight")
        for trial, each in zip(trials, hours, strict=False)
    ]


def night(starts: str, ends: str) -> Night:
    found = night_at(NightConfig(timezone="UTC", starts=starts, ends=ends), NOW.replace(hour=21), "any")
    assert found is not None
    return found


def test_the_second_study_begins_when_the_first_has_nothing_left(tmp_path: Path):
    fitting = Fitting(NOW, ROOM)
    first = fitting.place(night("17:00", "10:00"), entries(tmp_path, 1, 2), BUILT)
    second = fitting.place(night("17:00", "10:00"), entries(tmp_path, 4), BUILT)
    assert [entry.begins for entry in (*first, *second)] == [NOW + dt.timedelta(hours=each) for each in (0, 1, 3)]


def test_one_whose_night_begins_later_waits_for_it_and_one_that_ends_earlier_gets_nothing(tmp_path: Path):
    fitting = Fitting(NOW, ROOM)
    later = fitting.place(night("20:00", "10:00"), entries(tmp_path, 3), BUILT)
    assert later[0].begins == NOW + dt.timedelta(hours=2)
    earlier = fitting.place(night("17:00", "22:00"), entries(tmp_path, 1), BUILT)
    assert (earlier[0].when, earlier[0].reason) == ("next night", "the night is full until 22:00")


def test_what_does_not_fit_any_more_leaves_its_time_to_what_does(tmp_path: Path):
    long, *short = entries(tmp_path, 10, 1, 1)
    placed = Fitting(NOW, ROOM).place(night("17:00", "22:00"), [replace(long, epoch_seconds=5 * 3600), *short], BUILT)
    assert [entry.when for entry in placed] == ["next night", "tonight", "tonight"]
    assert "not one epoch (5.0 h)" in placed[0].reason
    assert [entry.begins for entry in placed[1:]] == [NOW, NOW + dt.timedelta(hours=1)]


def test_what_no_night_is_long_enough_for_begins_with_what_all_others_leave(tmp_path: Path):
    fitting, hours = Fitting(NOW, ROOM), night("17:00", "22:00")
    long, short = entries(tmp_path, 30, 1)
    first = fitting.place(hours, [replace(long, epoch_seconds=15 * 3600), short], BUILT)
    second = fitting.place(hours, entries(tmp_path, 2), BUILT)
    begins = [entry.begins for entry in (*first, *second)]
    assert begins == [None, NOW, NOW + dt.timedelta(hours=1)]
    last = fitting.place_turn(hours, first, 2)
    assert [entry.when for entry in last] == ["tonight", "begins tonight"]
    assert last[1].begins == NOW + dt.timedelta(hours=3) and "longer than a night" in last[1].reason
    fitting = Fitting(NOW, ROOM)
    first = fitting.place(hours, [replace(long, epoch_seconds=15 * 3600), *entries(tmp_path, 6)], BUILT)
    for turn in (1, 2):
        first = fitting.place_turn(hours, first, turn)
    assert [entry.when for entry in first] == ["begins tonight", "next night"]
    assert first[0].begins == NOW, "what the bell cuts comes before what no night is long enough for"


def test_what_the_bell_would_cut_begins_when_all_that_ends_in_the_night_of_every_study_has_its_place(tmp_path: Path):
    fitting, hours = Fitting(NOW, ROOM), night("17:00", "22:00")
    cut, short = entries(tmp_path, 9, 1)
    first = fitting.place(hours, [replace(cut, epoch_seconds=60.0), short], BUILT)
    second = fitting.place(hours, entries(tmp_path, 2), BUILT)
    first, second = (fitting.place_turn(hours, each, 1) for each in (first, second))
    said = [(entry.trial.name, entry.when, entry.begins) for entry in (*first, *second)]
    assert said == [
        (short.trial.name, "tonight", NOW),
        (cut.trial.name, "begins tonight", NOW + dt.timedelta(hours=3)),
        (cut.trial.name, "tonight", NOW + dt.timedelta(hours=1)),
    ]


def test_what_shares_epochs_with_one_that_is_left_for_later_is_left_too(tmp_path: Path):
    fitting, hours = Fitting(NOW, ROOM), night("17:00", "22:00")
    cut, rest, other = entries(tmp_path, 9, 1, 2)
    chain = [replace(one, chain="a", epoch_seconds=60.0) for one in (cut, rest)]
    placed = fitting.place_turn(hours, fitting.place(hours, [*chain, replace(other, chain="b")], BUILT), 1)
    assert [(entry.trial.name, entry.when) for entry in placed] == [
        (other.trial.name, "tonight"),
        (cut.trial.name, "begins tonight"),
        (rest.trial.name, "next night"),
    ]


def test_what_was_paused_goes_on_before_anything_else_is_begun(tmp_path: Path):
    fitting, hours = Fitting(NOW, ROOM), night("17:00", "22:00")
    paused, short = entries(tmp_path, 9, 1)
    placed = fitting.place(hours, [replace(paused, state="paused", epoch_seconds=60.0), short], BUILT)
    assert [entry.when for entry in placed] == ["begins tonight", "next night"]


def test_behind_one_that_nobody_can_foresee_no_time_is_promised(tmp_path: Path):
    fitting = Fitting(NOW, ROOM)
    placed = fitting.place(night("17:00", "10:00"), entries(tmp_path, 1, None, 1), BUILT)
    assert [entry.when for entry in placed] == ["tonight"] * 3
    assert [entry.begins for entry in placed] == [NOW, NOW + dt.timedelta(hours=1), None]
    assert "if time is left" in placed[2].reason
    assert not fitting.known


def test_studies_share_the_disk_and_a_smaller_one_may_still_fit(tmp_path: Path):
    fitting = Fitting(NOW, 3 * 10**9)
    large, small = entries(tmp_path, 1, 1)
    placed = fitting.place(
        night("17:00", "10:00"), [replace(large, disk_bytes=2 * 10**9), small], Building(15 * 10**8, 0.0)
    )
    assert [entry.when for entry in placed] == ["no room", "tonight"]
    assert placed[1].begins == NOW, "what is not begun takes no time"
    assert fitting.place(night("17:00", "10:00"), [small], BUILT)[0].when == "no room"


@pytest.fixture
def grid(tmp_path: Path) -> Bench:
    corpus = tmp_path / "noise"
    corpus.mkdir()
    write_corpus(corpus, scale=0.1)
    night = {"timezone": "UTC", "starts": "00:00", "ends": "00:00", "mode": "small"}
    bench = small_lab(tmp_path / "lab", corpus, "denoise", night=night)
    said = {"training.batch_size": [4, 8], "training.early_stop": [2, 3], "training.epochs": [2, 4]}
    write_yaml(bench.lab.experiments("denoise") / "small.yaml", {"training": {"lr": 1e-2}, "grid": said})
    look(bench, DENOISE)
    return bench


def test_epochs_that_trials_share_are_counted_once(grid: Bench):
    """What the plan says together is what the longest of each chain take alone."""
    names = [trial.name for trial in grid.trials(DENOISE).trials if trial.mode == "small"]
    measured(grid, DENOISE, grid.trials(DENOISE).trials[0].name, 600.0)
    trials = [grid.trials(DENOISE).named(name) for name in names]
    found = plan_nights(grid, NOW, (DENOISE,), foresee=True)[0]
    alone = costs(grid, DENOISE, grid.data(DENOISE), trials, foresee=False)
    longest = longest_of_chains(DENOISE, trials, alone.each)
    assert (len(trials), len(longest)) == (8, 2)
    together = sum(entry.seconds or 0.0 for entry in found.tonight)
    assert together == pytest.approx(sum(cost.seconds or 0.0 for cost in longest) + 8 * alone.around)
    assert sum(entry.disk_bytes for entry in found.tonight) == sum(cost.disk_bytes for cost in longest)


def test_epochs_of_a_finished_sibling_serve_a_longer_one(grid: Bench):
    short, *_, long = [
        trial.name for trial in grid.trials(DENOISE).trials if trial.mode == "small" and "bs4" in trial.name
    ]
    measured(grid, DENOISE, grid.trials(DENOISE).trials[0].name, 600.0)
    before = {entry.trial.name: entry.seconds for entry in plan_nights(grid, NOW, (DENOISE,), foresee=True)[0].tonight}
    attempt(grid, DENOISE, short, "finished")
    after = {entry.trial.name: entry.seconds for entry in plan_nights(grid, NOW, (DENOISE,), foresee=True)[0].tonight}
    assert short in before and short not in after
    assert sum(after[name] or 0.0 for name in after if "bs4" in name) < sum(
        before[name] or 0.0 for name in before if "bs4" in name
    )
    assert long in after


def test_who_waits_no_longer_than_a_sibling_that_stopped_is_at_its_end_too(grid: Bench):
    names = [trial.name for trial in grid.trials(DENOISE).trials if trial.mode == "small" and "bs4" in trial.name]
    measured(grid, DENOISE, grid.trials(DENOISE).trials[0].name, 600.0)
    patient = next(name for name in names if "ep4" in name and "es3" in name)
    attempt(grid, DENOISE, patient, "finished", epochs_done=3, stopped_early=True)
    tonight = {entry.trial.name: entry for entry in plan_nights(grid, NOW, (DENOISE,), foresee=True)[0].tonight}
    waiting = tonight[next(name for name in names if "ep4" in name and "es2" in name)]
    around = tonight[next(name for name in names if "ep2" in name)].seconds or 0.0
    assert waiting.seconds == waiting.at_most == pytest.approx(around)
