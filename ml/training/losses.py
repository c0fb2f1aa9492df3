"""Losses of a classifier, item by item, so that a lesson can mix them, weigh them and add them up."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

SURE = 1e-12
"""What is at least missing to certainty: below it the power of a focal loss has no slope that could be computed."""


def classification_losses(
    logits: Tensor,
    labels: Tensor,
    *,
    kind: Literal["ce", "focal"] = "ce",
    gamma: float = 2.0,
    label_smoothing: float = 0.0,
    weights: Tensor | None = None,
) -> Tensor:
    """The loss of each item `(b,)`, from `logits` `(b, classes)` in float32 and `labels` `(b,)`.

    Cross-entropy, its targets softened by `label_smoothing` (Szegedy et al., 2016) and each class weighted by `weights`
    `(classes,)`, exactly as torch's CrossEntropyLoss without reduction. The focal loss (Lin et al., 2017) multiplies it
    by (1 - p) ** gamma, where p is the probability that the model gives to the item's own class, as it is.

    Where the weights have the mean 1 over the training items (`ml.data.windows.class_weights` of strength 1), the sum
    of the losses divided by the number of items is a mean, whatever classes a batch happens to hold.
    """
    losses = functional.cross_entropy(logits, labels, weight=weights, label_smoothing=label_smoothing, reduction="none")
    if kind == "ce":
        return losses
    own = logits.log_softmax(dim=1).gather(1, labels[:, None]).squeeze(1)
    missing = -torch.expm1(own)
    return losses * missing.clamp_min(SURE) ** gamma
