"""Which names may become a folder of the lab: those that mean the same on every machine and lead nowhere else."""

from __future__ import annotations

import re

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+=-]{0,120}\Z")
_RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))}
"""Names that Windows gives to devices, with any extension."""


class BadName(ValueError):
    """A name that cannot become a folder: what it is, and what is allowed."""


def check_name(name: str, what: str) -> str:
    """`name` itself when it is fit to be a folder; `what` ("study", "trial") begins the sentence when it is not."""
    fit = isinstance(name, str) and _NAME.match(name) and ".." not in name and not name.endswith(".")
    if not fit or name.split(".")[0].lower() in _RESERVED:
        raise BadName(
            f"{what} {name!r} cannot be used as a name: use up to 121 letters, digits and . _ + = - "
            "(a letter or digit first, no `..`, no dot at the end, no device name such as NUL)"
        )
    return name
