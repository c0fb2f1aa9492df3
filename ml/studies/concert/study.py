"""The concert study: which balance between frequent and rare classes gives the best classifier of concert sounds?"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml.studies.concert.config import ConcertSettings
from ml.studies.results import Results
from ml.studies.study import Estimate, Outcome, Progress, Study, Trial, TrialJob

if TYPE_CHECKING:
    import pandas as pd

    from ml.data.inventory import Inventory
    from ml.training.machine import Machine


class ConcertStudy(Study):
    """AST on windows of concert recordings, one trial per balance strength.

    What computes is imported where it is used: showing the graph needs none of it.
    """

    name = "concert"
    question = "How strongly should rare classes be balanced, so that TUNING is found without losing MUSIC?"
    revision = "1"
    settings = ConcertSettings
    experiments = Path(__file__).parent / "experiments"

    def model_name(self, trial: Trial, started: dt.datetime) -> str:
        strength = trial.config.model_dump()["balance_strength"]
        return f"ast_balance{strength:.2f}_{started:%Y%m%d_%H%M%S}"

    def planned_epochs(self, trial: Trial) -> int:
        return int(trial.config.model_dump()["training"]["epochs"])

    def take_inventory(
        self, source: Path, settings: ConcertSettings, known: pd.DataFrame | None, progress: Progress | None
    ) -> Inventory:
        from ml.data.inventory import take_inventory
        from ml.training.machine import processors

        return take_inventory(source, settings.inventory, known, workers=processors(), progress=progress)

    def split(self, files: pd.DataFrame, settings: ConcertSettings, frozen: pd.DataFrame | None) -> pd.DataFrame:
        from ml.data.split import split_recordings

        return split_recordings(files, settings.split, frozen)

    def split_rule(self, settings: ConcertSettings) -> Any:
        # The pattern says what one recording is: with another, what was placed together is no longer one.
        return [settings.split, settings.inventory.group_pattern]

    def classes(self, settings: ConcertSettings, split: pd.DataFrame) -> list[str]:
        present = set(split["label"])
        named = [name for name in settings.inventory.classes if name in present]
        return named + sorted(present - set(named))

    def build_features(
        self,
        folder: Path,
        source: Path,
        files: pd.DataFrame,
        split: pd.DataFrame,
        settings: ConcertSettings,
        reuse: Sequence[Path],
        progress: Progress | None,
    ) -> dict[str, Any]:
        from ml.studies.concert.features import build

        return build(folder, source, files, split, settings, reuse, progress)

    def window_counts(self, folder: Path, split: pd.DataFrame, settings: ConcertSettings) -> pd.DataFrame:
        from ml.studies.concert.features import counts

        return counts(folder, split, settings, self.classes(settings, split))

    def features_bytes(self, files: pd.DataFrame, settings: ConcertSettings) -> int:
        accepted = files[files["state"] != "rejected"]
        frames = float(accepted["seconds"].sum()) * 1000 / settings.features.hop_ms
        return int(frames * settings.features.mels * 2)

    def run_trial(self, job: TrialJob) -> Outcome:
        from ml.studies.concert.trial import run_trial

        return run_trial(job, self.classes(job.settings, job.split))

    def estimate(
        self,
        trial: Trial,
        files: pd.DataFrame,
        settings: ConcertSettings,
        machine: Machine,
        seconds_per_item: float | None,
    ) -> Estimate:
        from ml.studies.concert.estimate import estimate

        return estimate(trial, files, settings, machine, seconds_per_item)

    def summary(self, results: Results) -> str:
        from ml.studies.concert.summary import summary

        return summary(results.leaderboard, results.per_class, results.inventory)

    def leaderboard_pictures(self, results: Results) -> dict[str, bytes]:
        from ml.studies.concert.pictures import trade_off

        return trade_off(results.leaderboard, results.per_class, results.inventory)

    def trial_pictures(self, tables: Mapping[str, pd.DataFrame]) -> dict[str, bytes]:
        from ml.studies.pictures import trial_pictures

        return trial_pictures(tables)

    def export_document(self, folder: Path, results: Results, models: Mapping[str, Path], *, pth: bool) -> list[Path]:
        from ml.studies.concert.document import export

        return export(folder, results.leaderboard, results.per_class, models, pth=pth)

    def write_demo(self, folder: Path) -> None:
        from ml.studies.concert.demo import write_corpus

        write_corpus(folder)

    def demo_settings(self) -> dict[str, Any]:
        return DEMO_LAB


DEMO_LAB: dict[str, Any] = {
    "trials_per_run": 5,
    "split": {"train": 0.6, "validation": 0.2, "test": 0.2},
    "trial": {
        "model": {"pretrained": None, "hidden": 64, "layers": 2, "heads": 2, "intermediate": 128},
        "training": {"epochs": 4, "batch": 16, "learning_rate": 1e-3},
    },
}
"""A lab small enough for two cores: a tiny network without pretrained weights; more to judge by than usual, because
the rare class would have two windows in a tenth."""

CONCERT = ConcertStudy()
