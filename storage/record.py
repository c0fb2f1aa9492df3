"""One record on disk: a sealed account and one Parquet file per table, written once and never changed."""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from storage import durable, tables

NEW = ".new-"
"""How the folder of an unfinished record is named; `.new-000003` becomes `000003`."""


@dataclass(frozen=True)
class Record:
    """One account on disk. `number` is the attempt at a trial, or counts the accounts of one kind of a study."""

    study: str
    trial: str | None
    number: int
    folder: Path
    account: dict[str, Any]
    tables: dict[str, dict[str, Any]]
    """Table to {"sha256", "bytes", "rows"}."""

    @property
    def attempt(self) -> int:
        return self.number

    def path(self, table: str) -> Path:
        """The Parquet file of one of `tables`."""
        return self.folder / f"{table}.parquet"

    def table(self, name: str) -> pd.DataFrame:
        """The rows of one table, every byte checked; an empty frame where the record brought none."""
        if name not in self.tables:
            return tables.empty(name)
        self._check(name)
        return tables.read_parquet(name, self.path(name))

    def check(self) -> None:
        """Raises `durable.Damaged` when a byte of the tables is not what was written."""
        for name in self.tables:
            self._check(name)

    def _check(self, name: str) -> None:
        path = self.path(name)
        try:
            healthy = durable.sha256_of(path) == self.tables[name]["sha256"]
        except FileNotFoundError:
            raise durable.Damaged(f"{path}: gone") from None
        if not healthy:
            raise durable.Damaged(f"{path}: does not match the SHA-256 it was written with")


def read(place: Path, number: int, study: str, trial: str | None) -> Record:
    """The record `number` in `place`; `Damaged` when its account is not what was written."""
    folder = place / f"{number:06d}"
    try:
        body = durable.read_sealed(folder / "record.json")
    except FileNotFoundError:
        raise durable.Damaged(f"{folder / 'record.json'}: gone") from None
    if (body["study"], body["trial"], body["number"]) != (study, trial, number):
        raise durable.Damaged(f"{folder}: this is the record of {body['study']}/{body['trial']}, moved here by hand")
    return Record(study, trial, number, folder, body["account"], body["tables"])


def write(
    place: Path,
    number: int,
    study: str,
    trial: str | None,
    account: dict[str, Any],
    frames: dict[str, pd.DataFrame],
    allowed: tuple[str, ...],
) -> Record:
    """Writes a record into `place` in one step; the caller holds the lock under which `place` is written."""
    strangers = sorted(set(frames) - set(allowed))
    if strangers:
        raise tables.TableError(
            f"{place}: tables {', '.join(strangers)} do not belong here; allowed: {', '.join(allowed)}"
        )
    new, final = place / f"{NEW}{number:06d}", place / f"{number:06d}"
    if final.exists():
        raise FileExistsError(f"{final}: this attempt was committed before; an account is never changed")
    with durable.telling_full(final):
        try:
            new.mkdir()
            written = {}
            for name, frame in frames.items():
                if len(frame) == 0:
                    continue
                path = new / f"{name}.parquet"
                rows = tables.write_parquet(frame, name, path, study=study, trial=trial)
                durable.sync_file(path)
                written[name] = {"sha256": durable.sha256_of(path), "bytes": path.stat().st_size, "rows": rows}
            body = {"study": study, "trial": trial, "number": number, "account": account, "tables": written}
            durable.write_sealed(new / "record.json", body)
            durable.replace(new, final)
        except BaseException:
            with contextlib.suppress(OSError):
                shutil.rmtree(new)
            raise
        durable.sync_folder(place)
    return read(place, number, study, trial)
