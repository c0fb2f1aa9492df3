"""What a concert trial may say, and what a lab may say about the study."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from ml.config import Config
from ml.data.inventory import InventoryConfig
from ml.data.split import SplitConfig
from ml.data.windows import WindowConfig
from ml.features.fbank import FbankConfig
from ml.models.ast_config import AstConfig
from ml.studies.study import StudySettings, TrialConfig

CLASSES = ("APPLAUSE", "MUSIC", "PUBLIC", "SPEECH", "TUNING")


class TrainingConfig(Config):
    """How the classifier is trained."""

    epochs: int = Field(default=5, ge=1, le=1000)
    """Passes over as many windows as the training part has."""
    batch: int = Field(default=16, ge=1, le=4096)
    """Windows per step of the optimizer; halved inside a step, never as a whole, when memory runs out."""
    learning_rate: float = Field(default=1e-4, gt=0, le=1)
    """AdamW's step size, constant."""
    weight_decay: float = Field(default=0.01, ge=0, le=1)
    """AdamW's decoupled weight decay."""
    clip_norm: float | None = Field(default=None, gt=0)
    """Gradients are scaled down to this norm; null leaves them as they are."""
    patience: int | None = Field(default=None, ge=1)
    """Epochs without a better validation value before training stops; null trains all epochs."""


class ConcertTrial(TrialConfig):
    """One point of the concert study."""

    of_the_study: ClassVar[tuple[str, ...]] = ("select_by",)

    balance_strength: float = Field(default=0.5, ge=0.0, le=1.0)
    """0 draws windows as they occur, 1 draws every class equally often: weight = (N / (C * n_c)) ** strength."""
    select_by: Literal["accuracy", "macro_recall", "macro_f1"] = "accuracy"
    """The validation metric over windows that chooses the best epoch and the best trial; the same for all trials."""
    window: WindowConfig = WindowConfig()
    """How recordings are cut into windows."""
    model: AstConfig = AstConfig()
    """The network."""
    training: TrainingConfig = TrainingConfig()
    """How it is trained."""

    def content(self) -> dict[str, Any]:
        return self.identity() | {"model": self.model.identity()}


class ConcertSettings(StudySettings):
    """The concert study in a lab."""

    inventory: InventoryConfig = InventoryConfig(classes=CLASSES)
    """What counts as a recording, and what is refused."""
    split: SplitConfig = SplitConfig()
    """How recordings are divided."""
    features: FbankConfig = FbankConfig()
    """How sound becomes numbers; as AST was trained."""
    trial: ConcertTrial = ConcertTrial()
    """The baseline that each trial's file is laid over."""
