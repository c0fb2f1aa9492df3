"""Moments: hits that sound at once are seen in one picture, so they are trained as one item."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ml.data.windows import class_weights

if TYPE_CHECKING:
    from ml.studies.drums.material import Hits


def moments(hits: Hits, own: np.ndarray, within: int) -> tuple[np.ndarray, np.ndarray]:
    """Of the hits `own` the first of each moment, and bool `(moments, components)`: what sounds in it.

    A moment is a hit and all that follow it within so many samples.
    """
    ordered = own[np.lexsort((hits.start[own], hits.first[own]))]
    heads = []
    end, recording = -1, -1
    for index, start, first in zip(
        ordered.tolist(), hits.start[ordered].tolist(), hits.first[ordered].tolist(), strict=True
    ):
        if first != recording or start > end:
            heads.append(index)
            end, recording = start + within, first
    found = np.sort(np.array(heads, dtype=np.int64))
    return found, hits.together[found]


def balanced(targets: np.ndarray, strength: float) -> np.ndarray:
    """The weight of each item, that of the rarest of its components: 0 all alike, 1 all components equally often."""
    counts = targets.sum(axis=0)
    there = counts > 0
    weights = np.zeros(targets.shape[1])
    weights[there] = class_weights(counts[there], strength)
    return (targets * weights).max(axis=1)
