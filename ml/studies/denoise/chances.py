"""Numbers that look random and are pure functions of a name and of item numbers: no generator, no state, no order.

Each item's numbers are the same in whatever batch, micro-batch or process it is drawn.
"""

from __future__ import annotations

import hashlib

import numpy as np

STEP = np.uint64(0x9E3779B97F4A7C15)


def chances(name: str, items: np.ndarray, count: int) -> np.ndarray:
    """`count` numbers in [0, 1) for each of the integers `items` (b,): float64 (count, b), keyed by `name`.

    Steele, Lea, Flood, Fast splittable pseudorandom number generators (OOPSLA 2014): its last step scatters the bits.
    """
    key = np.frombuffer(hashlib.sha256(name.encode()).digest()[:8], dtype="<u8")
    of_item = _scattered(items.astype(np.uint64) * STEP + key)
    drawn = _scattered(of_item + (np.arange(1, count + 1, dtype=np.uint64) * STEP)[:, None])
    return (drawn >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _scattered(bits: np.ndarray) -> np.ndarray:
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))
