"""What a drums trial may say, and what a lab may say about the study."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from ml.config import Config
from ml.data.split import SplitConfig
from ml.features.hit_config import HitPictureConfig
from ml.features.waveforms import WaveformConfig
from ml.models.drumcnn_config import DrumCNNConfig
from ml.studies.study import StudySettings, TrialConfig


class SourceConfig(Config):
    """What counts as a song with its beatmap or as a one-shot, and when to stop on purpose."""

    group_pattern: str | None = None
    """Regular expression with (?P<group>…), searched in the path of each sound, that names the song or sample pack that
    it belongs to; null: a song with its folder to itself stands for that folder, every other for itself, and a
    one-shot belongs to the folder that its component's folder lies in."""
    min_seconds: float = Field(default=0.01, ge=0)
    """Shorter one-shots are rejected."""
    max_seconds_per_file: float = Field(default=3600.0, gt=0)
    """Longer songs are rejected."""
    max_rejected_share: float = Field(default=0.5, ge=0, le=1)
    """With a larger share of rejected songs and one-shots something is wrong with the source: stop on purpose."""
    force: bool = False
    """Use beatmaps whose audio is not the one they say (another hash or duration), with a warning."""


class TrainingConfig(Config):
    """How a trial learns."""

    epochs: int = Field(default=50, ge=1, le=1000)
    """At most so many."""
    batch_size: int = Field(default=32, ge=2, le=4096)
    """Hits per optimizer step."""
    lr: float = Field(default=1e-3, gt=0, le=1)
    """First learning rate; it falls when the validation loss stands still."""
    weight_decay: float = Field(default=0.0, ge=0, le=1)
    """AdamW's decoupled weight decay; 0 is Adam."""
    scheduler_patience: int = Field(default=4, ge=0)
    """Epochs without a better validation loss that are borne before the learning rate falls."""
    scheduler_factor: float = Field(default=0.5, gt=0, lt=1)
    """What the learning rate is then multiplied by."""
    min_lr: float = Field(default=1e-6, ge=0)
    """The learning rate does not fall below it."""
    early_stop: int | None = Field(default=10, ge=1)
    """Epochs without a better macro F1 on validation before training stops; null trains all epochs."""
    loss: Literal["binary", "cross_entropy"] = "binary"
    """binary: each component sounds or not, several may at once; cross_entropy: one of twelve, as in the document."""
    overlapping: bool = True
    """Whether hits train whose window holds another hit too; every trial is judged with them and without."""
    balance: float = Field(default=0.0, ge=0, le=1)
    """How strongly rare components are drawn more often: 0 every hit once per epoch, 1 all components equally often."""
    background: float = Field(default=0.2, ge=0, le=1)
    """With the loss binary: moments of songs at which nothing is hit, for each that something is; what else sounds in a
    song is then not taken for drums. 0: none."""
    frozen_from: float | None = Field(default=None, ge=0, lt=1)
    """Share of the epochs after which the first two blocks rest and the others are fine-tuned; 0: from the beginning
    (for a `model.checkpoint`); null: never."""
    frozen_lr: float = Field(default=1e-4, gt=0, le=1)
    """Learning rate from then on, where the rate is not lower already."""
    evaluation_batch: int = Field(default=256, ge=1, le=8192)
    """Hits that are judged at once; changes no result."""


class AugmentationConfig(Config):
    """What is done to training hits; never to validation and test."""

    probability: float = Field(default=0.0, ge=0, le=1)
    """With which each of the following is done to a hit; one half in the document."""
    stretch: tuple[float, float] = (0.9, 1.1)
    """How many times faster, at least and at most."""
    semitones: float = Field(default=2.0, ge=0, le=12)
    """By how much higher or lower, at most."""
    noise: float = Field(default=0.005, ge=0, le=1)
    """Deviation of white noise, full scale = 1."""
    shift_ms: float = Field(default=3.0, ge=0, le=20)
    """By how much every hit is shifted, at most either way: times in beatmaps are never exact. 0: not at all."""

    @model_validator(mode="after")
    def _stretches_forwards(self) -> AugmentationConfig:
        slowest, fastest = self.stretch
        if not 0.5 <= slowest <= fastest <= 2:
            raise ValueError(f"stretch: [{slowest:g}, {fastest:g}] is no range between 0.5 and 2")
        return self


class DrumsTrial(TrialConfig):
    """One drums trial."""

    of_the_study: ClassVar[tuple[str, ...]] = ("picture",)
    synonyms: ClassVar[Mapping[str, str | None]] = {
        "description": "purpose",
        "training.learning_rate": "training.lr",
        "training.early_stopping_patience": "training.early_stop",
        "training.dropout": "model.dropout",
    }

    model: DrumCNNConfig = DrumCNNConfig()
    """The network."""
    training: TrainingConfig = TrainingConfig()
    """How it learns."""
    augmentation: AugmentationConfig = AugmentationConfig()
    """How training hits are changed."""
    picture: HitPictureConfig = HitPictureConfig()
    """What is seen of a hit; one for all trials of a lab."""

    def content(self) -> dict[str, Any]:
        """Without what changes no number, and with the weights of a checkpoint instead of its place."""
        said = self.identity() | {"model": self.model.identity()}
        said["training"].pop("evaluation_batch")
        return said


class DrumsSettings(StudySettings):
    """What a lab may say about the drums study."""

    inventory: SourceConfig = SourceConfig()
    """What is looked for in the source."""
    split: SplitConfig = SplitConfig()
    """How songs and sample packs are divided."""
    leave_out_leaks: bool = False
    """Where the source is divided already (train/, val/, test/ with folders of components): leave out the copy in the
    part that is trained on (or chosen by), instead of stopping until a person has removed one."""
    features: WaveformConfig = WaveformConfig()
    """How sound is kept."""
    trial: DrumsTrial = DrumsTrial()
    """What all trials begin with."""
