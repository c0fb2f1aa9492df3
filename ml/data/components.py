"""The components of a drum kit: their names, other names for them, and how many hits of each are wanted."""

from __future__ import annotations

from typing import NamedTuple

COMPONENTS = (
    "kick",
    "snare",
    "hihat_closed",
    "hihat_open",
    "crash",
    "ride",
    "tom_high",
    "tom_mid",
    "tom_low",
    "crash2",
    "ride_bell",
    "china",
)
"""In the order of the network's outputs."""

ALIASES: dict[str, tuple[str, ...]] = {
    "kick": ("bass_drum", "bassdrum", "kick_drum", "bd"),
    "snare": ("snare_drum", "sd"),
    "hihat_closed": ("closed_hihat", "hihat", "hi_hat_closed", "closed_hat", "chh"),
    "hihat_open": ("open_hihat", "hi_hat_open", "open_hat", "ohh"),
    "crash": ("crash1", "crash_cymbal"),
    "ride": ("ride_cymbal",),
    "tom_high": ("high_tom", "hi_tom", "tom1"),
    "tom_mid": ("mid_tom", "tom2"),
    "tom_low": ("low_tom", "floor_tom", "tom3"),
    "crash2": ("crash_2",),
    "ride_bell": ("bell",),
    "china": ("china_cymbal",),
}
"""Other names of a component, as folders and beatmaps may have them."""


class Wanted(NamedTuple):
    """Hits of a component: below the least a network learns little of it."""

    least: int
    recommended: int


WANTED: dict[str, Wanted] = {
    "kick": Wanted(100, 500),
    "snare": Wanted(100, 500),
    "hihat_closed": Wanted(150, 750),
    "hihat_open": Wanted(50, 250),
    "crash": Wanted(75, 300),
    "ride": Wanted(75, 300),
    "tom_high": Wanted(50, 200),
    "tom_mid": Wanted(50, 200),
    "tom_low": Wanted(50, 200),
}
"""Nothing is asked of the three components that are not listed."""


def component_named(said: str) -> str | None:
    """The component that a name means, in any case and with - or spaces for _; None where it means none."""
    name = said.strip().casefold().replace("-", "_").replace(" ", "_")
    return _KNOWN.get(name)


_KNOWN = {other: name for name in COMPONENTS for other in (name, *ALIASES[name])}
