"""What every study keeps, walked by one piece of code: from its demo corpus to files for other programs."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import pandas as pd
import pytest

from ml.config import Config
from ml.studies.experiments import NAME, load_trials, same_settings
from ml.studies.registry import ALL_STUDIES
from ml.studies.study import Study, StudySettings, TrialConfig
from orchestration import answers, data, trials
from orchestration.resources import Bench
from storage.lab import Lab
from storage.query import query
from tests.small_lab import write_yaml

STUDIES = pytest.mark.parametrize("study", ALL_STUDIES, ids=[study.name for study in ALL_STUDIES])


@dataclass(frozen=True)
class Walk:
    """One study in a lab of its own, as far as its first trial."""

    study: Study
    bench: Bench
    trial: str
    inventory: pd.DataFrame
    split: pd.DataFrame
    features: dict
    answer: trials.Answer
    said: list[str]


@pytest.fixture(scope="module", params=ALL_STUDIES, ids=[study.name for study in ALL_STUDIES])
def walk(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Walk:
    study: Study = request.param
    place = tmp_path_factory.mktemp(study.name)
    corpus = place / "corpus"
    corpus.mkdir()
    study.write_demo(corpus)
    bench = Bench(Lab.open(place / "lab"))
    write_yaml(bench.lab.sources_file, {study.name: str(corpus)})
    write_yaml(bench.lab.studies_file, {study.name: study.demo_settings()})
    write_yaml(bench.lab.machine_file, {"device": "cpu", "precision": "fp32", "threads": 1})
    inventory, _ = data.take_inventory(bench, study, lambda share, words: None)
    split, leaks = data.divide(bench, study)
    assert leaks.empty
    features = data.build_features(bench, study, lambda share, words: None)
    said: list[str] = []
    trial = min(bench.trials(study).trials, key=study.planned_epochs).name
    answer = trials.run_trial(bench, study, trial, run_id="contract", forced_by=None, say=said.append)
    return Walk(study, bench, trial, inventory, split, features, answer, said)


def configs(kind: type[Config]) -> Iterator[type[Config]]:
    """`kind` and every configuration inside it."""
    yield kind
    for field in kind.model_fields.values():
        for inside in (field.annotation, *get_args(field.annotation)):
            if isinstance(inside, type) and issubclass(inside, Config):
                yield from configs(inside)


@STUDIES
def test_it_says_what_it_is(study: Study) -> None:
    assert re.fullmatch(r"[a-z][a-z0-9_]*", study.name)
    assert study.question.endswith("?") and study.revision
    assert issubclass(study.settings, StudySettings)
    assert study.source_variable == f"NOCTURNE_{study.name.upper()}_SOURCE"
    assert [other.name for other in ALL_STUDIES].count(study.name) == 1


@STUDIES
def test_every_setting_carries_a_sentence(study: Study) -> None:
    baseline = study.baseline(study.settings())
    assert isinstance(baseline, TrialConfig)
    silent = [
        f"{kind.__name__}.{name}"
        for kind in {*configs(study.settings), *configs(type(baseline))}
        for name, field in kind.model_fields.items()
        if not (field.description or "").rstrip().endswith(".")
    ]
    assert silent == []


@STUDIES
def test_the_trials_that_come_with_it_are_whole(study: Study) -> None:
    for settings in (study.settings(), study.settings.model_validate_json(json.dumps(study.demo_settings()))):
        found = load_trials(study, settings, [study.experiments])
        assert found.problems == ()
        declared = {trial.mode or trial.name for trial in found.trials}
        assert declared == {path.stem for path in study.experiments.glob("*.yaml")}
        assert set(study.modes) <= declared and study.demo_mode in (None, *study.modes)
        assert found.trials and all(NAME.fullmatch(trial.name) for trial in found.trials)
        assert all(trial.config.purpose for trial in found.trials), "each says why it exists"
        # A mode of its own may be a point of a larger grid, which then finds its epochs trained.
        twins = same_settings(found.trials)
        assert all(first in study.modes and second not in study.modes for first, second in twins)
        identities = {study.trial_fingerprint(trial, "origin", "fp32") for trial in found.trials}
        assert len(identities) == len(found.trials) - len(twins)
        started = dt.datetime(2025, 10, 6, 17, 5, 30)
        names = {study.model_name(trial, started): trial.name for trial in found.trials}
        assert len(names) == len(found.trials)
        assert all("20251006_170530" in name or trial in name for name, trial in names.items())


def test_inventory_and_split_of_the_demo(walk: Walk) -> None:
    assert {"path", "label", "group", "seconds", "content_hash", "state", "problem"} <= set(walk.inventory.columns)
    accepted = walk.inventory[walk.inventory["state"] != "rejected"]
    assert set(walk.split["path"]) == set(accepted["path"])
    settings = walk.bench.settings(walk.study)
    assert sorted(walk.study.classes(settings, walk.split)) == sorted(set(walk.split["label"]))
    assert walk.study.split(walk.inventory, settings, None).equals(walk.study.split(walk.inventory, settings, None))
    moved = walk.split.merge(walk.study.split(walk.inventory, settings, walk.split), on="path")
    assert (moved["part_x"] == moved["part_y"]).all(), "what is placed never moves"


def test_the_features_are_found_again_and_their_size_is_known_before(walk: Walk) -> None:
    again = data.build_features(walk.bench, walk.study, lambda share, words: None)
    assert (walk.features["found"], again["found"]) == (False, True)
    assert {**again, "found": None} == {**walk.features, "found": None}
    folder = walk.bench.shelf("features").find(walk.bench.data(walk.study).features_key)
    assert folder is not None
    taken = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    expected = walk.study.features_bytes(walk.inventory, walk.bench.settings(walk.study))
    assert 0.5 * taken < expected < 2 * taken


def test_one_trial_and_its_tables(walk: Walk) -> None:
    account = walk.answer.record.account
    assert account["status"] == "finished" and not walk.answer.found
    assert account["epochs_trained"] == account["epochs_done"] == sum(": epoch " in line for line in walk.said)
    tables = set(walk.answer.record.tables)
    assert {"epochs", "metrics"} <= tables and tables & {"predictions", "scores"}
    parts = set(walk.answer.record.table("metrics")["part"])
    assert "validation" in parts and parts <= {"train", "validation", "test"}
    (row,) = query(walk.bench.lab, "select * from leaderboard").to_dict("records")
    assert (row["study"], row["trial"]) == (walk.study.name, walk.trial)
    assert row["selection_value"] == account["selection_value"]
    again = trials.run_trial(
        walk.bench, walk.study, walk.trial, run_id="again", forced_by=None, say=lambda sentence: None
    )
    assert again.found and again.record.account == account


def test_what_a_person_gets_of_it(walk: Walk, tmp_path: Path) -> None:
    now = answers.compare(walk.bench, walk.study)
    summary = walk.study.summary(now)
    assert "BEST" in summary and all(len(line) < 120 for line in summary.splitlines())
    record = walk.answer.record
    pictures = walk.study.leaderboard_pictures(now) | walk.study.trial_pictures(
        {"epochs": record.table("epochs"), "confusion": record.table("confusion")}
    )
    assert pictures and all(png.startswith(b"\x89PNG") for png in pictures.values())
    best = answers.best_model(walk.bench, walk.study)
    assert best.trial == walk.trial and best.folder.is_dir()
    models = answers.model_folders(walk.bench, walk.study)
    written = walk.study.export_document(tmp_path / "for others", now, models, pth=True)
    assert set(written) == {path for path in (tmp_path / "for others").rglob("*") if path.is_file()}
    of_the_best = (best.name, best.trial)
    weights = [path for path in written if path.suffix in (".safetensors", ".pth")]
    assert any({path.stem, path.parent.name} & set(of_the_best) for path in weights)


def test_the_cost_is_known_before_and_after_measuring(walk: Walk) -> None:
    settings, machine = walk.bench.settings(walk.study), walk.bench.machine()
    trial = walk.bench.trials(walk.study).named(walk.trial)
    guessed = walk.study.estimate(trial, walk.inventory, settings, machine, None)
    assert guessed.seconds and guessed.seconds > 0 and "rough" in guessed.basis
    measured = walk.study.estimate(trial, walk.inventory, settings, machine, 0.5)
    free = walk.study.estimate(trial, walk.inventory, settings, machine, 0.0)
    twice = walk.study.estimate(trial, walk.inventory, settings, machine, 1.0)
    # What scoring whole files costs is no network's: it is there when learning is free, and does not grow with it.
    assert free.seconds == pytest.approx(0) or (walk.study.compared and free.seconds < 0.1 * measured.seconds)
    assert measured.seconds
    assert twice.seconds - free.seconds == pytest.approx(2 * (measured.seconds - free.seconds))
    states = walk.bench.shelf("states").bytes() + walk.bench.shelf("models").bytes()
    assert 0.4 * states < measured.disk_bytes < 3 * states
