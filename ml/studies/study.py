"""What a study is: one question about one body of data, declared once and walked by everything else.

Orchestration asks these methods in the order of the graph and gives them folders; they compute and choose no path.
A new study is a subclass of `Study` and one more line in `ml.studies.registry`.
"""

from __future__ import annotations

import datetime as dt
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from ml.config import Config, fingerprint
from ml.studies.night import NightConfig

if TYPE_CHECKING:
    import pandas as pd

    from ml.data.inventory import Inventory
    from ml.studies.results import Results
    from ml.training.engine import EpochNote, Shelf, Trained
    from ml.training.machine import Machine

FindModel = Callable[[str | None], Path]
"""The folder of a model of the study: by its name, a trial's name or a folder; None: the best one of the lab."""

Progress = Callable[[float, str], None]
"""Told the share that is done (0 to 1) and a few words for the person who waits."""


class TrialConfig(Config):
    """What one trial says. Everything but `purpose` changes numbers and is part of the trial's identity."""

    of_the_study: ClassVar[tuple[str, ...]] = ()
    """Settings (dotted) that all trials share, for they are ranked against each other: said in `studies.yaml` only."""
    synonyms: ClassVar[Mapping[str, str | None]] = {}
    """Other dotted keys that a trial's file may use for a setting; None: understood, and without any effect here."""

    name: str = ""
    """The trial's name, where the name of its file is not to be it."""
    purpose: str = ""
    """Why this trial exists, in a sentence; shown wherever the trial is."""
    seed: int = Field(default=42, ge=0)
    """Seed of the first weights, of the draws and of the shuffling."""

    def identity(self) -> dict[str, Any]:
        """The settings that change numbers."""
        return self.model_dump(mode="json", exclude={"name", "purpose"})

    def content(self) -> dict[str, Any]:
        """`identity`, where a file that a setting names stands by what is in it; it is read for that."""
        return self.identity()


class StudySettings(Config):
    """What a lab may say about a study as a whole, in its `studies.yaml`."""

    trials_per_run: int = Field(default=1, ge=1, le=1000)
    """Trials that share one Dagster run. 1: each is watched, retried and cancelled alone; more saves seconds each."""
    retries: int = Field(default=2, ge=0, le=10)
    """How often a step that failed for a passing reason (a drive that vanished) is tried again within its run."""
    retry_delay_seconds: float = Field(default=20.0, ge=0)
    """Wait before the first retry; doubles with each further one."""
    night: NightConfig = NightConfig()
    """When its trials are begun without being asked for, and when the machine has to be free again."""


@dataclass(frozen=True)
class Trial:
    """One training configuration of a study: one partition. Its name says what it is."""

    name: str
    config: TrialConfig
    changes: Mapping[str, tuple[Any, Any]]
    """Dotted setting to (in the baseline, in this trial)."""
    source: str
    """The file that declares it."""
    mode: str = ""
    """The grid that it is a point of: the stem of `source`. Empty where its file declares it alone."""


@dataclass(frozen=True)
class TrialJob:
    """All that a trial needs to be computed; paths are chosen by whoever asks."""

    trial: Trial
    settings: Any
    split: pd.DataFrame
    features: Path
    states: Shelf
    evaluations: Shelf
    """Where a study may keep what is the same for all trials that end with the same weights."""
    machine: Machine
    origin: str
    """Fingerprint of the data, the features and the study's revision: everything before the trial's own settings."""
    report: Callable[[EpochNote], None]
    """Told every epoch that is trained now."""
    progress: Callable[[int, float], None] = field(default=lambda epoch, share: None)
    """Told the epoch and the share of it that is done, after every step."""
    say: Callable[[str], None] = field(default=lambda words: None)
    """Told what is done now, in a few words, where it takes a while and is no epoch."""
    stop: Callable[[], bool] = field(default=lambda: False)
    found: Callable[[Sequence[EpochNote]], None] = field(default=lambda notes: None)
    """Told before training which epochs were trained earlier; again, of all, when another process trained some."""
    siblings: Sequence[Trial] = ()
    """All trials of the study in this lab: some may go on from an epoch that this one trains."""


@dataclass(frozen=True)
class Outcome:
    """What a trial came to."""

    trained: Trained
    tables: dict[str, pd.DataFrame]
    """The evaluation: epochs, metrics, confusion, predictions, draws. Only the epochs where training did not finish."""
    selection_metric: str
    selection_value: float | None
    """Of the chosen epoch, on validation."""
    higher_is_better: bool
    save_model: Callable[[Path], dict[str, Any]] | None
    """Writes the chosen weights and what is needed to use them; None where there is no finished model. Trials whose
    best epoch is one and the same share what is written."""
    verdict: str | None = None
    """What the study's own thresholds say of the result, in a sentence."""


@dataclass(frozen=True)
class Estimate:
    """What a trial is expected to cost, and how that is known."""

    seconds: float | None
    disk_bytes: int
    basis: str


class Study(ABC):
    """One question about one body of data."""

    name: ClassVar[str]
    question: ClassVar[str]
    phases: ClassVar[tuple[tuple[str, ...], ...]] = ()
    """Names of trials in the order in which they should run, phase by phase; all others come after them."""
    modes: ClassVar[tuple[str, ...]] = ()
    """Grids (stems of their files) in the order in which they should run."""
    demo_mode: ClassVar[str | None] = None
    """The mode that the demo runs; None: all trials."""
    told: ClassVar[tuple[str, ...]] = ("accuracy", "loss")
    """Metrics that are said of every epoch while it trains."""
    compared: ClassVar[tuple[str, bool] | None] = None
    """A score of single files that trials are compared by, and whether more of it is better; None: by what is right."""
    patience_setting: ClassVar[str] = "training.patience"
    """The (dotted) setting of a trial that says after how many epochs that bettered nothing it stops early."""
    without_source: ClassVar[str] = ""
    """What else a person can do who has no source folder; ends the sentence that says that there is none."""
    revision: ClassVar[str]
    """Bumped by hand when code changes what numbers mean: finished trials are then stale."""
    settings: ClassVar[type[StudySettings]]
    experiments: ClassVar[Path]
    """The folder of the trials that come with Nocturne."""

    @property
    def source_variable(self) -> str:
        """The environment variable that names the study's source folder."""
        return f"NOCTURNE_{self.name.upper()}_SOURCE"

    def features_key(self, split: pd.DataFrame, settings: Any) -> str:
        """The fingerprint under which the features of these recordings are found again."""
        return fingerprint(self.name, self.revision, sorted(split["content_hash"]), self.features_identity(settings))

    def origin(self, data_fingerprint: str, features_key: str) -> str:
        """The fingerprint of everything that comes before a trial's own settings."""
        return fingerprint(self.name, self.revision, data_fingerprint, features_key)

    def trial_fingerprint(self, trial: Trial, origin: str, precision: str) -> str:
        """Identity of a finished trial: data, features, settings and precision; never device, workers or paths."""
        return fingerprint(origin, trial.config.content(), precision)

    def model_name(self, trial: Trial, started: dt.datetime) -> str:
        """What the trained model is called: it says what it is and when it was made (local time)."""
        return f"{self.name}_{trial.name}_{started:%Y%m%d_%H%M%S}"

    def remarks(self, trial: Trial) -> list[str]:
        """What a person should know before reading much into this trial, in sentences."""
        found = []
        if not trial.mode and len(trial.changes) > 1:  # a grid tells its settings apart as a whole
            found.append(
                f"changes {len(trial.changes)} settings at once ({', '.join(trial.changes)}): "
                "what made the difference cannot be told apart"
            )
        patience, epochs = self.patience(trial.config.model_dump(mode="json")), self.planned_epochs(trial)
        if patience is not None and patience >= epochs:
            found.append(f"cannot stop early: its patience of {patience} is not less than its {epochs} epochs")
        return found

    def point_name(self, config: TrialConfig, grid: Sequence[str]) -> str:
        """The name of a point of a grid over the (dotted) settings `grid`; different points need different names."""
        said = config.model_dump(mode="json")
        return "_".join(f"{setting.rpartition('.')[2]}{_value_of(said, setting)}" for setting in grid)

    def family(self, trial: Trial) -> str | None:
        """Trials with one and the same answer begin with the same epochs: they run beside each other, and the states
        that are kept for them go when all are finished. None: it begins alone."""
        return None

    def chain(self, trial: Trial) -> str:
        """Of trials with one and the same answer the longest trains every epoch that the others need."""
        return trial.name

    def baseline(self, settings: Any) -> TrialConfig:
        """The typed defaults that a trial's YAML file is laid over."""
        said: TrialConfig = settings.trial
        return said

    @abstractmethod
    def planned_epochs(self, trial: Trial) -> int:
        """Epochs that the trial trains at most."""

    def patience(self, config: Mapping[str, Any]) -> int | None:
        """The patience of a trial with these settings, as JSON has them; None: it never stops early."""
        try:
            said: int | None = _value_of(config, self.patience_setting)
        except KeyError:  # recorded before there was such a setting
            return None
        return said

    def may_stop_early(self, config: Mapping[str, Any], epochs: int) -> bool:
        """Whether a trial with these settings can end before its last epoch."""
        patience = self.patience(config)
        return patience is not None and patience < epochs

    @abstractmethod
    def take_inventory(
        self, source: Path, settings: Any, known: pd.DataFrame | None, progress: Progress | None
    ) -> Inventory:
        """One row per file of the source, each with a verdict."""

    @abstractmethod
    def split(self, files: pd.DataFrame, settings: Any, frozen: pd.DataFrame | None) -> pd.DataFrame:
        """The part of every accepted file; nothing that `frozen` has placed ever moves."""

    def split_rule(self, settings: Any) -> Any:
        """The settings that decide how recordings are divided: when they change, the frozen split is given up."""
        return settings.split

    def leaks(self, files: pd.DataFrame, split: pd.DataFrame) -> pd.DataFrame:
        """Everything that lies on two sides of the split; empty when clean."""
        from ml.data.split import leaks

        return leaks(files, split)

    def leak_remedy(self, files: pd.DataFrame) -> str:
        """What mends a leak in the split of `files` other than removing the copy; said of the lab's `studies.yaml`."""
        # A division that somebody gave is not made anew by another seed.
        return (
            "leave the copies out with `leave_out_leaks: true`"
            if self.is_divided_already(files)
            else "divide anew with another `split: {seed: …}`"
        )

    def is_divided_already(self, files: pd.DataFrame) -> bool:
        """Whether somebody has divided the source, into train, val and test folders."""
        from ml.data.given import has_given_parts

        return has_given_parts(files)

    def data_fingerprint(self, files: pd.DataFrame, split: pd.DataFrame) -> str:
        """Identity of the data: contents, labels and parts; never paths."""
        from ml.data.split import data_fingerprint

        return data_fingerprint(split, files)

    @abstractmethod
    def classes(self, settings: Any, split: pd.DataFrame) -> list[str]:
        """The classes in the order of the model's outputs."""

    def features_identity(self, settings: Any) -> Config:
        """The settings that change the features."""
        said: Config = settings.features
        return said

    @abstractmethod
    def build_features(
        self,
        folder: Path,
        source: Path,
        files: pd.DataFrame,
        split: pd.DataFrame,
        settings: Any,
        reuse: Sequence[Path],
        progress: Progress | None,
    ) -> dict[str, Any]:
        """Write the features of every recording of the split into the empty `folder`; return what to note of them."""

    @abstractmethod
    def window_counts(self, folder: Path, split: pd.DataFrame, settings: Any) -> pd.DataFrame:
        """Columns part, class, windows: how many pieces the baseline cuts the features in `folder` into."""

    @abstractmethod
    def features_bytes(self, files: pd.DataFrame, settings: Any) -> int:
        """Bytes on disk that the features of these files take."""

    @abstractmethod
    def run_trial(self, job: TrialJob) -> Outcome:
        """Train (as far as that has not been done) and evaluate."""

    @abstractmethod
    def estimate(
        self, trial: Trial, files: pd.DataFrame, settings: Any, machine: Machine, seconds_per_item: float | None
    ) -> Estimate:
        """The cost of a trial from the measured seconds per trained item, or from a short calibration."""

    @abstractmethod
    def summary(self, results: Results) -> str:
        """The text a person reads in the morning."""

    def analysis(self, results: Results) -> str:
        """What the finished trials say about the settings: the best, what matters, what went wrong. Trains nothing."""
        from ml.studies.analysis import analysis

        return analysis(results)

    @abstractmethod
    def leaderboard_pictures(self, results: Results) -> dict[str, bytes]:
        """Pictures (PNG) of the study as a whole, by title."""

    @abstractmethod
    def trial_pictures(self, tables: Mapping[str, pd.DataFrame]) -> dict[str, bytes]:
        """Pictures (PNG) of one trial, by title."""

    def trial_texts(self, tables: Mapping[str, pd.DataFrame]) -> dict[str, str]:
        """What else a person reads of one trial's evaluation (from `metrics` and `confusion`), by title, as lines."""
        return {}

    @abstractmethod
    def export_document(self, folder: Path, results: Results, models: Mapping[str, Path], *, pth: bool) -> list[Path]:
        """Write results and models in the form that people used before; the files written."""

    @abstractmethod
    def write_demo(self, folder: Path) -> None:
        """Synthesize a small corpus into the empty `folder`."""

    @abstractmethod
    def demo_settings(self) -> dict[str, Any]:
        """What a lab's `studies.yaml` says so that the demo's corpus is enough and two cores are too."""

    def after_demo(self, folder: Path, find_model: FindModel) -> str:
        """Use the best model on something made up that it never met, in `folder`; what came of it, in sentences."""
        return ""


def _value_of(said: Mapping[str, Any], setting: str) -> Any:
    for name in setting.split("."):
        said = said[name]
    return said
