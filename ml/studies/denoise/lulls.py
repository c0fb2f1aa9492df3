"""Where in a recording the noise of a whole file begins: where it is heard, not in one of its lulls.

Barks with silence between them are noise too; a file that met only the silence would be clean, and judge nothing.
"""

from __future__ import annotations

import numpy as np

from ml.features.waveforms import energy

HEARD = 10 ** (-10 / 20)
"""Share of the recording's level (10 dB below it) from which on a stretch is heard."""


def start_of_noise(recording: np.ndarray, level: float, start: int, length: int) -> int:
    """`start`, if the `length` samples from there are heard beside the whole `recording` (n,), whose level is `level`.

    Else it goes on by `length` until they are. Behind its end the recording begins again. One turn through it is
    enough: of the stretches that cover it at least one is not more than 3 dB below the whole.
    """
    own = len(recording)
    if length >= own:
        return start
    for at in range(start, start + own, length):
        if np.sqrt(_energy(recording, at % own, length) / length) >= HEARD * level:
            return at % own
    return start


def _energy(recording: np.ndarray, start: int, length: int) -> float:
    """Sum of squares of `length` samples, fewer than there are, from `start` on and round the end."""
    end = start + length
    return energy(recording[start:end]) + energy(recording[: max(0, end - len(recording))])
