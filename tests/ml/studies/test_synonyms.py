"""Trials that say more than their settings: a name of their own, the document's words, phases, remarks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import pytest
from pydantic import Field

from ml.config import Config, ConfigError
from ml.studies.concert.study import CONCERT, ConcertStudy
from ml.studies.experiments import Trials, changes_in_words, load_trials
from ml.studies.study import TrialConfig
from ml.studies.synonyms import translate


class Training(Config):
    epochs: int = 30
    patience: int | None = 7


class DocumentTrial(TrialConfig):
    """A trial that a document describes in words of its own."""

    of_the_study: ClassVar[tuple[str, ...]] = ("training.epochs",)
    synonyms: ClassVar[Mapping[str, str | None]] = {
        "description": "purpose",
        "other.patience": "training.patience",
        "other.seed": "seed",
        "other.workers": None,
    }
    dropout: float = Field(default=0.3, ge=0)
    training: Training = Training()


class Document(ConcertStudy):
    """The concert study with other trials: only what reads files is asked here."""

    phases = (("second", "first"), ("batch_16", "not written yet"))
    baseline_trial = DocumentTrial()

    def baseline(self, settings: object) -> DocumentTrial:  # type: ignore[override]
        return self.baseline_trial


def trials(folder: Path, **files: str) -> Trials:
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    return load_trials(Document(), None, [folder])


def test_the_words_of_the_document_mean_the_settings(tmp_path: Path) -> None:
    whole = "description: As it was.\ndropout: 0.5\nother: {patience: 10, seed: 3, workers: 8}\n"
    found = trials(tmp_path, whole=whole)
    assert found.problems == ()
    config = found.named("whole").config
    assert isinstance(config, DocumentTrial)
    assert (config.purpose, config.seed, config.training.patience, config.dropout) == ("As it was.", 3, 10, 0.5)
    assert found.named("whole").changes == {"seed": (42, 3), "dropout": (0.3, 0.5), "training.patience": (7, 10)}
    (note,) = found.notes
    assert note == f"{tmp_path / 'whole.yaml'}: `other.workers` is understood and has no effect here"
    assert trials(tmp_path, whole="other:\n").problems == (), "a section without anything in it"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("seed: 3\nother: {seed: 3}", "`other.seed` and `seed` say the same setting; take one of them out"),
        ("purpose: a\ndescription: b", "`description` and `purpose` say the same setting"),
        ("training: {patience: 3}\nother: {patience: 3}", "`other.patience` and `training.patience` say the same"),
        ("other: {wokers: 3}", "unknown key `other.wokers`; allowed here: other.patience, other.seed, other.workers"),
        ("other: 3", "unknown key `other`; allowed here: other.patience"),
        ("other: {patience: often}", "`training.patience` is 'often'"),
        ("training: 3\nother: {patience: 3}", "`training` is 3"),
        ("describtion: b", "unknown key `describtion`; allowed here: dropout, name"),
        ("training: {epochs: 9}", "set `trial: {training: {epochs: 9}}` in the lab's studies.yaml"),
    ],
)
def test_a_file_that_says_it_twice_or_wrongly_is_refused(tmp_path: Path, text: str, said: str) -> None:
    found = trials(tmp_path, bad=text, good="")
    assert [trial.name for trial in found.trials] == ["good"]
    (problem,) = found.problems
    assert problem.startswith(f"{tmp_path / 'bad.yaml'}: ") and said in problem


def test_translating_changes_nothing_that_was_given(tmp_path: Path) -> None:
    given = {"other": {"seed": 3}, "training": {"epochs": 2}}
    own, idle = translate(given, {"other.seed": "training.seed"}, ["training"], "here")
    assert (own, idle) == ({"training": {"epochs": 2, "seed": 3}}, [])
    assert given == {"other": {"seed": 3}, "training": {"epochs": 2}}
    with pytest.raises(ConfigError, match=r"here: unknown key `other.b`"):
        translate({"other": {"b": 1}}, {"other.seed": "training.seed"}, ["training"], "here")


def test_a_name_that_is_said_is_the_trials_name(tmp_path: Path) -> None:
    found = trials(
        tmp_path,
        **{
            "my file (2)": "name: mine\nseed: 1",
            "other": "name: mine\nseed: 2",
            "plain": "name: ''",
            "same": "name: same",
        },
    )
    assert [trial.name for trial in found.trials] == ["mine", "plain", "same"]
    assert found.named("mine").changes == {"seed": (42, 1)}, "a name is no setting"
    (problem,) = found.problems
    assert f"{tmp_path / 'other.yaml'}: a trial named mine is already declared in" in problem
    assert str(tmp_path / "my file (2).yaml") in problem and problem.endswith("choose another name")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: a/b", "`name` is 'a/b'; use letters, digits"),
        ("name: 0.5", "`name` is 0.5; use letters, digits"),
        ("name: [a]", "`name` is ['a']; use letters, digits"),
        ("name: mine\nsede: 1", "bad.yaml (mine): unknown key `sede`"),
    ],
)
def test_a_name_that_cannot_be_one(tmp_path: Path, text: str, said: str) -> None:
    (problem,) = trials(tmp_path, bad=text).problems
    assert said in problem


def test_the_lab_names_no_trial(tmp_path: Path) -> None:
    study = Document()
    study.baseline_trial = DocumentTrial(name="all the same")
    (tmp_path / "own.yaml").write_text("seed: 1")
    assert [trial.name for trial in load_trials(study, None, [tmp_path]).trials] == ["own"]


def test_phases_come_first_and_in_their_order(tmp_path: Path) -> None:
    found = trials(tmp_path, **dict.fromkeys(("another_10", "another_9", "batch_16", "first", "second"), ""))
    assert [trial.name for trial in found.trials] == ["second", "first", "batch_16", "another_9", "another_10"]


def test_two_changes_at_once_are_remarked(tmp_path: Path) -> None:
    found = trials(tmp_path, one="dropout: 0.1", two="dropout: 0.1\ntraining: {patience: null}", none="")
    assert CONCERT.remarks(found.named("one")) == CONCERT.remarks(found.named("none")) == []
    (remark,) = CONCERT.remarks(found.named("two"))
    assert "2 settings at once (dropout, training.patience)" in remark
    assert changes_in_words(found.named("two").changes) == ["dropout: 0.3 -> 0.1", "training.patience: 7 -> null"]
    assert changes_in_words({"loss.type": ["ce", "focal"], "on": [True, False]}) == [
        "loss.type: ce -> focal",
        "on: true -> false",
    ]
