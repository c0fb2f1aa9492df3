"""Which components are hit close to a hit: kick and crash together are common."""

from __future__ import annotations

import numpy as np

from ml.data.components import COMPONENTS


def sounding(
    recording: np.ndarray, milliseconds: np.ndarray, label: np.ndarray, before: float, after: float
) -> np.ndarray:
    """bool (n, 12): the components of other hits of the same recording from `before` ms before to `after` ms after.

    `recording` and `label` are integers, one entry per hit, in any order.
    """
    found = np.zeros((len(label), len(COMPONENTS)), dtype=bool)
    order = np.lexsort((milliseconds, recording))
    where, when = recording[order], milliseconds[order]
    # Beside its neighbour, then beside the next one: so often as the densest place of all songs has hits.
    left = np.arange(len(order))
    for step in range(1, len(order)):
        left = left[left + step < len(order)]
        right = left + step
        apart = when[right] - when[left]
        near = (where[right] == where[left]) & (apart <= max(before, after) + SLACK_MS)
        left, right, apart = left[near], right[near], apart[near]
        if not len(left):
            break
        later, earlier = apart <= after + SLACK_MS, apart <= before + SLACK_MS
        found[order[left[later]], label[order[right[later]]]] = True
        found[order[right[earlier]], label[order[left[earlier]]]] = True
    return found


def in_words(row: np.ndarray) -> str:
    """The components of one row of `sounding`, by their names."""
    return ", ".join(COMPONENTS[place] for place in np.flatnonzero(row))


SLACK_MS = 1e-6
"""Times are sums of binary fractions: hits exactly at the border are within."""
