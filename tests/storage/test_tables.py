"""Frames that were written before a table had all of its columns; rows that stand for hits and not for files."""

from __future__ import annotations

import duckdb
import numpy as np

from storage import tables
from storage.lab import Lab
from storage.query import query
from storage.records import Records
from storage.results import publish
from tests.storage.songs import hits_table


def test_a_column_that_came_later_is_empty_in_earlier_frames(tmp_path):
    with duckdb.connect() as memory:
        memory.sql("select 's' as study, 'a.wav' as path, 'kick' as class, 1.5 as seconds").write_parquet(
            str(tmp_path / "files.parquet")
        )
    frame = tables.read_parquet("files", tmp_path / "files.parquet")
    assert frame["label"].tolist() == ["kick"] and frame["seconds"].tolist() == [1.5]
    assert frame["at_seconds"].isna().all() and frame["overlaps"].isna().all()
    tables.write_parquet(frame, "files", tmp_path / "again.parquet", study="s", trial=None)
    assert len(tables.read_parquet("files", tmp_path / "again.parquet")) == 1


def test_hits_are_counted_and_have_no_minutes(tmp_path):
    lab = Lab.open(tmp_path / "lab")
    hits = hits_table()
    Records(lab).note("drums", "inventory", {"fingerprint": "1"}, {"files": hits})
    publish(lab)
    found = query(lab, "select * from inventory_by_class where study = ?", ["drums"]).set_index("class")
    assert found["files"].to_dict() == {"hihat_closed": 15, "kick": 11, "crash": 5}
    assert found["unit"].unique().tolist() == ["files"]
    assert np.isclose(found.loc["kick", "share"], 11 / 31)
    assert found["minutes"].isna()["crash"] or found.loc["crash", "minutes"] is None
    beside = query(lab, "select heard_with from files where study = ? and at_seconds = 0.5 order by path", ["drums"])
    assert sorted(beside["heard_with"]) == ["crash"] * 5 + ["kick"] * 5
