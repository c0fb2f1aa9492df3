"""Where things lie: the one folder that is written to. Sources are only ever read."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from storage import durable
from storage.names import check_name

FORMAT = 1
"""Number of the layout of this folder. A lab of a later number is left alone by an older program."""

MARKER = "nocturne-lab.json"
_HARMLESS = {".DS_Store", "Thumbs.db", "desktop.ini", "lost+found"}
"""What operating systems leave in folders that a person calls empty."""
_WRITTEN_BEFORE = {"sources.yaml", "studies.yaml", "machine.yaml", "nights.yaml", "experiments"}
"""What a person may write into a folder that is to be a lab, before the first command makes it one."""

_README = """\
This folder is a Nocturne lab: everything that Nocturne writes is in here, and nothing of yours is.

dagster/         Dagster's own storage: runs, schedules, logs
artifacts/       features, models and training states, found again by fingerprint; made again when they are missing
records/         the account of every attempt at every trial; THE ONLY THING THAT CANNOT BE MADE AGAIN: back this up
results.duckdb   made from the records, to be asked in SQL; safe to delete, made again by `nocturne db rebuild`
reports/         what was written for you to read in the morning
experiments/     your own trials: one folder per study, one YAML per trial
collected/       what you collected for a study with its commands; back this up too
sources.yaml     where the recordings of each study lie (you write it)
studies.yaml     what differs from a study's defaults in this lab (you write it)
nights.yaml      what holds for all nights of this lab: room on the disk, a command in the morning (you write it)
machine.yaml     device, precision and threads of this machine
locks/           empty files that keep two processes from doing the same thing at once

To be rid of all of it, delete the folder. Your recordings are elsewhere and are only ever read.
"""


class NotALab(ValueError):
    """A folder that cannot be used as a lab: why, and what to do."""


@dataclass(frozen=True)
class Lab:
    """The places inside one lab. Making the object touches nothing; `Lab.open` makes the folders."""

    root: Path

    @property
    def dagster_home(self) -> Path:
        return self.root / "dagster"

    @property
    def artifacts(self) -> Path:
        return self.root / "artifacts"

    @property
    def records(self) -> Path:
        return self.root / "records"

    @property
    def results(self) -> Path:
        """The published database: a whole file at any moment, replaced, never written in place."""
        return self.root / "results.duckdb"

    @property
    def collected(self) -> Path:
        """What a person collected with the commands of a study: a source like any other, only that it lies here."""
        return self.root / "collected"

    @property
    def reports(self) -> Path:
        return self.root / "reports"

    @property
    def locks(self) -> Path:
        return self.root / "locks"

    @property
    def machine_holder_file(self) -> Path:
        """Who has the machine now, or had it last."""
        return self.locks / "machine.holder.json"

    @property
    def sources_file(self) -> Path:
        return self.root / "sources.yaml"

    @property
    def studies_file(self) -> Path:
        return self.root / "studies.yaml"

    @property
    def nights_file(self) -> Path:
        return self.root / "nights.yaml"

    @property
    def machine_file(self) -> Path:
        return self.root / "machine.yaml"

    @property
    def resolved_machine_file(self) -> Path:
        """What was found out of the machine; made again when it is missing."""
        return self.root / "machine-resolved.json"

    def experiments(self, study: str) -> Path:
        """Where a person's own trials of `study` lie, one YAML each (the folder need not exist)."""
        return self.root / "experiments" / check_name(study, "study")

    @classmethod
    def open(cls, root: Path) -> Lab:
        """The lab at `root`, made if there is none; refuses a folder that holds something else."""
        lab = cls(Path(os.path.abspath(Path(root).expanduser())))  # noqa: PTH100 - resolve() would follow links
        try:
            _make_private(lab.root)
            _claim(lab.root)
            for folder in (lab.dagster_home, lab.artifacts, lab.records, lab.reports, lab.locks):
                _make_private(folder)
            _make_private(lab.root / "experiments")
        except (FileExistsError, NotADirectoryError) as problem:
            raise NotALab(
                f"{problem.filename}: a file lies where the lab needs a folder; move it or choose another"
            ) from None
        durable.sweep(lab.root)
        readme = lab.root / "README.txt"
        if not readme.exists():
            durable.write_beside(readme, lambda beside: _write(beside, _README))
        return lab


def lab_from(environment: Mapping[str, str]) -> Lab:
    """The lab that `NOCTURNE_LAB` names, else `lab` in the current folder."""
    return Lab.open(Path(environment.get("NOCTURNE_LAB") or "lab"))


def _make_private(folder: Path) -> None:
    # 0700: Dagster's socket and storage inside must not be open to other users of the machine.
    if not folder.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(OSError):
            folder.chmod(0o700)


def _claim(root: Path) -> None:
    marker = root / MARKER
    if marker.exists():
        try:
            number = durable.read_sealed(marker)["format"]
        except (durable.Damaged, KeyError) as problem:
            raise NotALab(
                f"{marker} is damaged ({problem}); if {root} is your lab, delete that one file and write it again "
                f"by opening an empty lab elsewhere and copying its {MARKER}"
            ) from problem
        if number != FORMAT:
            raise NotALab(
                f"{root} is a lab of format {number}, this program knows format {FORMAT}: use the newer program"
            )
        return
    others = sorted(
        entry.name
        for entry in root.iterdir()
        if entry.name not in _HARMLESS | _WRITTEN_BEFORE
        and not entry.name.startswith(durable.TEMPORARY)
        and entry.name != MARKER
    )
    # Another process may have claimed it between the two looks.
    if others and not marker.exists():
        raise NotALab(
            f"{root} is not empty and is no lab (it holds {', '.join(others[:3])}{', …' if len(others) > 3 else ''}); "
            "name an empty or a new folder with NOCTURNE_LAB, or move the rest out. Of yours a new lab may hold "
            f"{', '.join(sorted(_WRITTEN_BEFORE))}; recordings stay where they are, and sources.yaml says where that is"
        )
    durable.write_sealed(marker, {"format": FORMAT, "what": "a Nocturne lab; see README.txt"})


def _write(path: Path, text: str) -> None:
    path.write_bytes(text.encode())
