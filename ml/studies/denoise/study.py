"""The denoise study: which training setup takes noise away best?"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml.config import fingerprint
from ml.studies.denoise.config import DenoiseSettings, DenoiseTrial
from ml.studies.results import Results
from ml.studies.study import Estimate, Outcome, Progress, Study, Trial, TrialConfig, TrialJob

if TYPE_CHECKING:
    import pandas as pd

    from ml.data.inventory import Inventory
    from ml.training.machine import Machine


class DenoiseStudy(Study):
    """A U-Net on waveforms; one trial per point of a grid.

    What computes is imported where it is used: showing the graph needs none of it.
    """

    name = "denoise"
    question = "Which training setup takes noise away best, and which settings matter?"
    modes = ("default", "quick", "full")
    demo_mode = "quick"
    told = ("loss", "si_sdr_improvement")
    compared = ("si_sdr_improvement", True)
    patience_setting = "training.early_stop"
    revision = "1"
    settings = DenoiseSettings
    experiments = Path(__file__).parent / "experiments"

    def model_name(self, trial: Trial, started: dt.datetime) -> str:
        return f"unet1d_{trial.name}"

    def remarks(self, trial: Trial) -> list[str]:
        said = _said(trial).training
        found = super().remarks(trial)
        if said.scheduler_patience >= said.early_stop:
            found.append(
                f"its learning rate never falls: it stops after {said.early_stop} epochs without a lower loss, before "
                f"the patience of {said.scheduler_patience} is at its end"
            )
        return found

    def point_name(self, config: TrialConfig, grid: Sequence[str]) -> str:
        assert isinstance(config, DenoiseTrial)
        said = config.training
        name = (
            f"bs{said.batch_size}_lr{said.lr:g}_ep{said.epochs}_{said.optimizer}_sp{said.scheduler_patience}"
            f"_sf{said.scheduler_factor:g}_es{said.early_stop}"
        )
        rest = [setting for setting in grid if setting not in IN_THE_NAME]
        return "_".join([name, super().point_name(config, rest)]) if rest else name

    def family(self, trial: Trial) -> str | None:
        """Without the settings that only decide when the rate falls and when training ends."""
        return fingerprint(_without(trial, "scheduler_patience", "scheduler_factor", "min_lr", "epochs", "early_stop"))

    def chain(self, trial: Trial) -> str:
        return fingerprint(_without(trial, "epochs", "early_stop"))

    def planned_epochs(self, trial: Trial) -> int:
        return _said(trial).training.epochs

    def take_inventory(
        self, source: Path, settings: DenoiseSettings, known: pd.DataFrame | None, progress: Progress | None
    ) -> Inventory:
        from ml.studies.denoise.sources import take

        return take(source, settings, known, progress)

    def split(self, files: pd.DataFrame, settings: DenoiseSettings, frozen: pd.DataFrame | None) -> pd.DataFrame:
        from ml.studies.denoise.sources import divide

        return divide(files, settings, frozen)

    def split_rule(self, settings: DenoiseSettings) -> Any:
        # The pattern says who is in a file: with another, what was placed together no longer belongs together.
        said = settings.inventory
        return [settings.split, said.group_pattern, said.part_numbers, settings.leave_out_leaks]

    def leaks(self, files: pd.DataFrame, split: pd.DataFrame) -> pd.DataFrame:
        from ml.studies.denoise.sources import leaks

        return leaks(files, split)

    def data_fingerprint(self, files: pd.DataFrame, split: pd.DataFrame) -> str:
        from ml.studies.denoise.sources import data_fingerprint

        return data_fingerprint(files, split)

    def classes(self, settings: DenoiseSettings, split: pd.DataFrame) -> list[str]:
        present = set(split["label"])
        return [name for name in settings.inventory.classes if name in present]

    def build_features(
        self,
        folder: Path,
        source: Path,
        files: pd.DataFrame,
        split: pd.DataFrame,
        settings: DenoiseSettings,
        reuse: Sequence[Path],
        progress: Progress | None,
    ) -> dict[str, Any]:
        from ml.studies.denoise.features import build

        return build(folder, source, files, split, settings, reuse, progress)

    def window_counts(self, folder: Path, split: pd.DataFrame, settings: DenoiseSettings) -> pd.DataFrame:
        from ml.studies.denoise.features import counts

        return counts(folder, split, settings)

    def features_bytes(self, files: pd.DataFrame, settings: DenoiseSettings) -> int:
        used = files[files["state"] != "rejected"]
        return int(used["seconds"].sum() * settings.features.sample_rate * 2)

    def run_trial(self, job: TrialJob) -> Outcome:
        from ml.studies.denoise.trial import run_trial

        return run_trial(job)

    def estimate(
        self,
        trial: Trial,
        files: pd.DataFrame,
        settings: DenoiseSettings,
        machine: Machine,
        seconds_per_item: float | None,
    ) -> Estimate:
        from ml.studies.denoise.estimate import estimate

        return estimate(trial, files, settings, machine, seconds_per_item)

    def summary(self, results: Results) -> str:
        from ml.studies.denoise.summary import summary

        return summary(results)

    def analysis(self, results: Results) -> str:
        from ml.studies.analysis import analysis
        from ml.studies.denoise.verdicts import overall

        return analysis(results, overall(results))

    def leaderboard_pictures(self, results: Results) -> dict[str, bytes]:
        from ml.studies.denoise.pictures import leaderboard_pictures

        return leaderboard_pictures(results)

    def trial_pictures(self, tables: Mapping[str, pd.DataFrame]) -> dict[str, bytes]:
        from ml.studies.denoise.pictures import trial_pictures

        return trial_pictures(tables)

    def export_document(self, folder: Path, results: Results, models: Mapping[str, Path], *, pth: bool) -> list[Path]:
        from ml.studies.denoise.document import export

        return export(folder, results, models, pth=pth)

    def write_demo(self, folder: Path) -> None:
        from ml.studies.denoise.demo import write_corpus

        write_corpus(folder)

    def demo_settings(self) -> dict[str, Any]:
        return DEMO_LAB


IN_THE_NAME = {
    f"training.{setting}"
    for setting in (
        "batch_size",
        "lr",
        "epochs",
        "optimizer",
        "scheduler_patience",
        "scheduler_factor",
        "early_stop",
    )
}
"""Settings that every point's name carries."""


def _said(trial: Trial) -> DenoiseTrial:
    assert isinstance(trial.config, DenoiseTrial)
    return trial.config


def _without(trial: Trial, *settings: str) -> dict[str, Any]:
    """What the trial says that changes numbers, without these settings of its training."""
    said = _said(trial).content()
    return said | {"training": {key: value for key, value in said["training"].items() if key not in settings}}


DEMO_LAB: dict[str, Any] = {
    "split": {"train": 0.6, "validation": 0.2, "test": 0.2},
    "trial": {
        "model": {"channels": [24, 32], "kernel": 5, "fold": 8},
        "mix": {"segment_seconds": 0.1, "windows_per_epoch": 64, "validation_windows": 32},
    },
}
"""A lab small enough for two cores: a narrow network that hears 4 ms to either side, and few and short windows."""

DENOISE = DenoiseStudy()
