"""The emotion study: which training setup recognises seven emotions best, in pictures and in clips of voices?"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml.studies.emotion.config import EmotionSettings, EmotionTrial
from ml.studies.results import Results
from ml.studies.study import Estimate, Outcome, Progress, Study, Trial, TrialJob

if TYPE_CHECKING:
    import pandas as pd

    from ml.data.inventory import Inventory
    from ml.training.machine import Machine


class EmotionStudy(Study):
    """ResNet18 on pictures, and on log-mel pictures of clips; one trial per experiment.

    What computes is imported where it is used: showing the graph needs none of it.
    """

    name = "emotion"
    question = "Which training setup recognises the seven emotions best, the rare ones too?"
    phases = (
        ("epochs_10", "baseline"),
        ("lr_low", "lr_high", "epochs_50", "loss_focal"),
        ("batch_64", "batch_256", "aug_none", "aug_heavy"),
        ("balance_no_weights", "balance_weighted_sampler"),
    )
    told = ("accuracy", "macro_f1", "loss")
    revision = "1"
    settings = EmotionSettings
    experiments = Path(__file__).parent / "experiments"

    def model_name(self, trial: Trial, started: dt.datetime) -> str:
        return f"resnet18_{trial.name}_{started:%Y%m%d_%H%M%S}"

    def remarks(self, trial: Trial) -> list[str]:
        said = trial.config
        assert isinstance(said, EmotionTrial)
        found = super().remarks(trial)
        if said.data.weighted_sampler and said.loss.use_class_weights:
            found.append("corrects imbalance twice: rare emotions are drawn more often and also weigh more in the loss")
        if "loss.focal_gamma" in trial.changes and said.loss.type != "focal":
            found.append("loss.focal_gamma has no effect: loss.type is ce")
        return found

    def planned_epochs(self, trial: Trial) -> int:
        return int(trial.config.model_dump()["training"]["epochs"])

    def take_inventory(
        self, source: Path, settings: EmotionSettings, known: pd.DataFrame | None, progress: Progress | None
    ) -> Inventory:
        from ml.data.inventory import take_inventory
        from ml.training.machine import processors

        return take_inventory(source, settings.inventory, known, workers=processors(), progress=progress)

    def split(self, files: pd.DataFrame, settings: EmotionSettings, frozen: pd.DataFrame | None) -> pd.DataFrame:
        from ml.data.given import given_split, has_given_parts
        from ml.data.split import split_recordings

        if has_given_parts(files):
            return given_split(files, settings.split, frozen, leave_out_leaks=settings.leave_out_leaks)
        return split_recordings(files, settings.split, frozen)

    def split_rule(self, settings: EmotionSettings) -> Any:
        # The pattern says who is in a file: with another, what was placed together no longer belongs together.
        said = settings.inventory
        return [settings.split, said.group_pattern, said.part_numbers, settings.leave_out_leaks]

    def classes(self, settings: EmotionSettings, split: pd.DataFrame) -> list[str]:
        present = set(split["label"])
        named = [name for name in settings.inventory.classes if name in present]
        return named + sorted(present - set(named))

    def build_features(
        self,
        folder: Path,
        source: Path,
        files: pd.DataFrame,
        split: pd.DataFrame,
        settings: EmotionSettings,
        reuse: Sequence[Path],
        progress: Progress | None,
    ) -> dict[str, Any]:
        from ml.studies.emotion.features import build

        return build(folder, source, files, split, settings, reuse, progress)

    def window_counts(self, folder: Path, split: pd.DataFrame, settings: EmotionSettings) -> pd.DataFrame:
        from ml.studies.emotion.features import counts

        return counts(folder, split, self.classes(settings, split))

    def features_bytes(self, files: pd.DataFrame, settings: EmotionSettings) -> int:
        from ml.features.pictures import pictures_of

        used = files[files["state"] != "rejected"]
        pictures = sum(pictures_of(seconds, settings.clip) for seconds in used["seconds"])
        return int(pictures * settings.features.side**2 * 3)

    def run_trial(self, job: TrialJob) -> Outcome:
        from ml.studies.emotion.trial import run_trial

        return run_trial(job, self.classes(job.settings, job.split))

    def estimate(
        self,
        trial: Trial,
        files: pd.DataFrame,
        settings: EmotionSettings,
        machine: Machine,
        seconds_per_item: float | None,
    ) -> Estimate:
        from ml.studies.emotion.estimate import estimate

        return estimate(trial, files, settings, machine, seconds_per_item)

    def summary(self, results: Results) -> str:
        from ml.studies.emotion.summary import summary

        return summary(results)

    def leaderboard_pictures(self, results: Results) -> dict[str, bytes]:
        from ml.studies.emotion.pictures import leaderboard_pictures

        return leaderboard_pictures(results)

    def trial_pictures(self, tables: Mapping[str, pd.DataFrame]) -> dict[str, bytes]:
        from ml.studies.pictures import trial_pictures

        return trial_pictures(tables)

    def export_document(self, folder: Path, results: Results, models: Mapping[str, Path], *, pth: bool) -> list[Path]:
        from ml.studies.emotion.document import export

        return export(folder, results, models, pth=pth)

    def write_demo(self, folder: Path) -> None:
        from ml.studies.emotion.demo import write_corpus

        write_corpus(folder)

    def demo_settings(self) -> dict[str, Any]:
        return DEMO_LAB


DEMO_LAB: dict[str, Any] = {
    "trials_per_run": 12,
    "inventory": {"group_pattern": r"(?P<group>p\d+)_"},
    "split": {"train": 0.6, "validation": 0.2, "test": 0.2},
    "trial": {
        "model": {"pretrained": False, "widths": [16, 32, 64, 128]},
        "training": {"epochs": 12, "batch_size": 32, "eval_batch_size": 128, "lr": 2e-3, "patience": 7},
        "data": {"img_size": 48},
    },
}
"""A lab small enough for two cores: small pictures, a narrow network without pretrained weights; all pictures of one
person on one side."""

EMOTION = EmotionStudy()
