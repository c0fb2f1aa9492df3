"""The table beside an export: of which song each piece is, and where in it the hit begins."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path
from typing import NamedTuple

LABELS = "labels.csv"
"""Lies in the uppermost folder of an export."""
COLUMNS = ("path", "component", "part", "song", "seconds", "begins", "overlaps", "source")
"""`seconds`: the time in `source`, empty for a one-shot; `begins`: the time in the piece; `overlaps`: what else is in
it."""
MAX_BYTES = 256 * 1024**2
"""No export of a person has a larger table."""


class Piece(NamedTuple):
    """What is known of one exported sound."""

    song: str
    begins: float
    """Seconds from its beginning."""
    overlaps: str


def pieces_of(source: Path) -> dict[str, Piece]:
    """Path of every piece to what the table of an export in `source` says of it; empty where there is no export."""
    table = source / LABELS
    try:
        if not table.is_file() or table.is_symlink() or table.stat().st_size > MAX_BYTES:
            return {}
        text = table.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return {}
    return dict(_rows(text))


def _rows(text: str) -> list[tuple[str, Piece]]:
    lines = csv.DictReader(io.StringIO(text, newline=""))
    found: list[tuple[str, Piece]] = []
    try:
        if tuple(lines.fieldnames or ()) != COLUMNS:
            return []
        for line in lines:
            begins = float(line["begins"])
            if not math.isfinite(begins) or begins < 0:
                return []
            found.append((line["path"], Piece(line["song"], begins, line["overlaps"])))
    except (ValueError, TypeError, csv.Error):  # not as an export writes it
        return []
    return found
