"""Moments: hits that sound at once are seen in one picture, so they are trained as one item; and those without any."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ml.data.windows import class_weights

if TYPE_CHECKING:
    from ml.studies.drums.material import Hits

AWAY_MS = 60
"""Further from every hit than a hit may be from its place in the map, nothing is hit."""
STEP_MS = 20
"""From one such moment to the next."""
POOL = 200_000
"""So many of them, spread over all songs, are drawn from."""


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


def nothing_hit(hits: Hits, own: np.ndarray, rate: int) -> np.ndarray:
    """int64 (3, n): start, first and last of moments at which nothing is hit, in songs between the hits `own`.

    What begins in a song and is no drum must not be taken for one. Before its first hit and after its last one a song
    may have what its map leaves out, and so may a recording with a single hit: there nothing is taken.
    """
    if not len(own):
        return np.zeros((3, 0), dtype=np.int64)
    away, step = AWAY_MS * rate // 1000, STEP_MS * rate // 1000
    order = own[np.lexsort((hits.start[own], hits.first[own]))]
    start, first = hits.start[order], hits.first[order]
    same = first[1:] == first[:-1]
    begin, end = start[:-1] + away, start[1:] - away
    count = np.where(same, np.maximum(0, (end - begin) // step + 1), 0)
    which = np.repeat(np.arange(len(count)), count)
    within = np.arange(len(which)) - np.repeat(np.cumsum(count) - count, count)
    thinned = slice(None, None, 1 + len(which) // POOL)
    which, within = which[thinned], within[thinned]
    found = order[which]
    return np.stack([begin[which] + within * step, hits.first[found], hits.last[found]]).astype(np.int64)
