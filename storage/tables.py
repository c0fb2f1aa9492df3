"""Data frames in and out of Parquet, with the columns that schema.sql declares and no others."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd

SCHEMA = Path(__file__).with_name("schema.sql")

OF_A_TRIAL = ("epochs", "metrics", "confusion", "predictions", "draws")
"""The tables that a trial's record may bring."""

OF_A_STUDY = {"inventory": ("files",), "split": ("splits", "classes"), "comparison": ("comparisons",)}
"""Kinds of account of a whole study, and the tables each may bring."""

_RENAMED = {"label": "class", "group": "recording", "window": "window_number"}
"""Names that frames use and SQL cannot use without quotes, or says more plainly."""


class TableError(ValueError):
    """A frame that does not fit its table: which column, and what is allowed."""


def columns_of(table: str) -> dict[str, str]:
    """Column to DuckDB type, in order, as schema.sql declares them."""
    return _declared()[table]


@cache
def _declared() -> dict[str, dict[str, str]]:
    declared: dict[str, dict[str, str]] = {}
    with duckdb.connect() as memory:
        memory.execute(SCHEMA.read_text(encoding="utf-8"))
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
    frame = frame.rename(columns={name: _RENAMED.get(name, name) for name in frame.columns})
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
    with duckdb.connect() as memory:
        memory.register("incoming", _storable(frame))
        query = f"SELECT {', '.join(parts)} FROM incoming"  # noqa: S608 - names are those of schema.sql
        try:
            memory.sql(query, params=owner).write_parquet(str(path), compression="zstd")
        except duckdb.ConversionException as problem:
            raise TableError(f"{table}: {str(problem).splitlines()[0]}") from problem
    return len(frame)


def read_parquet(path: Path) -> pd.DataFrame:
    """The rows of one Parquet file that `write_parquet` made."""
    with duckdb.connect() as memory:
        return memory.read_parquet(str(path)).df()


def _storable(frame: pd.DataFrame) -> pd.DataFrame:
    """Text that is no Unicode (a file name with raw bytes) with those bytes written out; a copy only where needed."""
    for name in frame.columns:
        values = frame[name]
        may_hold_text = values.dtype == object or isinstance(values.dtype, pd.StringDtype | pd.CategoricalDtype)
        if may_hold_text and not all(_is_unicode(value) for value in values):
            frame = frame.assign(**{name: [_unicode(value) for value in values]})
    return frame


def _unicode(value: Any) -> Any:
    return value if _is_unicode(value) else value.encode("utf-8", "backslashreplace").decode()


def _is_unicode(value: Any) -> bool:
    try:
        return not isinstance(value, str) or value.isascii() or bool(value.encode())
    except UnicodeEncodeError:
        return False
