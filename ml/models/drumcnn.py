"""DrumCNN: pictures of hits in, a number for each component of a drum kit out.

Four blocks of convolution, batch norm and ReLU halve the picture between them; the last one's answer is averaged over
the picture, so that a batch of any size of pictures fits. The names of the weights are those of `conv1` to `fc`, in
every file of them.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ml.config import ConfigError, read_config
from ml.models.checkpoint import load_checkpoint, transfer
from ml.models.drumcnn_config import BLOCKS, DrumCNNConfig
from ml.models.hub import ModelUnavailable
from ml.models.saved import load_own_weights, said_settings

OUTPUTS = 12
"""Components that are told apart."""
KERNELS = tuple(f"conv{block}.weight" for block in range(1, BLOCKS + 1))
"""The weights that say how many channels the blocks have."""
FIRST_BLOCKS = ("conv1.", "bn1.", "conv2.", "bn2.")
"""How the names of the parameters begin that rest while the later layers are fine-tuned."""

log = logging.getLogger(__name__)


class Answer(NamedTuple):
    """What the network says of a batch."""

    logits: Tensor
    """`(batch, OUTPUTS)`."""


class DrumCNN(nn.Module):
    """`(batch, 1, mels, columns)` into the logits of the components."""

    def __init__(self, config: DrumCNNConfig) -> None:
        super().__init__()
        self.config = config
        one, two, three, four = config.channels
        self.conv1, self.bn1 = _convolution(1, one), nn.BatchNorm2d(one)
        self.conv2, self.bn2 = _convolution(one, two), nn.BatchNorm2d(two)
        self.conv3, self.bn3 = _convolution(two, three), nn.BatchNorm2d(three)
        self.conv4, self.bn4 = _convolution(three, four), nn.BatchNorm2d(four)
        self.pool, self.average = nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(config.dropout)
        self.fc = nn.Linear(four, OUTPUTS)
        # A fresh network takes each component for as likely as the others, asked for one by one or against each other.
        nn.init.constant_(self.fc.bias, -math.log(OUTPUTS - 1))

    def forward(self, pictures: Tensor) -> Answer:
        """The logits of `pictures`."""
        # The largest of four rectified is the largest of the four, rectified: the latter is a quarter of the work.
        found = self.pool(self.bn1(self.conv1(pictures))).relu_()
        found = self.pool(self.bn2(self.conv2(found))).relu_()
        found = self.pool(self.bn3(self.conv3(found))).relu_()
        found = self.average(self.bn4(self.conv4(found)).relu_())
        return Answer(self.fc(self.dropout(found.flatten(1))))


def build_drumcnn(config: DrumCNNConfig, *, seed: int) -> DrumCNN:
    """A network drawn from `seed`, the same numbers at every call; what fits of `config.checkpoint` is laid over it.

    Raises `ModelUnavailable` where there is no such checkpoint or nothing of it fits.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = DrumCNN(config)
    if config.checkpoint is not None:
        for note in transfer(model, load_checkpoint(Path(config.checkpoint).expanduser()), config.checkpoint):
            _say_once(note)
    return model


def restore(folder: Path) -> DrumCNN:
    """The network that `ml.models.saved.save_model` wrote."""
    try:
        # Where its weights began is no longer of any use: they are in the folder.
        said = said_settings(folder) | {"checkpoint": None}
        config = read_config(DrumCNNConfig, said, str(folder / "config.json"))
    except ConfigError as problem:
        raise ModelUnavailable(f"{folder} holds no DrumCNN that can be loaded: {problem}") from None
    model = DrumCNN(config)
    load_own_weights(model, folder, "DrumCNN")
    return model


def from_state(state: Mapping[str, Tensor], where: str) -> DrumCNN:
    """The network, in eval mode, whose weights `state` is; `where` names them to a person.

    Raises `ModelUnavailable` where they are not all weights of a DrumCNN.
    """
    try:
        config = DrumCNNConfig(channels=tuple(state[name].shape[0] for name in KERNELS))  # type: ignore[arg-type]
        model = DrumCNN(config)
        counters = {name: value for name, value in model.state_dict().items() if name.endswith("num_batches_tracked")}
        model.load_state_dict({**counters, **state})
    except KeyError as problem:
        raise ModelUnavailable(f"{where} holds no DrumCNN: {problem} is missing") from None
    except (IndexError, ValueError, RuntimeError) as problem:
        raise ModelUnavailable(f"{where} holds no DrumCNN: {' '.join(str(problem).split())[:300]}") from None
    return model.eval()


@cache
def _say_once(note: str) -> None:
    """A trial builds its network several times; the person is told the first time."""
    log.warning("%s", note)


def _convolution(into: int, out: int) -> nn.Conv2d:
    return nn.Conv2d(into, out, 3, padding=1)
