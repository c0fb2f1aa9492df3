"""The rows that records bring to the tables, as frames with the columns of schema.sql."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from storage import durable, tables
from storage.records import Record, Records

_DTYPES = {"VARCHAR": "object", "JSON": "object", "TIMESTAMP": "object", "DOUBLE": "float64", "BOOLEAN": "boolean"}


@dataclass
class Harvest:
    """What was read from the records of some trials and studies."""

    attempts: list[dict[str, Any]] = field(default_factory=list)
    trials: list[dict[str, Any]] = field(default_factory=list)
    settings: list[dict[str, Any]] = field(default_factory=list)
    studies: list[dict[str, Any]] = field(default_factory=list)
    row_counts: list[dict[str, Any]] = field(default_factory=list)
    parquet: dict[str, list[str]] = field(default_factory=dict)
    """Table to the Parquet files with its rows."""

    damaged: list[str] = field(default_factory=list)

    def frames(self) -> dict[str, pd.DataFrame]:
        """Table to its rows, for the tables that are made from the accounts."""
        rows = {name: getattr(self, name) for name in ("attempts", "trials", "settings", "studies", "row_counts")}
        return {name: frame_of(name, found) for name, found in rows.items() if found}

    def add_trial(self, records: Records, study: str, trial: str, ended: Mapping[int, bool]) -> None:
        """Reads the attempts of one trial that `Records.ended` gave; the newest finished one brings its tables."""
        begun = records.begun(study, trial)
        healthy: dict[int, Record] = {}
        rows: dict[int, dict[str, Any]] = {}
        for number, left_record in sorted(ended.items()):
            row = {"study": study, "trial": trial, "attempt": number, "status": "interrupted"}
            row |= {key: begun.get(number, {}).get(key) for key in ("run_id", "started")}
            if left_record:
                try:
                    record = records.read(study, trial, number)
                    record.check()
                    healthy[number] = record
                    row = record.account
                except durable.Damaged as problem:
                    self.damaged.append(str(problem))
                    row |= {"status": "damaged", "error": str(problem)}
            rows[number] = row
        if not rows:
            return
        finished = [number for number, record in healthy.items() if record.account["status"] == "finished"]
        shown = max(finished or rows)
        self.attempts += rows.values()
        self.trials.append(rows[shown])
        self.settings += settings_of(rows[shown])
        if finished:
            self._take(healthy[shown], kind=None)

    def add_noted(self, record: Record, kind: str) -> None:
        """Reads the newest account of a study as a whole."""
        account = record.account
        self.studies.append(
            {"study": record.study, "kind": kind, "number": record.number, "account": account}
            | {"fingerprint": account["fingerprint"]}
        )
        self._take(record, kind)

    def _take(self, record: Record, kind: str | None) -> None:
        owner = {"study": record.study, "trial": record.trial, "kind": kind, "number": record.number}
        for name, entry in record.tables.items():
            self.parquet.setdefault(name, []).append(str(record.path(name)))
            self.row_counts.append({**owner, "table_name": name, "rows": entry["rows"]})


def settings_of(row: dict[str, Any]) -> list[dict[str, Any]]:
    """The configuration in `row` as rows of `settings`."""
    changes = row.get("changes") or {}
    found = []
    for setting, value in _flat(row.get("config") or {}):
        before = changes[setting][0] if setting in changes else None
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        found.append(
            {
                "study": row["study"],
                "trial": row["trial"],
                "setting": tables.unicode_of(setting),
                "value": text_of(value),
                "number": float(value) if is_number else None,
                "changed": setting in changes,
                "before": text_of(before),
            }
        )
    return found


def _flat(config: dict[str, Any], place: str = "") -> Iterable[tuple[str, Any]]:
    for name, value in config.items():
        setting = f"{place}.{name}" if place else name
        if isinstance(value, dict):
            yield from _flat(value, setting)
        else:
            yield setting, value


def frame_of(table: str, rows: list[dict[str, Any]]) -> pd.DataFrame:
    """`rows` with exactly the columns of `table`, typed, so that DuckDB guesses nothing."""
    columns = {}
    for name, kind in tables.columns_of(table).items():
        values = [_fit(row.get(name), kind) for row in rows]
        columns[name] = pd.array(values, dtype=_DTYPES.get(kind, "Int64"))
    return pd.DataFrame(columns)


def _fit(value: Any, kind: str) -> Any:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return None
    if kind == "JSON":
        return json.dumps(_plain(value), ensure_ascii=False)
    if kind == "VARCHAR" and isinstance(value, list):  # sentences
        return "; ".join(tables.unicode_of(str(one)) for one in value) or None
    return text_of(value) if kind in ("VARCHAR", "TIMESTAMP") else value


def text_of(value: Any) -> str | None:
    """A value as a person would write it: text as it is, everything else as JSON."""
    value = _plain(value)
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _plain(value: Any) -> Any:
    """JSON has no NaN and no infinity (they become null), and no text that is not Unicode."""
    if isinstance(value, dict):
        return {tables.unicode_of(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else tables.unicode_of(value)
