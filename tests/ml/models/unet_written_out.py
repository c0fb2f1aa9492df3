"""The denoiser's network as anybody would write it, with one-dimensional convolutions: what ours must equal."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional

from ml.models.unet1d_config import UNet1DConfig


class Level(nn.Module):
    """Two convolutions, each with batch norm and ReLU."""

    def __init__(self, into: int, width: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        # A frame of the level is `stride` of the one above: the convolution sees as many whole frames.
        self.first = nn.Conv1d(into, width, kernel * stride, stride, kernel // 2 * stride, bias=False)
        self.first_norm = nn.BatchNorm1d(width)
        self.second = nn.Conv1d(width, width, kernel, 1, kernel // 2, bias=False)
        self.second_norm = nn.BatchNorm1d(width)

    def forward(self, frames: Tensor) -> Tensor:
        frames = functional.relu(self.first_norm(self.first(frames)))
        return functional.relu(self.second_norm(self.second(frames)))


class WrittenOut(nn.Module):
    """The same network by strided and transposed convolutions."""

    def __init__(self, config: UNet1DConfig) -> None:
        super().__init__()
        self.stride = config.stride
        widths, kernel, fold = config.channels, config.kernel, config.fold
        self.apart = nn.Conv1d(1, config.filters, kernel * fold, fold, kernel // 2 * fold, bias=False)
        self.down = nn.ModuleList(
            Level(widths[level - 1] if level else config.filters, width, kernel, 2 if level else 1)
            for level, width in enumerate(widths)
        )
        self.widen = nn.ModuleList(
            nn.ConvTranspose1d(coarse, fine, 2, 2, bias=False) for fine, coarse in pairwise(widths)
        )
        self.up = nn.ModuleList(Level(width, width, kernel) for width in widths[:-1])
        self.share = nn.Conv1d(widths[0], config.filters, 1)
        # A frame is made of the filters of those around it: transposed, each frame speaks into those around it.
        self.together = nn.ConvTranspose1d(config.filters, 1, kernel * fold, fold, kernel // 2 * fold, bias=False)

    def forward(self, waveforms: Tensor) -> Tensor:
        samples = waveforms.shape[1]
        heard = frames = self.apart(functional.pad(waveforms, (0, -samples % self.stride))[:, None])
        passed = []
        for level in self.down:
            frames = level(frames)
            passed.append(frames)
        for number in reversed(range(len(self.up))):
            frames = self.up[number](self.widen[number](frames) + passed[number])
        return waveforms - self.together(heard * self.share(frames).sigmoid())[:, 0, :samples]


def as_written_out(ours: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same weights under the names, and in the shapes, of the network that is written out."""
    written = {}
    for name, value in ours.items():
        kind, number, *rest = name.split(".")
        if kind == "apart":
            value = _unfolded_kernel(value, above=1)
        elif kind == "together":
            value = _spoken(value)
        elif kind == "share":
            value = value[:, :, 0] if value.dim() > 1 else value
        elif kind == "widen":
            value = _transposed(value)
        else:
            place, field = int(rest[0]), rest[1]
            layer = {0: "first", 1: "first_norm", 3: "second", 4: "second_norm"}[place]
            name = f"{kind}.{number}.{layer}.{field}"
            if place == 0 and kind == "down" and number != "0":
                value = _unfolded_kernel(value, above=ours[f"down.{int(number) - 1}.3.weight"].shape[0])
            elif place in (0, 3):
                value = value[:, :, 0]
        written[name] = value
    return written


def _unfolded_kernel(kernel: Tensor, above: int) -> Tensor:
    """`(out, by * above, 1, k)` as `(out, above, by * k)`."""
    out, folded, _, length = kernel.shape
    return kernel.view(out, folded // above, above, length).permute(0, 2, 3, 1).reshape(out, above, -1)


def _transposed(weight: Tensor) -> Tensor:
    """`(2 * fine, coarse, 1, 1)` as a transposed convolution has it, `(coarse, fine, 2)`."""
    folded, coarse = weight.shape[:2]
    return weight.view(2, folded // 2, coarse).permute(2, 1, 0).contiguous()


def _spoken(weight: Tensor) -> Tensor:
    """`(fold, filters, 1, k)` as a transposed convolution has it, `(filters, 1, k * fold)`: the last frame first."""
    fold, filters, _, length = weight.shape
    return weight[:, :, 0].flip(-1).permute(1, 2, 0).reshape(filters, 1, length * fold)
