"""Two studies in one night: one that cannot begin leaves the night to the other."""

from __future__ import annotations

import datetime as dt
import shutil
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest
from dagster import DagsterRunStatus

from ml.config import merge
from ml.studies.concert.study import CONCERT
from ml.studies.denoise.demo import write_corpus
from ml.studies.denoise.study import DENOISE
from orchestration.nights import marks
from orchestration.nights.driving import Step, advance
from orchestration.nights.planning import plan_nights
from orchestration.resources import Bench
from storage.lab import Lab
from tests.orchestration.nights.evenings import started
from tests.orchestration.nights.made_up import look, measured
from tests.small_lab import TINIES, small_corpus, small_lab, write_yaml

NOW = dt.datetime(2026, 11, 21, 18, tzinfo=dt.UTC)
STUDIES = (CONCERT, DENOISE)
HOURS = {"starts": "17:00", "ends": "23:00", "timezone": "UTC"}


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """A lab whose first study would fill the night."""
    folder = tmp_path_factory.mktemp("two")
    sources = {study.name: folder / study.name for study in STUDIES}
    small_corpus(sources["concert"])
    sources["denoise"].mkdir()
    write_corpus(sources["denoise"], scale=0.1)
    made = small_lab(folder / "lab", sources["concert"])
    write_yaml(made.lab.sources_file, {name: str(path) for name, path in sources.items()})
    write_yaml(made.lab.nights_file, {"keep_free_gb": 0.0})
    nights = {"concert": HOURS, "denoise": HOURS | {"mode": "quick"}}
    said = {name: merge(TINIES[name], {"night": night}) for name, night in nights.items()}
    write_yaml(made.lab.studies_file, said)
    for study in STUDIES:
        look(made, study)
    measured(made, CONCERT, "balance_1.00", 5 * 3600.0)
    quick = next(trial.name for trial in made.trials(DENOISE).trials if trial.mode == "quick")
    measured(made, DENOISE, quick, 600.0)
    plan_nights(made, NOW, STUDIES, foresee=True)
    return made


@dataclass(frozen=True)
class House:
    """The lab, and Dagster's books of one night."""

    bench: Bench
    instance: dg.DagsterInstance

    def step(self) -> Step:
        return advance(self.bench, self.instance, NOW, STUDIES)


@pytest.fixture
def house(bench: Bench, instance: dg.DagsterInstance) -> House:
    return House(bench, instance)


def jobs(step: Step) -> set[str]:
    return {request.job_name or "" for request in step.requests}


def test_a_study_whose_drive_is_away_leaves_the_night_to_the_other(house: House) -> None:
    drive = house.bench.source(CONCERT)
    away = drive.rename(drive.with_name("away"))
    try:
        first = house.step()
        assert jobs(first) == {"denoise_data"} and any("no such folder" in said for said in first.sentences)
        started(house.instance, first.requests[0], DagsterRunStatus.SUCCESS)
        assert jobs(house.step()) == {"denoise_trials"}
    finally:
        away.rename(drive)


def test_trials_that_a_person_has_ended_leave_the_night_to_the_other_study(house: House) -> None:
    for request in house.step().requests:
        started(house.instance, request, DagsterRunStatus.SUCCESS)
    for _ in range(5):
        step = house.step()
        if jobs(step) != {"concert_trials"}:
            break
        for request in step.requests:
            assert request.tags[marks.PART] == marks.TRIALS
            house.instance.report_run_canceled(started(house.instance, request, DagsterRunStatus.STARTED))
    assert jobs(step) == {"denoise_trials"}
    assert any(said.startswith("concert: ") and "was ended by a person" in said for said in step.sentences)


def test_trials_that_are_not_loaded_are_said_to_be_and_keep_no_time(house: House) -> None:
    for request in house.step().requests:
        started(house.instance, request, DagsterRunStatus.SUCCESS)
    step = advance(house.bench, house.instance, NOW, STUDIES, known=lambda study, name: study is DENOISE)
    assert jobs(step) == {"denoise_trials"}
    assert any(said.startswith("concert: ") and "Reload on the page" in said for said in step.sentences)


def test_a_trial_that_the_bell_would_cut_is_begun_after_all_of_the_other_study_that_end_in_the_night(
    bench: Bench, tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    copy = Bench(Lab.open(shutil.copytree(bench.lab.root, tmp_path / "lab")))
    measured(copy, CONCERT, "balance_1.00", 6 * 3600.0)
    house = House(copy, instance)
    for request in house.step().requests:
        started(instance, request, DagsterRunStatus.SUCCESS)
    first = house.step()
    assert jobs(first) == {"denoise_trials"} and "concert: after denoise" in first.sentences
    runs = [started(instance, request, DagsterRunStatus.STARTED) for request in first.requests]
    assert house.step().requests == (), "in the queue it would overtake a retry of what is under way"
    for run in runs:
        instance.report_run_canceled(run)
    last = house.step()
    assert jobs(last) == {"concert_trials"}
    assert [request.partition_key for request in last.requests][:1] == ["balance_0.00"]


def test_a_study_of_which_nobody_knows_how_long_it_takes_hides_no_end_of_the_one_before(
    bench: Bench, tmp_path: Path
) -> None:
    copy = Bench(Lab.open(shutil.copytree(bench.lab.root, tmp_path / "lab")))
    measured(copy, CONCERT, "balance_1.00", 600.0)
    other = {"trial": {"model": {"channels": [8, 16]}}}
    nights = {"concert": HOURS, "denoise": HOURS | {"mode": "quick"}}
    changed = {name: merge(TINIES[name], {"night": night}) for name, night in nights.items()}
    write_yaml(copy.lab.studies_file, changed | {"denoise": merge(changed["denoise"], other)})
    known, unknown = plan_nights(copy, NOW, STUDIES)
    assert {entry.seconds for entry in unknown.tonight} == {None} and unknown.until is None
    assert len(known.tonight) == 4 and known.until == NOW + dt.timedelta(seconds=4 * 600)
