"""Data frames in and out of Parquet, with the columns that schema.sql declares and no others."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import cache
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd

SCHEMA = Path(__file__).with_name("schema.sql")

OF_A_TRIAL = ("epochs", "metrics", "confusion", "predictions", "draws", "scores")
"""The tables that a trial's record may bring."""

OF_A_STUDY = {
    "inventory": ("files",),
    "split": ("splits",),
    "features": ("window_counts",),
    "comparison": ("comparisons", "importance"),
}
"""Kinds of account of a whole study, and the tables each may bring; an account of another kind brings none."""

_RENAMED = {
    "files": {"label": "class", "group": "recording", "overlaps": "heard_with"},
    "splits": {"label": "class", "group": "recording"},
    "predictions": {"window": "window_number"},
}
"""Table to the columns whose names in frames SQL cannot use without quotes, or says more plainly."""


class TableError(ValueError):
    """A frame that does not fit its table: which column, and what is allowed."""


@cache
def _memory() -> duckdb.DuckDBPyConnection:
    """DuckDB without a file, to write and read Parquet; starting one for each table costs more than the work."""
    return duckdb.connect()


def create(connection: duckdb.DuckDBPyConnection) -> None:
    """Makes the empty tables of schema.sql, every column with its comment."""
    connection.execute(SCHEMA.read_text(encoding="utf-8"))
    unsaid = """SELECT column_name, said.comment
        FROM duckdb_columns() trials JOIN duckdb_columns() said USING (column_name)
        WHERE trials.table_name = 'trials' AND said.table_name = 'attempts' AND trials.comment IS NULL"""
    for column, comment in connection.execute(unsaid).fetchall():
        quoted = comment.replace("'", "''")
        connection.execute(f"COMMENT ON COLUMN trials.\"{column}\" IS '{quoted}'")


def columns_of(table: str) -> dict[str, str]:
    """Column to DuckDB type, in order, as schema.sql declares them."""
    return _declared()[table]


@cache
def _declared() -> dict[str, dict[str, str]]:
    declared: dict[str, dict[str, str]] = {}
    with duckdb.connect() as memory:
        create(memory)
        columns = "SELECT table_name, column_name, data_type FROM duckdb_columns() ORDER BY table_name, column_index"
        for table, column, kind in memory.execute(columns).fetchall():
            declared.setdefault(table, {})[column] = kind
    return declared


def write_parquet(frame: pd.DataFrame, table: str, path: Path, *, study: str, trial: str | None) -> int:
    """Writes `frame` as rows of `table` that belong to `study` and `trial`; how many there are.

    Columns that the frame does not have are NULL; columns that the table does not have are refused.
    """
    declared = columns_of(table)
    owner = {"study": study} if trial is None else {"study": study, "trial": trial}
    frame = frame.rename(columns=_RENAMED.get(table, {}))
    unknown = [str(name) for name in frame.columns if name not in declared or name in owner]
    if unknown:
        allowed = ", ".join(name for name in declared if name not in owner)
        raise TableError(f"{table} has no column {', '.join(unknown)}; its columns are {allowed}")
    parts = []
    for name, kind in declared.items():
        if name in owner:
            parts.append(f'CAST(${name} AS {kind}) AS "{name}"')
        elif name in frame.columns:
            parts.append(f'CAST("{name}" AS {kind}) AS "{name}"')
        else:
            parts.append(f'CAST(NULL AS {kind}) AS "{name}"')
    with _memory().cursor() as memory:
        memory.register("incoming", _storable(frame))
        query = f"SELECT {', '.join(parts)} FROM incoming"  # noqa: S608 - names are those of schema.sql
        try:
            memory.sql(query, params=owner).write_parquet(str(path), compression="zstd")
        except duckdb.ConversionException as problem:
            raise TableError(f"{table}: {str(problem).splitlines()[0]}") from problem
    return len(frame)


def read_parquet(table: str, path: Path) -> pd.DataFrame:
    """The frame that `write_parquet` was given, with all columns of the table."""
    with _memory().cursor() as memory:
        # Folders may be named a=b, which is not meant as a column.
        frame = memory.read_parquet(str(path), hive_partitioning=False).df()
    return _as_given(table, frame)


def empty(table: str) -> pd.DataFrame:
    """A frame of `table` without rows."""
    return _as_given(table, pd.DataFrame(columns=list(columns_of(table))))


def _as_given(table: str, frame: pd.DataFrame) -> pd.DataFrame:
    names = {column: name for name, column in _RENAMED.get(table, {}).items()}
    later = [column for column in columns_of(table) if column not in frame]  # than the record was written
    frame = frame.assign(**dict.fromkeys(later)) if later else frame
    return frame.drop(columns=["study", "trial"], errors="ignore").rename(columns=names)


def check_account(account: Mapping[str, Any], where: str) -> None:
    """Refuses an account whose values would not fit the table of attempts, while the writer can still mend it."""
    for name, kind in columns_of("attempts").items():
        value = account.get(name)
        if value is not None and not _fits(value, kind):
            raise TableError(f"{where}: {name!r} is {value!r}, which is no {_SAID[kind]}")


_SAID = {
    "DOUBLE": "number",
    "INTEGER": "whole number",
    "BOOLEAN": "true or false",
    "JSON": "mapping",
    "TIMESTAMP": "time as ISO 8601 in UTC, such as 2026-11-21T02:30:00+00:00",
}


def _fits(value: Any, kind: str) -> bool:
    if kind == "DOUBLE":
        return isinstance(value, Real)
    if kind == "INTEGER":
        return isinstance(value, Integral)
    if kind == "BOOLEAN":
        return isinstance(value, bool) or type(value).__name__ == "bool"  # numpy's own
    if kind == "JSON":
        return isinstance(value, Mapping)
    if kind == "TIMESTAMP":
        try:
            return datetime.fromisoformat(value).utcoffset() == timedelta(0)
        except (TypeError, ValueError):
            return False
    return True


def _storable(frame: pd.DataFrame) -> pd.DataFrame:
    """Text that is no Unicode (a file name with raw bytes) with those bytes written out; a copy only where needed."""
    for name in frame.columns:
        values = frame[name]
        may_hold_text = values.dtype == object or isinstance(values.dtype, pd.StringDtype | pd.CategoricalDtype)
        if may_hold_text and not all(_is_unicode(value) for value in values):
            frame = frame.assign(**{name: [unicode_of(value) for value in values]})
    return frame


def unicode_of(value: Any) -> Any:
    """`value`; where it is text with raw bytes in it, those are written out (`\\udcff`)."""
    return value if _is_unicode(value) else value.encode("utf-8", "backslashreplace").decode()


def _is_unicode(value: Any) -> bool:
    try:
        return not isinstance(value, str) or value.isascii() or bool(value.encode())
    except UnicodeEncodeError:
        return False
