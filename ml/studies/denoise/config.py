"""What a denoise trial may say, and what a lab may say about the study."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from ml.config import Config
from ml.data.inventory import InventoryConfig
from ml.data.split import SplitConfig
from ml.features.waveforms import WaveformConfig
from ml.models.unet1d_config import UNet1DConfig
from ml.studies.denoise.mixing import MixConfig
from ml.studies.study import StudySettings, TrialConfig

CLASSES = ("clean", "noise", "noisy")
ALIASES: dict[str, tuple[str, ...]] = {
    "clean": ("speech", "music", "target"),
    "noise": ("noises", "background", "backgrounds"),
    "noisy": ("mixed", "mixture", "mixtures"),
}
"""Other names that the folders may have."""


class TrainingConfig(Config):
    """How a trial learns."""

    batch_size: int = Field(default=8, ge=1)
    """Windows per optimizer step."""
    lr: float = Field(default=1e-4, gt=0)
    """First learning rate; it falls when the validation loss stands still."""
    epochs: int = Field(default=75, ge=1, le=10_000)
    """At most so many."""
    optimizer: Literal["adam", "adamw"] = "adam"
    """AdamW lets weights decay apart from the gradients."""
    weight_decay: float = Field(default=0.01, ge=0)
    """Of adamw; adam has none."""
    scheduler_patience: int = Field(default=8, ge=0)
    """Epochs without a better validation loss that are borne before the learning rate falls."""
    scheduler_factor: float = Field(default=0.5, gt=0, lt=1)
    """What the learning rate is then multiplied by."""
    min_lr: float = Field(default=1e-7, ge=0)
    """The learning rate does not fall below it."""
    early_stop: int = Field(default=20, ge=1)
    """Epochs in a row without a lower validation loss after which training ends."""
    clip_norm: float | None = Field(default=1.0, gt=0)
    """Largest norm of all gradients together; null: not clipped."""
    loss: Literal["mse", "l1_stft"] = "mse"
    """mse: mean squared error; l1_stft: absolute error and spectra at several resolutions. Trials are ranked by it."""
    evaluation_batch: int = Field(default=32, ge=1)
    """Windows that are computed at once when nothing is trained; changes no result."""


class DenoiseTrial(TrialConfig):
    """One denoise trial. The defaults are a point of the full grid."""

    of_the_study: ClassVar[tuple[str, ...]] = ("mix", "training.loss")
    synonyms: ClassVar[Mapping[str, str | None]] = {
        "description": "purpose",
        "training.learning_rate": "training.lr",
        "training.early_stopping_patience": "training.early_stop",
        "training.early_stop_patience": "training.early_stop",
    }

    model: UNet1DConfig = UNet1DConfig()
    """The network."""
    training: TrainingConfig = TrainingConfig()
    """How it learns."""
    mix: MixConfig = MixConfig()
    """What is heard: clean sound with noise; one for all trials of a lab."""

    def content(self) -> dict[str, Any]:
        """Without what changes no number: how much is evaluated at once, and a decay that adam does not have."""
        said = self.identity()
        said["training"].pop("evaluation_batch")
        if self.training.optimizer == "adam":
            said["training"].pop("weight_decay")
        return said


class DenoiseSettings(StudySettings):
    """What a lab may say about the denoise study."""

    trials_per_run: int = Field(default=36, ge=1, le=1000)
    """Trials that share one Dagster run; 36 of the full grid begin with the same epochs."""
    inventory: InventoryConfig = InventoryConfig(
        classes=CLASSES, aliases=ALIASES, any_case=True, all_classes=False, given_parts=True
    )
    """What is looked for in the source."""
    split: SplitConfig = SplitConfig()
    """How recordings are divided."""
    leave_out_leaks: bool = False
    """With given train, valid and test folders: leave copies out of training that are also in a part that judges."""
    features: WaveformConfig = WaveformConfig()
    """How files become waveforms."""
    trial: DenoiseTrial = DenoiseTrial()
    """What all trials begin with."""
