from __future__ import annotations

from pathlib import Path

import pytest

from storage.lab import Lab
from storage.query import QueryFailed
from storage.records import Records
from storage.results import publish, query, read
from tests.storage import night


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    lab = Lab.open(tmp_path_factory.mktemp("query") / "lab")
    night.finish(Records(lab), "t", 0.5)
    publish(lab)
    return lab


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM read_csv('{secret}')",
        "SELECT * FROM read_text('{secret}')",
        "SELECT * FROM '{secret}'",
        "SELECT * FROM glob('{folder}/*')",
        "ATTACH '{folder}/other.duckdb' AS other",
        "COPY trials TO '{folder}/out.csv'",
        "EXPORT DATABASE '{folder}/out'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET enable_external_access = true",
        "SET memory_limit = '1GB'",
        "RESET lock_configuration",
        "DELETE FROM trials",
        "DROP TABLE trials",
        "CREATE TABLE mine AS SELECT 1",
        "SELECT * FROM frame",
    ],
)
def test_the_sql_reaches_nothing_but_the_results(lab: Lab, tmp_path: Path, statement: str) -> None:
    frame = [1]  # a Python variable that SQL could read, were that not switched off
    secret = tmp_path / "secret.csv"
    secret.write_text("word\ncanary\n")
    with pytest.raises(QueryFailed) as refused:
        query(lab, statement.format(secret=secret, folder=tmp_path))
    assert "canary" not in str(refused.value) and frame
    assert [entry.name for entry in tmp_path.iterdir()] == ["secret.csv"]
    assert query(lab, "SELECT count(*) AS n FROM trials")["n"][0] == 1


def test_values_are_bound_never_pasted(lab: Lab) -> None:
    assert len(query(lab, "SELECT * FROM trials WHERE trial = ?", ["x' OR '1'='1"])) == 0
    assert len(query(lab, "SELECT * FROM trials WHERE trial = ?", ["t"])) == 1


def test_an_unknown_view_is_answered_with_those_there_are(lab: Lab) -> None:
    with pytest.raises(QueryFailed, match="there is no table or view 'leader'; there are about, attempts"):
        read(lab, "leader")
    with pytest.raises(QueryFailed, match="Catalog Error"):
        query(lab, "SELECT * FROM leader")


def test_a_file_that_is_no_database_is_said_with_the_remedy(tmp_path: Path) -> None:
    lab = Lab.open(tmp_path / "lab")
    lab.results.write_text("<html>")
    with pytest.raises(QueryFailed, match="nocturne db rebuild"):
        query(lab, "SELECT 1")
    assert not [entry for entry in lab.root.iterdir() if entry.name.startswith(".nocturne-")]
