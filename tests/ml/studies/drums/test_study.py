"""What the drums study says of its trials: who begins with whom, and what to know before reading much into one."""

from __future__ import annotations

from ml.studies.drums.config import DrumsSettings
from ml.studies.drums.study import DRUMS
from ml.studies.experiments import load_trials


def named():
    found = load_trials(DRUMS, DrumsSettings(), [DRUMS.experiments])
    assert not found.problems
    return {trial.name: trial for trial in found.trials}


def test_fine_tuning_begins_as_the_default_does_and_nothing_else_with_it():
    trials = named()
    families = {name: DRUMS.family(trial) for name, trial in trials.items()}
    together = sorted(name for name, family in families.items() if family == families["default"])
    assert together == ["default", "frozen_finetune"]
    assert len(set(families.values())) == len(trials) - 1


def test_a_trial_whose_blocks_rest_is_no_part_of_a_longer_one():
    trials = named()
    chains = [DRUMS.chain(trial) for trial in trials.values()]
    assert len(set(chains)) == len(trials)


def test_what_rests_from_the_beginning_without_a_checkpoint_is_remarked():
    trial = named()["frozen_finetune"]
    training = trial.config.training.model_copy(update={"frozen_from": 0.0, "early_stop": 50})
    config = trial.config.model_copy(update={"training": training})
    said = DRUMS.remarks(type(trial)(trial.name, config, trial.changes, trial.source))
    assert any("stay random" in sentence and "model.checkpoint" in sentence for sentence in said)
    assert any("cannot stop early" in sentence for sentence in said)
    assert not DRUMS.remarks(trial)
