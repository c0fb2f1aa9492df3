"""A grid of settings: the points that a file with a `grid` stands for, in the order in which it names them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

from ml.config import ConfigError

MOST = 20_000
"""Points of one grid. Each is a trial and a partition; more than this is a slip of the pen."""


def points_of(grid: Any, values: dict[str, Any], where: str) -> Iterator[dict[str, Any]]:
    """`values` with each combination of the settings in `grid` (dotted name to a list), the last one fastest."""
    _require_lists(grid, values, where)
    count = math.prod(len(choices) for choices in grid.values())
    if count > MOST:
        sizes = " x ".join(str(len(choices)) for choices in grid.values())
        raise ConfigError(f"{where}: the grid has {sizes} = {count} points; up to {MOST} are possible")
    for combination in itertools.product(*grid.values()):
        point = values
        for setting, value in zip(grid, combination, strict=True):
            point = _with(point, setting.split("."), value)
        yield point


def _require_lists(grid: Any, values: dict[str, Any], where: str) -> None:
    if not isinstance(grid, dict) or not grid:
        raise ConfigError(f"{where}: `grid` is {grid!r}; expected lines such as `training.lr: [1e-4, 5e-4]` below it")
    for setting, choices in grid.items():
        if not isinstance(choices, list) or not choices:
            raise ConfigError(f"{where}: `grid`: `{setting}` is {choices!r}; expected a list of values")
        _require_setting(setting, values, where)


def _require_setting(setting: Any, values: dict[str, Any], where: str) -> None:
    at: Any = values
    for name in str(setting).split("."):
        if not isinstance(at, dict) or name not in at:
            allowed = f"; allowed there: {', '.join(sorted(at))}" if isinstance(at, dict) else ""
            raise ConfigError(f"{where}: `grid`: there is no setting `{setting}`{allowed}")
        at = at[name]


def _with(values: dict[str, Any], path: list[str], value: Any) -> dict[str, Any]:
    """A copy of `values` that says `value` at `path`; what is beside it is shared."""
    name, *below = path
    return values | {name: _with(values[name], below, value) if below else value}
