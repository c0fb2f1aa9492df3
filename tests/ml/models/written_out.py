"""ResNet18 written out, with the names that torchvision gives its weights: what ours must equal."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


class Block(nn.Module):
    """Two convolutions beside a shortcut, as in the paper; names as torchvision has them."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)
        self.downsample = (
            nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))
            if stride != 1 or before != after
            else nn.Identity()
        )

    def forward(self, pictures: Tensor) -> Tensor:
        inner = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(pictures)))))
        return functional.relu(inner + self.downsample(pictures))


class WrittenOut(nn.Module):
    """ResNet18 as the paper's table and torchvision have it."""

    def __init__(self, widths: tuple[int, ...], classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, widths[0], 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        before = (widths[0], *widths)
        self.stages = nn.ModuleList(
            nn.Sequential(Block(before[number], width, 1 if number == 0 else 2), Block(width, width, 1))
            for number, width in enumerate(widths)
        )
        self.fc = nn.Linear(widths[-1], classes)

    def forward(self, pictures: Tensor) -> Tensor:
        made = functional.max_pool2d(functional.relu(self.bn1(self.conv1(pictures))), 3, 2, 1)
        for stage in self.stages:
            made = stage(made)
        return self.fc(made.mean(dim=(2, 3)))


def as_written_out(name: str) -> str:
    """The name of a weight in the network written out above."""
    for ours, theirs in (
        ("resnet.embedder.embedder.convolution", "conv1"),
        ("resnet.embedder.embedder.normalization", "bn1"),
        ("resnet.encoder.stages", "stages"),
        (".layers.", "."),
        ("layer.0.convolution", "conv1"),
        ("layer.0.normalization", "bn1"),
        ("layer.1.convolution", "conv2"),
        ("layer.1.normalization", "bn2"),
        ("shortcut.convolution", "downsample.0"),
        ("shortcut.normalization", "downsample.1"),
        ("classifier.1", "fc"),
    ):
        name = name.replace(ours, theirs)
    return name
