"""The drums study: which training setup tells the hits of a drum kit apart best, and turns songs into beatmaps?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml.config import fingerprint
from ml.studies.drums.config import DrumsSettings, DrumsTrial
from ml.studies.results import Results
from ml.studies.study import Estimate, FindModel, Outcome, Progress, Study, Trial, TrialJob

if TYPE_CHECKING:
    import pandas as pd

    from ml.data.inventory import Inventory
    from ml.training.machine import Machine


class DrumsStudy(Study):
    """A small convolutional network on pictures of single hits, collected from beatmaps and one-shots.

    What computes is imported where it is used: showing the graph needs none of it.
    """

    name = "drums"
    question = "Which training setup tells the hits of a drum kit apart best, so that songs become beatmaps?"
    phases = (("default",), ("lr_1e-4", "batch_64", "dropout_0.5"), ("augmented", "frozen_finetune", "softmax"))
    told = ("accuracy", "macro_f1", "loss")
    patience_setting = "training.early_stop"
    without_source = "; or collect hits from beatmaps and their songs: nocturne drums extract FOLDER"
    revision = "1"
    settings = DrumsSettings
    experiments = Path(__file__).parent / "experiments"

    def remarks(self, trial: Trial) -> list[str]:
        said = _said(trial)
        found = super().remarks(trial)
        training = said.training
        if training.frozen_from == 0 and said.model.checkpoint is None:
            found.append(
                "its first two blocks rest from the beginning and nothing is said to begin with, so they stay random: "
                "name a `model.checkpoint`, or a later `training.frozen_from`"
            )
        return found

    def family(self, trial: Trial) -> str | None:
        """Without the settings that only decide when training ends and when the first blocks rest."""
        return fingerprint(_without(trial, "epochs", "early_stop", "frozen_from", "frozen_lr"))

    def chain(self, trial: Trial) -> str:
        """Where blocks rest from some share of the epochs on, more epochs are another training."""
        rests = _said(trial).training.frozen_from is not None
        return trial.name if rests else fingerprint(_without(trial, "epochs", "early_stop"))

    def planned_epochs(self, trial: Trial) -> int:
        return _said(trial).training.epochs

    def take_inventory(
        self, source: Path, settings: DrumsSettings, known: pd.DataFrame | None, progress: Progress | None
    ) -> Inventory:
        from ml.studies.drums.sources import take

        return take(source, settings, known, progress)

    def split(self, files: pd.DataFrame, settings: DrumsSettings, frozen: pd.DataFrame | None) -> pd.DataFrame:
        from ml.studies.drums.dividing import divide

        return divide(files, settings, frozen)

    def split_rule(self, settings: DrumsSettings) -> Any:
        # The pattern says which song a hit belongs to: with another, what was placed together no longer does.
        return [settings.split, settings.inventory.group_pattern, settings.leave_out_leaks]

    def leaks(self, files: pd.DataFrame, split: pd.DataFrame) -> pd.DataFrame:
        from ml.studies.drums.dividing import leaks

        return leaks(files, split)

    def is_divided_already(self, files: pd.DataFrame) -> bool:
        from ml.studies.drums.dividing import has_given_parts

        return has_given_parts(files)

    def data_fingerprint(self, files: pd.DataFrame, split: pd.DataFrame) -> str:
        from ml.studies.drums.sources import data_fingerprint

        return data_fingerprint(files, split)

    def classes(self, settings: DrumsSettings, split: pd.DataFrame) -> list[str]:
        from ml.data.components import COMPONENTS

        present = set(split["label"])  # the network has an output for each of the others too
        return [name for name in COMPONENTS if name in present]

    def build_features(
        self,
        folder: Path,
        source: Path,
        files: pd.DataFrame,
        split: pd.DataFrame,
        settings: DrumsSettings,
        reuse: Sequence[Path],
        progress: Progress | None,
    ) -> dict[str, Any]:
        from ml.studies.drums.features import build

        return build(folder, source, files, split, settings, reuse, progress)

    def window_counts(self, folder: Path, split: pd.DataFrame, settings: DrumsSettings) -> pd.DataFrame:
        from ml.studies.drums.features import counts

        return counts(folder, split, settings)

    def features_bytes(self, files: pd.DataFrame, settings: DrumsSettings) -> int:
        used = files[files["state"] != "rejected"].drop_duplicates("content_hash")
        return int(used["seconds"].sum() * settings.features.sample_rate * 2)

    def run_trial(self, job: TrialJob) -> Outcome:
        from ml.studies.drums.trial import run_trial

        return run_trial(job)

    def estimate(
        self,
        trial: Trial,
        files: pd.DataFrame,
        settings: DrumsSettings,
        machine: Machine,
        seconds_per_item: float | None,
    ) -> Estimate:
        from ml.studies.drums.estimate import estimate

        return estimate(trial, files, settings, machine, seconds_per_item)

    def summary(self, results: Results) -> str:
        from ml.studies.drums.summary import summary

        return summary(results)

    def leaderboard_pictures(self, results: Results) -> dict[str, bytes]:
        from ml.studies.drums.pictures import leaderboard_pictures

        return leaderboard_pictures(results)

    def trial_pictures(self, tables: Mapping[str, pd.DataFrame]) -> dict[str, bytes]:
        from ml.studies.drums.pictures import trial_pictures

        return trial_pictures(tables)

    def trial_texts(self, tables: Mapping[str, pd.DataFrame]) -> dict[str, str]:
        from ml.studies.drums.report import trial_texts

        return trial_texts(tables)

    def export_document(self, folder: Path, results: Results, models: Mapping[str, Path], *, pth: bool) -> list[Path]:
        from ml.studies.drums.document import export

        return export(folder, results, models, pth=pth)

    def write_demo(self, folder: Path) -> None:
        from ml.studies.drums.demo import write_corpus

        write_corpus(folder)

    def demo_settings(self) -> dict[str, Any]:
        from ml.studies.drums.demo import DEMO_LAB

        return DEMO_LAB

    def after_demo(self, folder: Path, find_model: FindModel) -> str:
        from ml.studies.drums.demo import after_demo

        return after_demo(folder, find_model)


def _said(trial: Trial) -> DrumsTrial:
    assert isinstance(trial.config, DrumsTrial)
    return trial.config


def _without(trial: Trial, *settings: str) -> dict[str, Any]:
    """What the trial says that changes numbers, without these settings of its training."""
    said = _said(trial).content()
    return said | {"training": {key: value for key, value in said["training"].items() if key not in settings}}


DRUMS = DrumsStudy()
