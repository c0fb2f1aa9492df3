"""Training batches straight out of the mapped frames: no worker processes, nothing per window in Python."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

AUDIOSET_MEAN, AUDIOSET_STD = -4.2677393, 4.5689974
"""Of the log-mel energies of AudioSet, with which AST normalises (Gong, Chung, Glass, Interspeech 2021)."""

RESIDENT_SHARE = 0.5
"""Of a GPU's free memory that the features may take for good; beyond that they stay here and only batches travel."""
BUFFER_BYTES = 64 * 1024**2
"""On the way to a GPU."""


class Gather:
    """Windows of a frame store as normalised tensors `(batch, frames, mels)` on a device.

    On a GPU the whole array moves there once where it fits; otherwise each batch travels as float16 from pinned memory.
    """

    def __init__(
        self,
        frames: NDArray[np.float16],
        frames_per_window: int,
        device: torch.device | str = "cpu",
        mean: float = AUDIOSET_MEAN,
        std: float = AUDIOSET_STD,
    ) -> None:
        import torch

        rows, mels = frames.shape
        if rows < frames_per_window:
            raise ValueError(f"a window has {frames_per_window} frames, but the whole store has only {rows}")
        self.device = torch.device(device)
        self._mean, self._scale = mean, 2 * std
        self._length = frames_per_window
        self._positions = torch.arange(frames_per_window, device=self.device)
        # Every window that can be cut, as a view: the row steps of window and frame are the same.
        self._windows = np.lib.stride_tricks.as_strided(
            frames,
            (rows - frames_per_window + 1, frames_per_window, mels),
            (frames.strides[0], frames.strides[0], frames.strides[1]),
            writeable=False,
        )
        self._resident = resident(frames, self.device)

    def batch(self, starts: NDArray[np.int64], valid: NDArray[np.int32]) -> torch.Tensor:
        """The windows that begin at rows `starts` (b,), as float32 (b, frames, mels): (x - mean) / (2 std).

        Frames at and beyond `valid` (b,) do not belong to the recording and are 0, which is the mean.
        """
        import torch

        if self._resident is not None:
            first = torch.from_numpy(starts).to(self.device)
            halves = self._resident[first[:, None] + self._positions]
        else:
            halves = torch.from_numpy(self._windows[starts])
            if self.device.type == "cuda":
                halves = halves.pin_memory()
            halves = halves.to(self.device, non_blocking=True)
        batch = halves.to(torch.float32).sub_(self._mean).div_(self._scale)
        cut = np.flatnonzero(valid < self._length)
        if len(cut):  # few are: only they pay for the mask
            which, ends = torch.from_numpy(cut).to(self.device), torch.from_numpy(valid[cut]).to(self.device)
            beyond = self._positions >= ends[:, None]
            batch[which] = batch[which].masked_fill_(beyond[:, :, None], 0.0)
        return batch


def resident(rows: NDArray[Any], device: torch.device) -> torch.Tensor | None:
    """The whole array on the GPU, or None where it does not fit or there is none.

    It goes through a small buffer: the map is never in memory at once.
    """
    import torch

    if device.type != "cuda" or rows.nbytes > RESIDENT_SHARE * torch.cuda.mem_get_info(device)[0]:
        return None
    at_once = max(1, BUFFER_BYTES // rows[:1].nbytes)
    there = torch.empty(rows.shape, dtype=torch.from_numpy(np.empty(0, rows.dtype)).dtype, device=device)
    for first in range(0, len(rows), at_once):
        piece = np.array(rows[first : first + at_once])
        there[first : first + len(piece)] = torch.from_numpy(piece)
    return there
