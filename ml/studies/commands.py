"""The commands that studies add to `nocturne`: a literal tuple, and nothing heavy to import for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ml.studies.denoise.commands import add as add_denoise
from ml.studies.drums.commands import add as add_drums

if TYPE_CHECKING:
    import typer

    from ml.studies.surroundings import Surroundings

COMMANDS: tuple[tuple[str, Callable[[typer.Typer, Surroundings], None]], ...] = (
    ("denoise", add_denoise),
    ("drums", add_drums),
)
"""Name of the study, and what adds its commands; it is told what it may ask of the lab."""
