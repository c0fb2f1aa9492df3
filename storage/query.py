"""Reading results.duckdb: one question at a time, with nothing else within reach of the SQL."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd

from storage import durable
from storage.lab import Lab

_LOCKED_DOWN = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "python_enable_replacements": "false",
    "temp_directory": "",
}


class QueryFailed(ValueError):
    """A question that has no answer, and why."""


class NoResults(QueryFailed):
    """There is no results database to ask, and what makes one."""


def query(lab: Lab, sql: str, params: Sequence[Any] = ()) -> pd.DataFrame:
    """The answer to one SQL question about the published results.

    The SQL can read the results and nothing else: no files, no other databases, no extensions, no settings. Values
    belong into `params` (`?` in the SQL), never into the text.
    """
    with open_results(lab) as connection:
        try:
            answer = connection.execute(sql, list(params))
            if answer is None:
                raise QueryFailed('there is no statement in it; try "select * from leaderboard"')
            return answer.df() if answer.description else pd.DataFrame()
        except duckdb.Error as problem:
            raise QueryFailed(str(problem)) from problem


def read(lab: Lab, view: str) -> pd.DataFrame:
    """All rows of one table or view."""
    with open_results(lab) as connection:
        known = [name for (name,) in connection.execute("SELECT table_name FROM information_schema.tables").fetchall()]
        if view not in known:
            raise QueryFailed(f"there is no table or view {view!r}; there are {', '.join(sorted(known))}")
        return connection.execute(f'SELECT * FROM "{view}"').df()  # noqa: S608 - one of the names just listed


@contextlib.contextmanager
def open_results(lab: Lab) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection that reads the published results and is locked down."""
    # In memory with the file attached: connections of one process to one path would share an old version of it.
    with duckdb.connect(config=_LOCKED_DOWN) as connection, _attached(connection, lab):
        connection.execute("USE results; SET enable_external_access = false; SET lock_configuration = true")
        yield connection


@contextlib.contextmanager
def _attached(connection: duckdb.DuckDBPyConnection, lab: Lab) -> Iterator[None]:
    try:
        _attach(connection, lab.results)
    except duckdb.Error as problem:
        if not lab.results.exists():
            raise NoResults(f"{lab.results}: no results yet; run a study, or `nocturne db rebuild`") from None
        with _copied(lab) as copy:
            try:
                _attach(connection, copy)
            except duckdb.Error:
                raise NoResults(
                    f"{lab.results} cannot be read ({str(problem).splitlines()[0]}); "
                    "`nocturne db rebuild` makes it again from the records"
                ) from None
            yield
            connection.execute("USE memory; DETACH results")
    else:
        yield


@contextlib.contextmanager
def _copied(lab: Lab) -> Iterator[Path]:
    """A private copy: someone's shell has the file open for writing, or left its log beside it."""
    copy = lab.root / f"{durable.TEMPORARY}{os.getpid()}-{secrets.token_hex(4)}.tmp"
    try:
        with durable.telling_full(copy):
            shutil.copyfile(lab.results, copy)
        yield copy
    finally:
        with contextlib.suppress(OSError):
            copy.unlink(missing_ok=True)


def _attach(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    quoted = str(path).replace("'", "''")
    connection.execute(f"ATTACH '{quoted}' AS results (READ_ONLY)")
