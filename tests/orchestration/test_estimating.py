"""What trials and features will cost: stopping early, epochs that are there already, builds that were timed."""

from __future__ import annotations

import datetime as dt
import shutil
from pathlib import Path
from typing import Any

import pytest

from ml.config import merge
from ml.studies.concert.study import CONCERT
from ml.studies.registry import ALL_STUDIES
from ml.studies.study import Study
from orchestration import data, feature_costs
from orchestration.asking import print_plan
from orchestration.estimating import ROUGH, Costs, costs
from orchestration.nights.planning import StudyPlan, plan_nights
from orchestration.nights.telling_plan import told
from orchestration.nights.window import DAY
from orchestration.nights.work import Entry
from orchestration.plan import trial_states
from orchestration.releasing import owner_of
from orchestration.resources import Bench
from storage.lab import Lab
from tests.orchestration.nights.made_up import attempt, look, measured
from tests.small_lab import TINY, small_corpus, small_lab, write_yaml

HOUR = 3600.0
ALL_DAY = {"timezone": "UTC", "starts": "00:00", "ends": "00:00"}
STOPS = {"trial": {"training": {"epochs": 4, "patience": 1}}}


@pytest.fixture(scope="module")
def looked_at(tmp_path_factory: pytest.TempPathFactory, corpus: Path) -> Path:
    """A lab whose features are built, and whose trials have four epochs and a patience of one."""
    folder = tmp_path_factory.mktemp("estimated")
    recordings = shutil.copytree(corpus, folder / "recordings")
    bench = small_lab(folder / "lab", recordings, night=ALL_DAY, **{"trial": merge(TINY["trial"], STOPS["trial"])})
    look(bench, CONCERT)
    bench.machine()
    return folder


@pytest.fixture
def bench(looked_at: Path, tmp_path: Path) -> Bench:
    """A copy of it for one test, with its recordings."""
    shutil.copytree(looked_at, tmp_path / "own")
    bench = Bench(Lab.open(tmp_path / "own" / "lab"))
    write_yaml(bench.lab.sources_file, {"concert": str(tmp_path / "own" / "recordings")})
    return bench


def planned(bench: Bench, hour: int = 18) -> StudyPlan:
    tomorrow = dt.datetime.now(dt.UTC) + DAY
    return plan_nights(bench, tomorrow.replace(hour=hour, minute=0, second=0, microsecond=0), (CONCERT,), foresee=True)[
        0
    ]


def entry(plan: StudyPlan, name: str) -> Entry:
    return next(one for one in plan.entries if one.trial.name == name)


def stopped(bench: Bench, name: str, seconds: float, epochs: int) -> None:
    measured(bench, CONCERT, name, seconds, epochs_done=epochs, stopped_early=epochs < 4)


@pytest.mark.parametrize("study", ALL_STUDIES, ids=lambda study: study.name)
def test_every_study_says_which_trials_may_stop_early(study: Study):
    config = study.settings().trial.model_dump(mode="json")
    section, _, setting = study.patience_setting.partition(".")
    said = merge(config, {section: {setting: 3}})
    assert setting in config[section], "the setting is one of the study's"
    assert study.may_stop_early(said, 4) and not study.may_stop_early(said, 3)
    assert not study.may_stop_early(merge(config, {section: {setting: None}}), 4)
    assert not study.may_stop_early({section: {}}, 4), "a trial of long ago knew no such setting"


def test_a_night_fits_by_when_trials_stop_and_says_what_they_take_at_most(bench: Bench):
    stopped(bench, "balance_1.00", 4 * HOUR, 2)
    plan = planned(bench)
    assert [(one.seconds, one.at_most) for one in plan.tonight] == [(2 * HOUR, 4 * HOUR)] * 3
    assert plan.tonight[0].basis.endswith(
        "measured on this machine; trials here stopped early after 50 % of their epochs on median (of 1)"
    )
    assert [one.reason for one in plan.tonight[:2]] == ["", ""]
    assert plan.tonight[2].reason == "goes on next night if it does not stop early: at most 4.0 h"
    assert [one.trial.name for one in plan.named("next night")] == ["balance_0.75"]
    text = "\n".join(told(bench, plan, dt.datetime.now(dt.UTC)))
    assert "2.0 h (at most 4.0 h)" in text and "6.0 h (at most 12.0 h)" in text
    assert "time is epochs of this network measured on this machine; trials here stopped early" in text


def test_what_cannot_stop_early_is_counted_whole_and_other_data_says_nothing(bench: Bench):
    stopped(bench, "balance_1.00", HOUR, 1)
    write_yaml(bench.lab.experiments("concert") / "waits.yaml", {"training": {"patience": 4}})
    plan = planned(bench)
    waits, stops = entry(plan, "waits"), entry(plan, "balance_0.00")
    assert (waits.seconds, waits.at_most) == (HOUR, HOUR) and "stopped early" not in waits.basis
    assert stops.seconds == HOUR / 4
    measured(bench, CONCERT, "balance_0.75", HOUR, epochs_done=1, data_fingerprint="other")
    measured(bench, CONCERT, "balance_0.50", HOUR)
    one = entry(planned(bench), "balance_0.00")
    assert one.seconds == HOUR * (0.25 + 1) / 2, "the median of two"
    assert "after 62 % of their epochs on median (of 2)" in one.basis


def test_what_went_on_longer_than_others_is_expected_to_go_on(bench: Bench):
    stopped(bench, "balance_1.00", HOUR, 2)
    attempt(bench, CONCERT, "balance_0.25", "paused", epochs_done=1)
    attempt(bench, CONCERT, "balance_0.50", "paused", epochs_done=3)
    plan = planned(bench)
    early, late = entry(plan, "balance_0.25"), entry(plan, "balance_0.50")
    assert (early.seconds, early.at_most) == (HOUR / 4, HOUR * 3 / 4)
    assert (late.seconds, late.at_most) == (HOUR / 4, HOUR / 4), "none stopped after so many epochs"


def test_one_that_says_the_same_as_one_that_stopped_early_costs_no_epochs(bench: Bench):
    stopped(bench, "balance_1.00", HOUR, 2)
    stopped(bench, "balance_0.75", HOUR, 3)
    own = bench.lab.experiments("concert")
    write_yaml(own / "again.yaml", {"balance_strength": 1.0, "name": "again"})
    again = entry(planned(bench), "again")
    assert (again.seconds, again.at_most) == (0, 0) and "its epochs are shared" in again.reason


def a_state(bench: Bench, name: str, epoch: int, forced_by: str | None = None) -> None:
    """The state of an epoch as a trial leaves it."""
    known, trial = bench.data(CONCERT), bench.trials(CONCERT).named(name)
    origin = CONCERT.origin(known.fingerprint, known.features_key)
    owner = owner_of(CONCERT, trial, origin, bench.machine().precision, forced_by)
    bench.shelf("states", owner).build(f"{name}-{epoch}-{forced_by}", lambda folder: {"epoch": epoch})


def test_of_a_running_trial_only_the_rest_is_counted(bench: Bench):
    measured(bench, CONCERT, "balance_1.00", HOUR)
    attempt(bench, CONCERT, "balance_0.25", "paused", epochs_done=1)
    with bench.records.begin("concert", "balance_0.25", "a run"):
        seconds = [entry(planned(bench), "balance_0.25").seconds]
        a_state(bench, "balance_0.25", 2)
        seconds.append(entry(planned(bench), "balance_0.25").seconds)
        a_state(bench, "balance_0.25", 3, "a_request")
        plan = planned(bench)
    running = entry(plan, "balance_0.25")
    assert running.state == "running" and [*seconds, running.seconds] == [HOUR * 3 / 4, HOUR / 2, HOUR / 4]
    assert entry(plan, "balance_0.50").seconds == HOUR


def test_what_was_killed_without_a_word_goes_on_from_its_epochs(bench: Bench):
    measured(bench, CONCERT, "balance_1.00", HOUR)
    a_state(bench, "balance_0.25", 3, "a_request")
    attempt(bench, CONCERT, "balance_0.25", None)
    assert entry(planned(bench), "balance_0.25").seconds == HOUR, "what is trained anew on request serves nobody else"
    a_state(bench, "balance_0.25", 1)
    killed = entry(planned(bench), "balance_0.25")
    assert killed.state == "missing" and killed.seconds == HOUR * 3 / 4


def test_building_features_takes_its_part_of_the_night(bench: Bench, tmp_path: Path):
    measured(bench, CONCERT, "balance_1.00", HOUR)
    known = bench.data(CONCERT)
    note = bench.shelf("features").note(known.features_key) or {}
    assert note[feature_costs.SECONDS] > 0 and note[feature_costs.BYTES] > 0
    assert feature_costs.building(bench, CONCERT) == feature_costs.BUILT
    bench.shelf("features").drop(known.features_key)
    again = feature_costs.building(bench, CONCERT)
    assert again.seconds == pytest.approx(note[feature_costs.SECONDS]) and again.disk_bytes == note["bytes_built"]
    plan = planned(bench)
    assert plan.tonight[0].begins is not None and plan.tonight[0].begins.minute == 0
    assert (plan.tonight[0].begins.second + plan.tonight[0].begins.microsecond / 1e6) == pytest.approx(again.seconds)
    text = "\n".join(told(bench, plan, dt.datetime.now(dt.UTC)))
    assert "features, built first" in text
    assert "time of building is what earlier builds of this study took for as much" in text


def test_only_files_that_no_store_has_are_counted(bench: Bench):
    before = bench.shelf("features").note(bench.data(CONCERT).features_key) or {}
    source = bench.source(CONCERT)
    more = small_corpus(source.parent / "more", seed=1) / "MUSIC"
    further = min((path for path in more.iterdir() if path.suffix == ".wav"), key=lambda path: path.stat().st_size)
    shutil.copy(further, source / "MUSIC" / "further.wav")
    data.take_inventory(bench, CONCERT, lambda share, words: None)
    data.divide(bench, CONCERT)
    found = feature_costs.building(bench, CONCERT)
    assert found.seconds is not None and 0 < found.seconds < before[feature_costs.SECONDS] / 2
    assert found.disk_bytes > before[feature_costs.BYTES] / 2, "on the disk all of them are there once more"


def test_before_the_first_build_its_time_is_not_known(tmp_path: Path, corpus: Path):
    bench = small_lab(tmp_path / "lab", corpus, night=ALL_DAY)
    data.take_inventory(bench, CONCERT, lambda share, words: None)
    data.divide(bench, CONCERT)
    found = feature_costs.building(bench, CONCERT)
    assert found.seconds is None and found.disk_bytes > 0
    assert "none were built in this lab before" in found.basis


def test_a_trial_that_is_not_declared_any_more_still_says_what_epochs_take(bench: Bench):
    path = bench.lab.experiments("concert") / "gone.yaml"
    write_yaml(path, {"balance_strength": 0.1})
    measured(bench, CONCERT, "gone", HOUR)
    path.unlink()
    one = bench.trials(CONCERT).trials[0]
    found = costs(bench, CONCERT, bench.data(CONCERT), [one], foresee=True).each[0]
    assert found.at_most == pytest.approx(HOUR)


def test_a_run_times_each_network_once_and_keeps_it(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    timed: list[str] = []
    estimate = type(CONCERT).estimate

    def counted(self: Any, trial: Any, files: Any, settings: Any, machine: Any, per_item: float | None) -> Any:
        if per_item is None:
            timed.append(trial.name)
        return estimate(self, trial, files, settings, machine, per_item)

    monkeypatch.setattr(type(CONCERT), "estimate", counted)
    trials = bench.trials(CONCERT).trials
    for _ in range(2):
        found = costs(bench, CONCERT, bench.data(CONCERT), trials, foresee=True)
        assert all(cost.seconds and cost.basis == ROUGH for cost in found.each)
    assert timed == [trials[0].name]


def test_what_is_asked_for_says_what_is_expected_and_what_it_takes_at_most(
    bench: Bench, capsys: pytest.CaptureFixture[str]
):
    stopped(bench, "balance_1.00", HOUR * 4, 2)
    states = {one.trial.name: one for one in trial_states(bench, CONCERT)}
    todo = [one.trial for one in states.values() if one.state != "done"]
    found = costs(bench, CONCERT, bench.data(CONCERT), todo, foresee=True)
    print_plan(bench, CONCERT, todo, states, Costs(found.each, around=900.0))
    lines = capsys.readouterr().out.splitlines()
    row = next(line for line in lines if line.startswith("balance_0.00"))
    assert "missing" in row and "2.2 h (at most 4.2 h)" in row
    together = next(line for line in lines if line.startswith("trials together"))
    assert "9.0 h (at most 17.0 h)" in together
    assert sum(line.startswith("time is ") for line in lines) == 1
