"""How often one trial is begun in one night, and what is recorded of one that takes its process with it each time."""

from __future__ import annotations

import datetime as dt
import time
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest

from ml.studies.concert.study import CONCERT, ConcertStudy
from ml.studies.night import NightConfig
from ml.studies.study import Outcome, TrialJob
from ml.training.accounts import EpochNote
from orchestration import data
from orchestration.nights import clock, marks
from orchestration.nights.looking_back import DIED, Evening, tried_in
from orchestration.nights.tonight import Tonight, tonight_of
from orchestration.nights.window import Night
from orchestration.nights.work import work_of
from orchestration.resources import Bench
from orchestration.study_assets import study_assets
from storage.query import query
from tests.small_lab import small_lab

REAL = ConcertStudy.run_trial


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, corpus: Path) -> Bench:
    bench = small_lab(tmp_path_factory.mktemp("tonight") / "lab", corpus, retries=0, trials_per_run=5)
    data.take_inventory(bench, CONCERT, lambda share, words: None)
    data.divide(bench, CONCERT)
    data.build_features(bench, CONCERT, lambda share, words: None)
    return bench


def night(minutes: float = 60) -> Night:
    """One that began a minute ago and ends in so many."""
    now = clock.now()
    return Night("concert", "2026-11-21", now - dt.timedelta(minutes=1), now + dt.timedelta(minutes=minutes))


def tags(of: Night) -> dict[str, str]:
    return marks.marks(of, NightConfig(), marks.TRIALS)


def asks(lab: Bench, *, retried: bool = False) -> Tonight:
    run = dg.DagsterRun(job_name="job", tags=tags(night()), parent_run_id="1", root_run_id="1")
    found = tonight_of(lab, CONCERT, run)
    assert found is not None and found.retried
    return replace(found, retried=retried)


def die(lab: Bench, name: str) -> None:
    """An attempt that ends without a word."""
    with pytest.raises(KeyboardInterrupt), lab.records.begin("concert", name, "a run"):
        raise KeyboardInterrupt


def test_what_kills_its_process_is_left_to_a_later_run_and_then_given_up_with_a_record(lab: Bench) -> None:
    name = "balance_0.25"
    assert asks(lab).given_up(name) == asks(lab, retried=True).left_out(name) == ""
    die(lab, name)
    assert asks(lab, retried=True).left_out(name) == "", "once may be chance"
    die(lab, name)
    assert "2 runs ended without a word while they were at it" in asks(lab, retried=True).left_out(name)
    assert asks(lab).left_out(name) == asks(lab).given_up(name) == "", "a later run of the night tries it once more"
    die(lab, name)
    said = "given up for tonight: begun 3 times without a result, 3 of them ended without a word"
    assert asks(lab).given_up(name).startswith(said)
    assert asks(lab).given_up(name).startswith(said), "its record is no fourth attempt"
    states = {entry.trial.name: entry.reason for entry in work_of(lab, CONCERT, night(), foresee=False)}
    assert states[name].startswith("begun 3 times in this night without a result"), "the plan says the same"
    now = clock.now()
    evening = Evening("2026-11-21", night().begins, now, now)
    (tried,) = [one for one in tried_in(lab, CONCERT, evening, now) if one.trial == name]
    assert (tried.attempts, tried.count(DIED), tried.outcome, tried.again) == (3, 3, "failed", True)
    assert tried.why.startswith(said), "and so does the page"
    (record,) = lab.records.history("concert", name)
    assert record.account["status"] == "failed" and record.account["error"].startswith(said)
    shown = query(lab.lab, "select status from trials where trial = ?", [name])
    assert shown["status"].tolist() == ["failed"], "the results know of it, once"


def test_a_run_goes_on_without_what_the_nights_are_not_for_by_now(lab: Bench, corpus: Path) -> None:
    root = lab.lab.root
    try:
        small_lab(root, corpus, retries=0, trials_per_run=5, night={"on": False, "mode": "balance_0.50"})
        assert asks(lab).left_out("balance_0.50") == ""
        assert asks(lab).left_out("balance_0.75").endswith("the nights of concert are for `mode: balance_0.50` alone")
    finally:
        small_lab(root, corpus, retries=0, trials_per_run=5)


def test_a_night_that_is_over_stops_a_run_in_peace_and_a_given_up_trial_fails_it(
    lab: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The asset itself: paused is neither materialized nor failed, and what comes after it is not begun."""
    rings = night(minutes=30)

    def run_trial(study: ConcertStudy, job: TrialJob) -> Outcome:
        def report(note: EpochNote) -> None:
            job.report(note)
            monkeypatch.setattr(clock, "now", lambda: rings.ends)

        return REAL(study, replace(job, report=report))

    monkeypatch.setattr(ConcertStudy, "run_trial", run_trial)
    assets = [one for one in study_assets(CONCERT, lab) if isinstance(one, dg.AssetsDefinition)]
    trial = next(one for one in assets if dg.AssetKey(["concert", "evaluation"]) in one.keys)
    result = dg.materialize(
        assets,
        selection=[trial],
        instance=dg.DagsterInstance.ephemeral(),
        tags=tags(rings)
        | {"dagster/asset_partition_range_start": "balance_0.50", "dagster/asset_partition_range_end": "balance_1.00"},
        raise_on_error=False,
    )
    assert result.success
    assert result.asset_materializations_for_node("concert__trial") == []
    (paused,) = lab.records.history("concert", "balance_0.50")
    assert (paused.account["status"], paused.account["epochs_done"]) == ("paused", 1)
    assert lab.records.begun("concert", "balance_0.75") == {}

    monkeypatch.undo()
    failed = dg.materialize(
        assets,
        selection=[trial],
        partition_key="balance_0.25",
        instance=dg.DagsterInstance.ephemeral(),
        tags=tags(night()),
        raise_on_error=False,
    )
    assert not failed.success
    (event,) = [event for event in failed.all_events if event.is_step_failure]
    assert event.step_failure_data.user_failure_data is not None
    said = event.step_failure_data.user_failure_data.metadata["balance_0.25"].value
    assert str(said).startswith("given up for tonight: begun 3 times")


def test_a_run_whose_evaluation_hangs_is_ended_in_peace(lab: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    this = night(minutes=30)

    def endless(study: ConcertStudy, job: TrialJob) -> Outcome:
        monkeypatch.setattr(clock, "now", lambda: this.ends + dt.timedelta(seconds=100))  # of a grace of 120
        time.sleep(60)
        raise AssertionError("nobody woke it")

    monkeypatch.setattr(ConcertStudy, "run_trial", endless)
    assets = [one for one in study_assets(CONCERT, lab) if isinstance(one, dg.AssetsDefinition)]
    trial = next(one for one in assets if dg.AssetKey(["concert", "evaluation"]) in one.keys)
    result = dg.materialize(
        assets,
        selection=[trial],
        partition_key="balance_1.00",
        instance=dg.DagsterInstance.ephemeral(),
        tags=tags(this),
        raise_on_error=False,
    )
    assert result.success, "no failure, so nothing is tried again"
    (paused,) = lab.records.history("concert", "balance_1.00")
    assert (paused.account["status"], paused.account["error"]) == (
        "paused",
        "the night ended; finished epochs are kept",
    )
