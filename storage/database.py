"""What goes into the results database: tables and views, the rows of trials that changed; and the count of them all."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pandas as pd

from storage import tables
from storage.harvest import Harvest
from storage.lab import Lab
from storage.records import Records

VIEWS = Path(__file__).with_name("views.sql")
CONFIG = {"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"}
_MADE_FROM_ACCOUNTS = ("attempts", "trials", "settings", "row_counts")

Expected = dict[tuple[str, str], tuple[tuple[int, bool], ...]]
"""(study, trial) to its attempts that have ended: number, and whether it left a record."""


class ResultsWrong(RuntimeError):
    """A database that does not hold what the records say; it is never published."""


@dataclass(frozen=True)
class Wanted:
    """What the records hold by name and number, read from names of files alone."""

    expected: Expected
    noted: dict[tuple[str, str], int]
    """(study, kind of account) to the number of the newest."""

    @property
    def attempts(self) -> int:
        return sum(len(ended) for ended in self.expected.values())

    def digest(self) -> str:
        """Stands for all of it, and for the tables and views that show it."""
        return hashlib.sha256(
            repr((layout(), sorted(self.expected.items()), sorted(self.noted.items()))).encode()
        ).hexdigest()


@dataclass
class Filled:
    """What the records hold, and what of it was new to the database."""

    wanted: Wanted
    changed: int = 0
    anything: bool = False
    damaged: list[str] = field(default_factory=list)
    settled: bool = True
    """Whether all of it could be read: what is damaged may be restored, so it has to be looked at again."""


def layout() -> str:
    """Stands for the tables and views; a database of another layout is made again."""
    return hashlib.sha256(tables.SCHEMA.read_bytes() + VIEWS.read_bytes()).hexdigest()[:12]


def log_of(database: Path) -> Path:
    return database.with_name(f"{database.name}.wal")


def wanted(lab: Lab) -> Wanted:
    """What the records hold now."""
    records = Records(lab)
    return Wanted(_ended(records), _noted(records))


def fill(lab: Lab, new: Path, *, from_nothing: bool) -> Filled:
    """Brings the database `new` (a copy of the published one, or nothing) up to date with the records; counts it."""
    records = Records(lab)
    work = Filled(wanted(lab))
    expected, noted = work.wanted.expected, work.wanted.noted
    with duckdb.connect(str(new), config=CONFIG) as connection:
        connection.execute("BEGIN")
        if from_nothing:
            tables.create(connection)
            connection.execute(VIEWS.read_text(encoding="utf-8"))
        changed = _changed_trials(connection, expected)
        renoted = _changed_notes(connection, noted)
        work.changed, work.anything = len(changed), bool(changed or renoted or from_nothing)
        if not work.anything:
            return work
        harvest = Harvest()
        for study, trial in changed:
            harvest.add_trial(records, study, trial, dict(expected.get((study, trial), ())))
        for study, kind in renoted:
            record = records.noted(study, kind)
            if record is not None:
                harvest.add_noted(record, kind)
            work.settled &= (record.number if record else None) == noted.get((study, kind))
        work.damaged = harvest.damaged
        work.settled &= not work.damaged
        if not from_nothing:
            _delete(connection, changed, renoted)
        _insert(connection, harvest)
        connection.execute("COMMIT")
        connection.execute("CHECKPOINT")
    if log_of(new).exists():
        raise ResultsWrong(f"{log_of(new)} was left: the database is not whole without it")
    _verify(new, expected)
    return work


def _ended(records: Records) -> Expected:
    found: Expected = {}
    for study in records.studies():
        for trial in records.trials(study):
            ended = records.ended(study, trial)
            if ended:
                found[study, trial] = tuple(ended.items())
    return found


def _noted(records: Records) -> dict[tuple[str, str], int]:
    found = {}
    for study in records.studies():
        for kind in records.kinds(study):
            number = records.last_noted(study, kind)
            if number:
                found[study, kind] = number
    return found


def _changed_trials(connection: duckdb.DuckDBPyConnection, expected: Expected) -> list[tuple[str, str]]:
    rows = "SELECT study, trial, attempt, status FROM attempts ORDER BY attempt"
    published: dict[tuple[str, str], tuple[tuple[int, bool], ...]] = {}
    damaged = set()
    for study, trial, attempt, status in connection.execute(rows).fetchall():
        published[study, trial] = (*published.get((study, trial), ()), (attempt, status != "interrupted"))
        if status == "damaged":
            damaged.add((study, trial))  # it may have been restored
    names = sorted({*published, *expected})
    return [name for name in names if name in damaged or published.get(name) != expected.get(name)]


def _changed_notes(connection: duckdb.DuckDBPyConnection, noted: dict[tuple[str, str], int]) -> list[tuple[str, str]]:
    rows = connection.execute("SELECT study, kind, number FROM studies").fetchall()
    published = {(study, kind): number for study, kind, number in rows}
    return [name for name in sorted({*published, *noted}) if published.get(name) != noted.get(name)]


def _delete(connection: duckdb.DuckDBPyConnection, trials: list[tuple[str, str]], noted: list[tuple[str, str]]) -> None:
    connection.register("gone", pd.DataFrame(trials, columns=["study", "trial"], dtype=object))
    for table in (*_MADE_FROM_ACCOUNTS, *tables.OF_A_TRIAL):
        connection.execute(
            f"DELETE FROM {table} USING gone WHERE {table}.study = gone.study AND {table}.trial = gone.trial"  # noqa: S608
        )
    for study, kind in noted:
        for table in tables.OF_A_STUDY.get(kind, ()):
            connection.execute(f"DELETE FROM {table} WHERE study = ?", [study])  # noqa: S608
        for table in ("studies", "row_counts"):
            connection.execute(f"DELETE FROM {table} WHERE study = ? AND kind = ?", [study, kind])  # noqa: S608


def _insert(connection: duckdb.DuckDBPyConnection, harvest: Harvest) -> None:
    for table, frame in harvest.frames().items():
        casts = ", ".join(f'CAST("{name}" AS {kind}) AS "{name}"' for name, kind in tables.columns_of(table).items())
        connection.register("incoming", frame)
        connection.execute(f"INSERT INTO {table} BY NAME SELECT {casts} FROM incoming")  # noqa: S608
        connection.unregister("incoming")
    for table, files in harvest.parquet.items():
        # Folders named a=b would otherwise be read as columns.
        connection.execute(
            f"INSERT INTO {table} BY NAME "  # noqa: S608
            "SELECT * FROM read_parquet(?, union_by_name = true, hive_partitioning = false)",
            [files],
        )
    now = datetime.now(UTC).isoformat(timespec="seconds")
    connection.execute("DELETE FROM about")
    connection.execute(
        "INSERT INTO about VALUES ('layout', ?), ('duckdb', ?), ('published', ?)", [layout(), duckdb.__version__, now]
    )


def _verify(new: Path, expected: Expected) -> None:
    """Opens the database as a reader would, and counts its rows against the records."""
    with duckdb.connect(str(new), read_only=True, config=CONFIG) as connection:
        attempts = {
            (study, trial): numbers
            for study, trial, numbers in connection.execute(
                "SELECT study, trial, list(attempt ORDER BY attempt) FROM attempts GROUP BY ALL"
            ).fetchall()
        }
        wanted = {name: [number for number, _ in ended] for name, ended in expected.items()}
        if attempts != wanted:
            wrong = next(name for name in (wanted | attempts) if wanted.get(name) != attempts.get(name))
            raise ResultsWrong(f"{'/'.join(wrong)}: its attempts are not those of the records")
        shown = connection.execute("SELECT count(*), count(DISTINCT (study, trial)) FROM trials").fetchone()
        if shown != (len(expected), len(expected)):
            raise ResultsWrong(f"{shown} rows and names in trials, {len(expected)} trials in the records")
        miscounted = connection.execute("SELECT study, trial, table_name, found, recorded FROM miscounted").fetchone()
        if miscounted:
            study, trial, table, found, recorded = miscounted
            raise ResultsWrong(f"{study}/{trial or '-'}: {found} rows in {table}, the record has {recorded}")
        for (view,) in connection.execute("SELECT view_name FROM duckdb_views() WHERE NOT internal").fetchall():
            connection.execute(f'SELECT * FROM "{view}" LIMIT 0')  # noqa: S608
