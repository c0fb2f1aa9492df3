"""What an emotion trial may say, in the sections that experiment files had before, and what a lab may say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from ml.config import Config
from ml.data.inventory import InventoryConfig
from ml.data.split import SplitConfig
from ml.features.pictures import ClipConfig, PictureConfig
from ml.models.resnet_config import ResNetConfig
from ml.studies.study import StudySettings, TrialConfig

CLASSES = ("angry", "disgusted", "fearful", "happy", "sad", "surprised", "neutral")

ALIASES: dict[str, tuple[str, ...]] = {
    "angry": ("anger", "ang"),
    "disgusted": ("disgust", "dis"),
    "fearful": ("fear", "afraid", "fea"),
    "happy": ("happiness", "joy", "hap"),
    "sad": ("sadness",),
    "surprised": ("surprise", "sur"),
    "neutral": ("neu",),
}
"""Other names of a class folder, in any case."""


class TrainingConfig(Config):
    """How the classifier is trained."""

    epochs: int = Field(default=30, ge=1, le=1000)
    """Passes over the training part; the learning rate's one cycle spans them all."""
    batch_size: int = Field(default=128, ge=1, le=4096)
    """Pictures per step of the optimizer; halved inside a step, never as a whole, when memory runs out."""
    eval_batch_size: int = Field(default=256, ge=1, le=8192)
    """Pictures judged at once in validation and test."""
    lr: float = Field(default=3e-4, gt=0, le=1)
    """The highest learning rate of the cycle (OneCycle: rises to it, then falls to almost nothing)."""
    weight_decay: float = Field(default=0.05, ge=0, le=1)
    """AdamW's decoupled weight decay."""
    optimizer: Literal["adamw"] = "adamw"
    """The optimizer; there is one."""
    freeze_epochs: int = Field(default=0, ge=0)
    """Epochs at the beginning in which only the head is trained and the rest stays as it is."""
    onecycle_pct_start: float = Field(default=0.3, gt=0, lt=1)
    """Share of all steps in which the learning rate rises."""
    patience: int | None = Field(default=7, ge=1)
    """Epochs without a better macro F1 on validation before training stops; null trains all epochs."""


class LossConfig(Config):
    """What is minimised."""

    type: Literal["ce", "focal"] = "ce"
    """Cross-entropy, or focal loss, which weighs a picture by how far it is from being right."""
    label_smoothing: float = Field(default=0.1, ge=0, lt=1)
    """Share of the target that is spread evenly over all classes."""
    focal_gamma: float = Field(default=2.0, ge=0, le=10)
    """How strongly focal loss forgets what is right already; only where type is focal."""
    use_class_weights: bool = True
    """Weigh each picture by N / (C * n_c), so that every emotion counts alike."""


class AugmentationConfig(Config):
    """What is done to training batches; never to validation and test."""

    mixup_alpha: float = Field(default=0.2, ge=0, le=10)
    """Pictures are mixed in pairs, shares drawn from Beta(alpha, alpha); 0 mixes none."""
    random_erasing: float = Field(default=0.0, ge=0, le=1)
    """Share of the pictures in which a random rectangle is blanked."""


class DataConfig(Config):
    """What a trial sees of the data."""

    img_size: int = Field(default=224, ge=16, le=1024)
    """Side of the square pictures in pixels; one for all trials, because they share the prepared pictures."""
    weighted_sampler: bool = False
    """Draw pictures with replacement, every emotion equally often; false: each picture once per epoch."""


class EmotionTrial(TrialConfig):
    """One experiment of the emotion study."""

    of_the_study: ClassVar[tuple[str, ...]] = ("data.img_size",)
    synonyms: ClassVar[Mapping[str, str | None]] = {
        "description": "purpose",
        "other.patience": "training.patience",
        "other.seed": "seed",
        "other.workers": None,
    }

    model: ResNetConfig = ResNetConfig()
    """The network."""
    training: TrainingConfig = TrainingConfig()
    """How it is trained."""
    loss: LossConfig = LossConfig()
    """What is minimised."""
    augmentation: AugmentationConfig = AugmentationConfig()
    """How training pictures are changed."""
    data: DataConfig = DataConfig()
    """What it sees of the data."""

    def content(self) -> dict[str, Any]:
        return self.identity() | {"model": self.model.identity()}


class EmotionSettings(StudySettings):
    """The emotion study in a lab."""

    inventory: InventoryConfig = InventoryConfig(
        media=("picture", "audio"),
        classes=CLASSES,
        aliases=ALIASES,
        any_case=True,
        given_parts=True,
        all_classes=False,
        part_numbers=False,
    )
    """What counts as a picture or a clip, and what is refused."""
    split: SplitConfig = SplitConfig()
    """How the files are divided where the source is not divided into train, val and test already."""
    leave_out_leaks: bool = False
    """Where the source is divided already and a file lies in two parts: leave out the copy in the part that is trained
    on (or chosen by), instead of stopping until a person has removed one."""
    clip: ClipConfig = ClipConfig()
    """How a clip of sound becomes pictures."""
    trial: EmotionTrial = EmotionTrial()
    """The baseline that each trial's file is laid over."""

    @property
    def features(self) -> PictureConfig:
        """Everything that decides what the prepared pictures look like."""
        return PictureConfig(side=self.trial.data.img_size, clip=self.clip)
