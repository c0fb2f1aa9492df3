"""The plan of a night: what is left to be done, what fits until the bell, and why the rest does not."""

from __future__ import annotations

import datetime as dt
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ml.config import merge
from ml.studies.concert.study import CONCERT
from orchestration import data, estimating
from orchestration.lease import machine_lease
from orchestration.nights import clock
from orchestration.nights.planning import StudyPlan, plan_nights
from orchestration.nights.window import DAY, night_at
from orchestration.nights.work import attempts_tonight
from orchestration.ordering import promising
from orchestration.resources import Bench
from storage.lab import Lab
from storage.results import publish
from tests.orchestration.nights.made_up import attempt, look, measured
from tests.small_lab import TINY, environment, small_lab, write_yaml

HOUR = 3600.0
ALL_DAY = {"timezone": "UTC", "starts": "00:00", "ends": "00:00"}
BALANCES = ["balance_0.00", "balance_0.25", "balance_0.50", "balance_0.75", "balance_1.00"]


def now() -> dt.datetime:
    """Six in the evening: of a night that began at midnight, six hours are left. Later than everything recorded."""
    tomorrow = dt.datetime.now(dt.UTC) + DAY
    return tomorrow.replace(hour=18, minute=0, second=0, microsecond=0)


@pytest.fixture
def bench(looked_at: Path, tmp_path: Path) -> Bench:
    """A lab whose features are built, and whose night goes on all day."""
    made = Bench(Lab.open(shutil.copytree(looked_at, tmp_path / "lab")))
    say(made)
    return made


def say(bench: Bench, **settings: Any) -> None:
    write_yaml(bench.lab.studies_file, {"concert": merge(TINY | {"night": ALL_DAY}, settings)})


def planned(bench: Bench, at: dt.datetime | None = None, *, foresee: bool = True) -> StudyPlan:
    return plan_nights(bench, at or now(), (CONCERT,), foresee=foresee)[0]


def names(plan: StudyPlan, *when: Any) -> list[str]:
    return [entry.trial.name for entry in plan.named(*when)]


def test_before_anybody_looked_all_is_begun_in_order_and_no_time_is_made_up(tmp_path: Path, corpus: Path):
    bench = small_lab(tmp_path / "lab", corpus, night=ALL_DAY)
    plan = planned(bench)
    assert [entry.trial.name for entry in plan.tonight] == BALANCES
    assert {entry.seconds for entry in plan.entries} == {None}
    assert plan.until is None and "how long is not known" in plan.sentence
    assert all("has not been looked at yet" in entry.basis for entry in plan.entries)


def test_as_many_as_fit_then_one_that_goes_on_then_the_next_night(bench: Bench):
    measured(bench, CONCERT, "balance_1.00", 2.5 * HOUR)
    plan = planned(bench)
    assert names(plan, "tonight") == ["balance_0.00", "balance_0.25"]
    assert names(plan, "next night") == ["balance_0.50", "balance_0.75"], "an epoch of 75 min does not fit into 60"
    assert names(plan, "done") == ["balance_1.00"]
    first, second = plan.tonight
    assert first.seconds == pytest.approx(2.5 * HOUR)
    assert (first.begins, second.begins) == (now(), now() + dt.timedelta(hours=2.5))
    assert "not one epoch (75 min) fits into the 60 min" in plan.named("next night")[0].reason
    measured(bench, CONCERT, "balance_1.00", 4 * HOUR)
    plan = planned(bench)
    assert names(plan, "tonight", "begins tonight") == ["balance_0.00", "balance_0.25"]
    cut = plan.named("begins tonight")[0]
    assert cut.trial.name == "balance_0.25" and "goes on next night from there" in cut.reason
    assert plan.until is not None and plan.night is not None and plan.until == plan.night.ends
    assert plan.sentence == (
        "2 trials from 18:00, until about 00:00 ("
        f"{plan.night.ends:%a %d %b}), the last goes on next night, 2 next night, 1 done"
    )


def test_an_epoch_longer_than_a_night_is_begun_all_the_same_and_said_to_be_too_long(bench: Bench):
    measured(bench, CONCERT, "balance_1.00", 100 * HOUR)
    for at in (now(), now().replace(hour=0), now().replace(hour=0, second=30)):
        plan = planned(bench, at)
        assert names(plan, "begins tonight") == ["balance_0.00"], "the estimate may be wrong: it is put to the test"
        assert "longer than a night" in plan.tonight[0].reason


def test_what_is_not_to_be_begun_keeps_no_time_from_the_others(bench: Bench):
    measured(bench, CONCERT, "balance_1.00", 4 * HOUR)
    aside = {"concert": {"balance_0.00", "balance_1.00"}}
    plan = plan_nights(bench, now(), (CONCERT,), foresee=True, without=aside)[0]
    assert names(plan, "tonight", "begins tonight") == ["balance_0.25", "balance_0.50"]
    assert plan.tonight[0].begins == now() and names(plan, "done") == ["balance_1.00"]


def test_what_a_trial_takes_around_its_epochs_is_counted(bench: Bench):
    measured(bench, CONCERT, "balance_1.00", 60.0, left_over=30.0)
    assert planned(bench).tonight[0].seconds == pytest.approx(90.0, abs=0.1)


def test_paused_trials_go_first_and_only_their_rest_is_counted(bench: Bench):
    measured(bench, CONCERT, "balance_1.00", HOUR)
    attempt(bench, CONCERT, "balance_0.50", "paused", epochs_done=1, error="the night is over")
    plan = planned(bench)
    assert names(plan, "tonight")[:2] == ["balance_0.50", "balance_0.00"]
    assert plan.tonight[0].seconds == pytest.approx(HOUR / 2)
    assert plan.tonight[1].seconds == pytest.approx(HOUR)


def test_attempts_are_counted_for_one_night_and_a_pause_is_none(bench: Bench):
    trial, at = "balance_0.00", dt.datetime.now(dt.UTC)
    night = night_at(bench.settings(CONCERT).night, at, "concert")
    assert night is not None
    for number in range(3):
        attempt(bench, CONCERT, trial, "paused")
        assert attempts_tonight(bench, CONCERT, trial, night) == number
        attempt(bench, CONCERT, trial, None)
    assert names(planned(bench, at), "given up") == [trial]
    assert "begun 3 times in this night" in planned(bench, at).named("given up")[0].reason
    assert trial in names(planned(bench), "tonight"), "on the next night it is tried again"


def test_with_a_clock_that_was_moved_attempts_belong_to_the_night_in_which_they_seem_to_be(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
):
    """So a campaign may have one night after the other within minutes."""
    for days in (30, 31):
        monkeypatch.setenv(clock.OFFSET, str(days * 86400))
        night = night_at(bench.settings(CONCERT).night, clock.now(), "concert")
        assert night is not None
        assert attempts_tonight(bench, CONCERT, "balance_0.00", night) == 0
        attempt(bench, CONCERT, "balance_0.00", "failed", error="the drive went away", again=True)
        assert attempts_tonight(bench, CONCERT, "balance_0.00", night) == 1


def test_what_diverged_is_not_tried_until_its_settings_change(bench: Bench):
    attempt(bench, CONCERT, "balance_0.00", "diverged", error="loss is NaN in epoch 1")
    plan = planned(bench)
    assert names(plan, "given up") == ["balance_0.00"]
    assert "would diverge again" in plan.named("given up")[0].reason
    assert plan.named("given up")[0].why == "loss is NaN in epoch 1"
    say(bench, trial={"training": {"learning_rate": 5e-4}})
    assert "balance_0.00" in names(planned(bench), "tonight")


def test_a_failure_that_stays_is_tried_once_a_night_and_one_that_may_pass_more_often(bench: Bench):
    at = dt.datetime.now(dt.UTC)
    attempt(bench, CONCERT, "balance_0.00", "failed", error="no such class", again=False)
    attempt(bench, CONCERT, "balance_0.25", "failed", error="the drive went away", again=True)
    plan = planned(bench, at)
    assert names(plan, "given up") == ["balance_0.00"]
    assert "balance_0.25" in names(plan, "tonight")
    assert names(planned(bench), "given up") == []


def test_what_the_next_night_will_divide_anew_is_planned_before_and_a_night_that_goes_on_keeps_its_data(
    bench: Bench, tmp_path: Path
):
    source = tmp_path / "source"
    shutil.copytree(bench.source(CONCERT), source)
    write_yaml(bench.lab.sources_file, {"concert": str(source)})
    look(bench, CONCERT)
    for name in BALANCES:
        attempt(bench, CONCERT, name, "finished")
    say(bench, night=ALL_DAY | {"starts": "20:00", "ends": "23:00"})
    before, within = now(), now().replace(hour=21)

    def take() -> list[str]:
        data.take_inventory(bench, CONCERT, lambda share, words: None)
        return [planned(bench, at, foresee=False).sentence.partition(":")[0] for at in (before, within)]

    first, second = sorted(source.rglob("*.wav"))[:2]
    first.touch()
    assert take() == ["nothing to do", "nothing to do"], "the same sound at another time"
    second.unlink()
    assert take()[1] == "nothing to do", "the night goes on with what it began with"
    plan = planned(bench, before, foresee=False)
    assert names(plan, "tonight") == BALANCES and {entry.state for entry in plan.tonight} == {"stale"}
    assert plan.tonight[0].why.startswith("data or split")


def test_a_night_with_nothing_to_do_says_so(bench: Bench):
    for name in BALANCES:
        attempt(bench, CONCERT, name, "finished")
    plan = planned(bench)
    assert plan.sentence == "nothing to do: 5 trials, all done"
    assert (plan.tonight, plan.until) == ([], None)


def test_what_would_fill_the_disk_is_not_begun(bench: Bench):
    measured(bench, CONCERT, "balance_1.00", 60.0)
    assert planned(bench).tonight[0].disk_bytes > 0
    write_yaml(bench.lab.nights_file, {"keep_free_gb": 1e6})
    plan = planned(bench)
    assert (plan.tonight, len(plan.named("no room"))) == ([], 4)
    assert "`nocturne clean` shows what can go" in plan.named("no room")[0].reason
    assert plan.sentence == "nothing to begin: 4 no room, 1 done"


def test_one_of_two_that_say_the_same_costs_no_epochs(bench: Bench):
    measured(bench, CONCERT, "balance_1.00", HOUR)
    write_yaml(bench.lab.experiments("concert") / "half.yaml", {"balance_strength": 0.5, "name": "half_again"})
    said = {entry.trial.name: entry for entry in planned(bench).entries}
    assert said["half_again"].seconds == 0
    assert said["half_again"].reason == "says the same as balance_0.50: its epochs are shared"
    assert said["balance_0.50"].seconds == pytest.approx(HOUR)


def test_the_smart_order_is_that_of_the_finished_trials(bench: Bench):
    attempt(bench, CONCERT, "balance_1.00", "finished", selection_value=0.5, higher_is_better=True)
    publish(bench.lab)
    say(bench, night=ALL_DAY | {"order": "smart"})
    ranked, _ = promising(bench, CONCERT)
    assert names(planned(bench), "tonight") == [name for name in ranked if name != "balance_1.00"]


def test_nights_that_are_off_without_a_source_or_of_an_unknown_mode_say_what_to_do(bench: Bench):
    say(bench, night={"on": False})
    assert "`concert: {night: {on: true}}`" in planned(bench).sentence
    say(bench, night={"mode": "quik"})
    assert planned(bench).sentence == "night.mode is 'quik'; the study concert has the modes (none)"
    say(bench)
    bench.lab.sources_file.unlink()
    plan = planned(bench)
    assert (plan.night, plan.entries) == (None, ())
    assert "set NOCTURNE_CONCERT_SOURCE" in plan.sentence


def test_a_mode_leaves_the_other_trials_out(bench: Bench):
    write_yaml(
        bench.lab.experiments("concert") / "few.yaml",
        {"training": {"epochs": 1}, "grid": {"training.batch": [4, 8]}},
    )
    say(bench, night=ALL_DAY | {"mode": "few"})
    assert [entry.trial.mode for entry in planned(bench).entries] == ["few", "few"]


def test_steps_are_timed_once_kept_and_never_while_a_trial_has_the_machine(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
):
    with machine_lease(bench.lab, bench.machine(), "a trial", lambda words: None):
        busy = planned(bench).tonight
    assert {entry.seconds for entry in busy} == {None}
    assert busy[0].basis == "unknown: a trial has the machine now, so nothing is timed"
    first = planned(bench).tonight
    assert all(entry.seconds and entry.basis.startswith("rough: ") for entry in first)
    monkeypatch.setattr(estimating._Kept, "_estimate", None)  # would fail if it were asked again
    for foresee in (True, False):
        again = planned(bench, foresee=foresee).tonight
        assert [entry.seconds for entry in again] == [entry.seconds for entry in first]
    (bench.lab.root / estimating.FILE).write_text("{", encoding="utf-8")
    assert {entry.seconds for entry in planned(bench, foresee=False).tonight} == {None}, "a damaged file is nothing"


def test_the_daemon_reckons_with_what_was_foreseen_and_loads_no_network(bench: Bench):
    """Its process lives on: the libraries of the networks would take hundreds of MB of it, or the GPU."""
    measured(bench, CONCERT, "balance_1.00", 7200.0)
    look_up = (
        "import sys; from orchestration.nights import clock; from orchestration.nights.planning import plan_nights; "
        "from orchestration.resources import open_bench; "
        "plan = plan_nights(open_bench(), clock.now())[0]; "
        "left = {entry.seconds for entry in plan.entries if entry.state != 'done'}; "  # at any hour
        "print(left, {'torch', 'transformers'} & set(sys.modules))"
    )

    def asked() -> str:
        return subprocess.run(
            [sys.executable, "-c", look_up], env=environment(bench), capture_output=True, text=True, check=True
        ).stdout.strip()

    assert asked() == "{None} set()"
    planned(bench)
    seconds, loaded = asked().split(" ", 1)
    assert float(seconds.strip("{}")) == pytest.approx(7200.0)
    assert loaded == "set()"


def test_the_daemon_follows_the_smart_order_without_what_finds_it(bench: Bench):
    """What ranks trials would be for ever in a process that lives on, and takes seconds: a child does it, once."""
    attempt(bench, CONCERT, "balance_1.00", "finished", selection_value=0.5, higher_is_better=True)
    publish(bench.lab)
    say(bench, night=ALL_DAY | {"order": "smart"})
    look_up = (
        "import subprocess, sys; from orchestration.nights import clock; "
        "from orchestration.nights.planning import plan_nights; from orchestration.resources import open_bench; "
        "begun, run = [], subprocess.run; "
        "subprocess.run = lambda *said, **more: begun.append(1) or run(*said, **more); "
        "plans = [plan_nights(open_bench(), clock.now())[0] for _ in range(2)]; "
        "print(*(entry.trial.name for entry in plans[1].tonight)); "
        "print(len(begun), {'torch', 'optuna', 'scipy'} & set(sys.modules))"
    )
    arguments = [sys.executable, "-c", look_up]
    done = subprocess.run(arguments, env=environment(bench), capture_output=True, text=True, check=True)
    order, rest = done.stdout.strip().split("\n")
    assert order.split() == [name for name in promising(bench, CONCERT)[0] if name != "balance_1.00"]
    assert rest == "1 set()"
