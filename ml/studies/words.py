"""Words of reports: how many of what, the first of many names, and lines that fit a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

WIDTH = 110
"""Longest line."""


def counted(number: int, thing: str) -> str:
    """Such as `1 hit` or `2 hits`."""
    return f"{number} {thing}{'' if number == 1 else 's'}"


def first_of(names: Sequence[str], most: int) -> str:
    """Names, the first of many: `a, b and 7 more`."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def wrapped(head: str, text: str) -> list[str]:
    """`text` behind `head`, further lines indented; names with hyphens stay whole."""
    return textwrap.wrap(text, WIDTH, initial_indent=head, subsequent_indent=" " * 6, break_on_hyphens=False)
