"""What holds for every night of a lab, whatever the study: room on the disk, the GPU, a command in the morning."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from pydantic import Field

from ml.config import Config, read_config, read_yaml
from storage.lab import Lab

GB = 10**9


class NightsOfLab(Config):
    """The lab's `nights.yaml`; all of it may be left out."""

    on_morning: list[str] | str | None = None
    """A command that is run when the morning's report is written, with the report's path as its last argument, such as
    `notify-send Nocturne`. No shell reads it."""
    keep_free_gb: float = Field(default=5.0, ge=0)
    """Gigabytes of the lab's disk that a night leaves free: trials that would need them are not begun."""
    budget_gb: float | None = Field(default=None, gt=0)
    """Gigabytes that training states and features may take together before what nobody needs is removed; null: any."""
    gpu_wait: bool = True
    """Whether a night waits while another program holds the GPU."""
    gpu_spares_mib: int = Field(default=1024, ge=0)
    """MiB of GPU memory that another program may hold without a night waiting for it: a desktop, a browser."""
    standstill_minutes: float = Field(default=30.0, gt=0)
    """A run of a night that computes nothing for so long, as on a drive that hangs, is killed and tried again."""

    @property
    def keep_free_bytes(self) -> int:
        """`keep_free_gb` in bytes."""
        return int(self.keep_free_gb * GB)

    @property
    def budget_bytes(self) -> int | None:
        """`budget_gb` in bytes."""
        return None if self.budget_gb is None else int(self.budget_gb * GB)

    def morning_command(self, report: Path) -> list[str]:
        """The words of `on_morning` and the path of the report; empty where there is no command."""
        said = self.on_morning
        words = shlex.split(said, posix=os.name != "nt") if isinstance(said, str) else list(said or [])
        return [*words, str(report)] if words else []


def nights_of_lab(lab: Lab) -> NightsOfLab:
    """What the lab says of its nights; the defaults where it says nothing."""
    said = read_yaml(lab.nights_file) if lab.nights_file.is_file() else {}
    return read_config(NightsOfLab, said, str(lab.nights_file))
