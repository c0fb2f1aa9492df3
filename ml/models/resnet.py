"""ResNet18 for pictures of any size, with dropout before its last layer.

He, Zhang, Ren, Sun: Deep residual learning for image recognition, 2015. A picture `(3, height, width)` becomes 512
numbers, each a mean over the picture, and one layer makes classes of them; so a batch of any square fits.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn
from transformers import ResNetConfig as Architecture
from transformers import ResNetForImageClassification

from ml.models.hub import ModelUnavailable, weights_folder
from ml.models.resnet_config import CHANNELS_IN, ResNetConfig
from ml.models.saved import load_whole, names_of

BACKBONE = ("resnet.",)
"""How the names of all parameters but the head's begin: what is frozen while only the head is trained."""

DEPTHS = [2, 2, 2, 2]
"""Blocks per stage of a ResNet18."""

log = logging.getLogger(__name__)


class DroppingResNet(ResNetForImageClassification):
    """transformers' ResNet with dropout before the head; its weights have the same names."""

    def __init__(self, config: Architecture) -> None:
        super().__init__(config)
        # Within the step that has no weights, so that the head stays classifier.1 in every file.
        self.classifier[0] = nn.Sequential(nn.Flatten(), nn.Dropout(getattr(config, "head_dropout", 0.0)))


def build_resnet(config: ResNetConfig, *, labels: Sequence[str], seed: int) -> nn.Module:
    """A classifier of `(batch, 3, height, width)` into `labels`; its answer's `.logits` are `(batch, labels)`.

    The head is always new, drawn from `seed`; so is everything where the weights are random, after He et al. as
    torchvision draws them. Raises `ModelUnavailable` where pretrained weights cannot be had.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if config.weights is None:
            return _from_scratch(config, labels)
        return _from_pretrained(config, config.weights, labels)


def restore(folder: Path) -> nn.Module:
    """The ResNet that `ml.models.saved.save_model` wrote, its dropout included."""
    return load_whole(DroppingResNet, folder, "ResNet")


def _from_scratch(config: ResNetConfig, labels: Sequence[str]) -> nn.Module:
    return DroppingResNet(
        Architecture(
            embedding_size=config.widths[0],
            hidden_sizes=list(config.widths),
            depths=DEPTHS,
            layer_type="basic",
            head_dropout=config.dropout,
            **names_of(labels),
        )
    )


def _from_pretrained(config: ResNetConfig, weights: str, labels: Sequence[str]) -> nn.Module:
    if config.widths != ResNetConfig().widths:
        log.warning("model.widths has no effect: %s decides its own sizes", weights)
    folder = weights_folder(weights)
    model = load_whole(DroppingResNet, folder, "ResNet", ours={"head_dropout": config.dropout})
    known = model.config
    if (known.layer_type, known.depths, known.num_channels) != ("basic", DEPTHS, 3):
        raise ModelUnavailable(
            f"{folder} holds a ResNet with {known.depths} {known.layer_type} blocks for {known.num_channels} channels; "
            f"{config.arch} has {DEPTHS} basic blocks for 3: name the weights of such a one in model.pretrained"
        )
    unsafe = [width for width in known.hidden_sizes if width % CHANNELS_IN]
    if unsafe:
        raise ModelUnavailable(
            f"{folder} holds a ResNet with {unsafe[0]} channels in a stage; torch computes it safely in steps of "
            f"{CHANNELS_IN} only: name other weights in model.pretrained"
        )
    model.classifier[1] = nn.Linear(known.hidden_sizes[-1], len(labels))
    known.update(names_of(labels))
    model.num_labels = len(labels)
    return model
