"""Trials as files: what they say, what they change, and what is said of a file that is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from ml.config import ConfigError
from ml.studies.concert.config import ConcertSettings, ConcertTrial
from ml.studies.concert.study import CONCERT
from ml.studies.experiments import Trials, load_trials, natural, read_settings, same_settings


def trials(folder: Path, settings: ConcertSettings | None = None, **files: str) -> Trials:
    """The trials that come with the study and those of `folder`, in which `files` are written first."""
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    return load_trials(CONCERT, settings or ConcertSettings(), [CONCERT.experiments, folder])


def test_a_file_says_only_what_differs_and_the_changes_are_told_by_machine(tmp_path: Path) -> None:
    found = trials(
        tmp_path,
        careful="purpose: Smaller steps.\nbalance_strength: 0.5\ntraining:\n  learning_rate: 3e-5\n  epochs: 9\n",
        nothing="purpose: Says nothing else.\n",
    )
    assert found.problems == ()
    careful = found.named("careful")
    assert careful.changes == {"training.learning_rate": (1e-4, 3e-5), "training.epochs": (5, 9)}
    assert careful.config.training.batch == 16  # type: ignore[attr-defined]
    assert careful.config.purpose == "Smaller steps."
    assert found.named("nothing").changes == {}
    assert found.named("balance_1.00").changes == {"balance_strength": (0.5, 1.0)}
    with pytest.raises(KeyError, match=r"no trial named 'balance_2'; there are: balance_0.00"):
        found.named("balance_2")


def test_the_points_of_the_document_are_there_in_natural_order(tmp_path: Path) -> None:
    found = trials(tmp_path, **{"balance_0.30": "balance_strength: 0.3", "batch_8": "", "batch_16": ""})
    names = [trial.name for trial in found.trials]
    assert names == [
        *("balance_0.00", "balance_0.25", "balance_0.30", "balance_0.50", "balance_0.75", "balance_1.00"),
        *("batch_8", "batch_16"),
    ]
    strengths = [trial.config.model_dump()["balance_strength"] for trial in found.trials if "balance" in trial.name]
    assert strengths == sorted(strengths)
    assert sorted(["lr_10", "lr_9", "a", "lr_9.5"], key=natural) == ["a", "lr_9", "lr_9.5", "lr_10"]


def test_two_files_of_one_name_and_one_setting_under_two_names(tmp_path: Path) -> None:
    found = trials(
        tmp_path,
        **{"balance_0.50": "balance_strength: 0.9", "half": "balance_strength: 0.5\npurpose: again"},
    )
    (problem,) = found.problems
    assert "a trial named balance_0.50 is already declared in" in problem and "choose another file name" in problem
    assert problem.startswith(str(tmp_path / "balance_0.50.yaml"))
    assert found.named("balance_0.50").config.model_dump()["balance_strength"] == 0.5, "the first declaration stands"
    assert same_settings(found.trials) == [("balance_0.50", "half")], "another purpose is no other setting"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("balanse: 1", "unknown key `balanse`; allowed here: balance_strength, model, name, purpose"),
        ("training: {epoks: 1}", "unknown key `training.epoks`; allowed here: batch, clip_norm, epochs"),
        ("training: {epochs: many}", "`training.epochs` is 'many': expected a whole number"),
        ("training: {epochs: 2.5}", "`training.epochs` is 2.5"),
        ("training: 3", "`training` is 3"),
        ("window: {seconds: 60.5}", "`window.seconds` is 60.5: expected at most 60"),
        ("select_by: macro_f1", "trials are ranked against each other and so share it ('accuracy'): take it out here"),
        ("model: {pretrained: models/mine/ast}", "`model.pretrained` is 'models/mine/ast': neither the"),
        ("balance_strength: 1.2", "`balance_strength` is 1.2: expected at most 1"),
        ("balance_strength: '0.2'", "`balance_strength` is '0.2': expected a number without quotes"),
        ("select_by: luck", "`select_by` is 'luck': expected accuracy, macro_recall or macro_f1"),
        ("- a\n- b", "expected lines of `name: value`, found list"),
        ("training: {epochs: [", "not valid YAML"),
        ("a: &x 1\nb: *x", "aliases (*name) are not used"),
    ],
)
def test_a_bad_file_costs_itself_alone_and_says_where_what_and_what_is_allowed(
    tmp_path: Path, text: str, said: str
) -> None:
    found = trials(tmp_path, bad=text, good="balance_strength: 0.6")
    assert [problem.startswith(f"{tmp_path / 'bad.yaml'}: ") for problem in found.problems] == [True]
    assert said in found.problems[0]
    assert found.named("good") and len(found.trials) == 6


def test_what_chooses_is_set_for_all_trials_at_once_and_is_part_of_what_a_trial_is(tmp_path: Path) -> None:
    settings = ConcertSettings(trial=ConcertTrial(select_by="macro_f1"))
    found = trials(tmp_path, settings, same="select_by: macro_f1", other="select_by: accuracy")
    (problem,) = found.problems
    assert "set `trial: {select_by: accuracy}` in the lab's studies.yaml to change it for all" in problem
    assert {trial.config.model_dump()["select_by"] for trial in found.trials} == {"macro_f1"}
    before = trials(tmp_path / "before").named("balance_0.25")
    marks = {CONCERT.trial_fingerprint(one, "origin", "fp32") for one in (before, found.named("balance_0.25"))}
    assert len(marks) == 2


def test_a_name_that_cannot_be_a_partition_is_refused(tmp_path: Path) -> None:
    found = trials(tmp_path, **{"half and half": "balance_strength: 0.5", "-x": ""})
    assert len(found.problems) == 2 and all("letters, digits and . _ + = - only" in one for one in found.problems)


def test_the_lab_overrides_the_defaults_and_a_trial_overrides_the_lab(tmp_path: Path) -> None:
    file = tmp_path / "studies.yaml"
    assert read_settings(CONCERT, file) == ConcertSettings(), "without a file the defaults hold"
    file.write_text(
        "concert:\n  split: {seed: 7}\n  trial:\n    balance_strength: 0.25\n    training: {epochs: 3}\n",
        encoding="utf-8",
    )
    settings = read_settings(CONCERT, file)
    assert settings.split.seed == 7 and settings.split.train == 0.8
    found = trials(tmp_path / "own", settings, longer="training: {epochs: 4}")
    assert found.named("longer").changes == {"training.epochs": (3, 4)}
    assert found.named("balance_0.25").changes == {}, "the lab's baseline is what a trial is compared with"
    assert found.named("balance_0.75").config.training.epochs == 3  # type: ignore[attr-defined]

    for text, said in (
        ("concert: {retrys: 1}", "unknown key `retrys`; allowed here: features, inventory, night, retries"),
        ("concert: {trials_per_run: 0}", "`trials_per_run` is 0: expected at least 1"),
        ("concert: often", "`concert` is 'often'; expected lines of `name: value` below it"),
    ):
        file.write_text(text, encoding="utf-8")
        with pytest.raises(ConfigError, match=r"studies\.yaml") as caught:
            read_settings(CONCERT, file)
        assert said in str(caught.value)
