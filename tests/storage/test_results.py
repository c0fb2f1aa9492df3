from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

import duckdb
import pandas as pd
import pytest

from storage import durable, tables
from storage.lab import Lab
from storage.query import NoResults
from storage.records import Records
from storage.results import publish, query, read, rebuild
from tests.benchmarks.results import measure
from tests.storage import night
from tests.storage.processes import Other


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    lab = Lab.open(tmp_path_factory.mktemp("night") / "a [1] lab=x 'q' ż")
    night.write_night(lab)
    assert publish(lab).published
    return lab


@pytest.fixture
def lab(published: Lab, tmp_path: Path) -> Lab:
    """A copy of the night, to be damaged at will."""
    shutil.copytree(published.root, tmp_path / "lab")
    return Lab.open(tmp_path / "lab")


def everything(lab: Lab) -> dict[str, pd.DataFrame]:
    names = query(lab, "SELECT table_name FROM duckdb_tables() WHERE table_name <> 'about'")["table_name"]
    return {name: query(lab, f'SELECT * FROM "{name}" ORDER BY ALL') for name in names}


def assert_equal(one: dict[str, pd.DataFrame], other: dict[str, pd.DataFrame]) -> None:
    assert one.keys() == other.keys()
    for name in one:
        pd.testing.assert_frame_equal(one[name], other[name])


def test_the_tables_show_the_newest_finished_attempt_and_attempts_show_all(published: Lab) -> None:
    trials = read(published, "trials").set_index("trial")
    assert dict(trials["status"].value_counts()) == {"finished": 5, "failed": 1}
    assert trials.loc["balance_1.00", "attempt"] == 3
    tried = query(published, "SELECT attempt, status, error FROM attempts WHERE trial = ? ORDER BY 1", ["balance_1.00"])
    assert list(tried["status"]) == ["failed", "interrupted", "finished"] and "memory" in tried["error"][0]
    assert query(published, "SELECT count(*) AS n FROM epochs WHERE trial = 'balance_0.30'")["n"][0] == 0
    assert len(read(published, "runs")) == 8 and read(published, "runs")["is_shown"].sum() == 6
    assert len(read(published, "miscounted")) == 0


def test_the_leaderboard_is_chosen_on_validation(published: Lab) -> None:
    board = read(published, "leaderboard")
    assert list(board["trial"]) == [f"balance_{s}" for s in ("0.75", "1.00", "0.50", "0.25", "0.00")]
    assert list(board["is_best"]) == [True, False, False, False, False]
    assert set(board["worst_class"]) == {"TUNING"} and board["attempts"].sum() == 7
    best = board.iloc[0]
    judged = query(published, "SELECT avg((actual = predicted)::INT) AS share FROM predictions "
                   "WHERE trial = ? AND part = 'test' AND level = 'recording'", [best["trial"]])  # fmt: skip
    assert best["test_recording_accuracy"] == pytest.approx(judged["share"][0])
    assert best["validation_low"] < best["validation_accuracy"] < best["validation_high"]
    assert best["minutes"] == 210 and best["epochs"] == 5


def test_lower_is_better_where_the_account_says_so_and_old_data_come_last(tmp_path: Path) -> None:
    lab = Lab.open(tmp_path / "lab")
    records = Records(lab)
    for trial, value, data in (("old", 0.001, "d0"), ("high", 0.5, "d1"), ("low", 0.1, "d1"), ("none", None, "d1")):
        with records.begin("s", trial, "r") as attempt:
            said = night.account(0.5, selection_value=value, higher_is_better=False, data_fingerprint=data)
            attempt.commit(said, {})
    publish(lab)
    board = read(lab, "leaderboard")
    assert list(board["trial"]) == ["low", "high", "none", "old"] and list(board["current_data"]) == [True] * 3 + [
        False
    ]
    assert board["test_accuracy"].isna().all() and board["worst_class"].isna().all()


def test_a_value_of_another_metric_is_not_ranked_among_them(tmp_path: Path) -> None:
    lab = Lab.open(tmp_path / "lab")
    records = Records(lab)
    said = [("a", 0.99, "validation_accuracy", 1), ("b", 0.6, "validation_macro_f1", 2)]
    said += [("c", 0.7, "validation_macro_f1", 3)]
    for trial, value, metric, hour in said:
        with records.begin("s", trial, "r") as attempt:
            ended = f"2026-01-02T0{hour}:00:00+00:00"
            attempt.commit(night.account(0.5, selection_value=value, selection_metric=metric, ended=ended), {})
    publish(lab)
    board = read(lab, "leaderboard")
    assert list(board["trial"]) == ["c", "b", "a"] and list(board["is_best"]) == [True, False, False]


def test_the_inventory_counts_four_units(published: Lab) -> None:
    shown = read(published, "inventory_by_class").set_index("class")
    assert shown.loc["APPLAUSE", ["files", "recordings", "warned", "rejected"]].tolist() == [19, 19, 1, 1]
    assert shown["share"].sum() == pytest.approx(1) and shown.loc["TUNING", "imbalance"] == 1
    assert shown.loc["MUSIC", "imbalance"] == pytest.approx(87.4 / 2.5) and shown.loc["MUSIC", "windows"] == 750
    assert read(published, "classes")["files"].sum() == shown["files"].sum()


def test_every_table_view_and_column_says_what_it_is(published: Lab) -> None:
    unsaid = query(published, """
        SELECT table_name AS name FROM duckdb_tables() WHERE NOT internal AND coalesce(comment, '') = ''
        UNION ALL SELECT view_name FROM duckdb_views() WHERE NOT internal AND coalesce(comment, '') = ''
        UNION ALL SELECT table_name || '.' || column_name FROM duckdb_columns()
        WHERE NOT internal AND coalesce(comment, '') = ''""")  # fmt: skip
    assert list(unsaid["name"]) == []
    counted = query(published, "SELECT count(*) AS n FROM duckdb_columns() WHERE NOT internal")["n"][0]
    assert counted > 200


def test_trials_say_what_attempts_say_and_it_is_written_once(published: Lab) -> None:
    columns = query(published, "SELECT table_name, column_name, data_type, comment FROM duckdb_columns() "
                    "WHERE table_name IN ('attempts', 'trials')")  # fmt: skip
    attempts, trials = (
        columns[columns["table_name"] == name].drop(columns="table_name").set_index("column_name")
        for name in ("attempts", "trials")
    )
    assert list(trials["data_type"].items()) == list(attempts["data_type"].items())
    assert list(trials.index[trials["comment"] != attempts["comment"]]) == ["attempt"]
    assert tables.SCHEMA.read_text(encoding="utf-8").count("the Dagster run that made this attempt") == 1


def test_everything_about_a_trial_is_keyed_by_study_and_trial(published: Lab) -> None:
    columns = query(published, "SELECT table_name, list(column_name) AS names FROM duckdb_columns() "
                    "WHERE NOT internal GROUP BY 1")  # fmt: skip
    of_no_trial = {"about", "studies", "files", "splits", "window_counts", "classes", "inventory_by_class"}
    of_no_trial |= {"importance", "impact", "spread"}
    for name, names in zip(columns["table_name"], columns["names"], strict=True):
        assert name in of_no_trial or {"study", "trial"} <= set(names), name


def test_added_one_by_one_or_rebuilt_is_the_same(lab: Lab) -> None:
    records = Records(lab)
    night.finish(records, "balance_0.25", 0.25, purpose="again")
    night.finish(records, "balance_0.60", 0.6)
    night.fail(records, "balance_0.50", 0.5, "a later failure hides no result")
    records.note(night.STUDY, "inventory", {"fingerprint": "i2"}, {"files": night.files_table().head(50)})
    shutil.rmtree(lab.records / night.STUDY / "balance_0.00")
    report = publish(lab)
    assert report.published and not report.rebuilt and report.changed == 4, report
    added = everything(lab)
    assert rebuild(lab).rebuilt == "asked for"
    assert_equal(added, everything(lab))
    shown = read(lab, "trials").set_index("trial")
    assert shown.loc["balance_0.50", "status"] == "finished" and shown.loc["balance_0.25", "purpose"] == "again"
    assert "balance_0.00" not in shown.index and len(read(lab, "files")) == 50
    assert publish(lab).message == "nothing new"


def test_where_nothing_is_new_nothing_is_copied_or_waited_for(lab: Lab) -> None:
    publish(lab)
    with Other(LOCK_HOLDER, lab.locks / "publish.lock") as other:  # only who copies needs the lock
        assert other.hear() == "held"
        report = publish(lab)
    assert (report.message, report.trials, report.attempts) == ("nothing new", 6, 8) and report.published
    with contextlib.suppress(SystemExit), Records(lab).begin(night.STUDY, "balance_0.60", "r"):
        assert publish(lab).message == "nothing new"  # it runs
        raise SystemExit
    assert publish(lab).changed == 1 and publish(lab).message == "nothing new"
    lab.results.write_bytes(lab.results.read_bytes())
    assert publish(lab).rebuilt == "the published database was changed by another program"


LOCK_HOLDER = """
import sys
from filelock import FileLock
with FileLock(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.mark.parametrize("damage", ["gone", "empty", "half", "flipped", "text", "other layout", "rows deleted"])
def test_a_database_that_cannot_be_built_on_is_made_again(lab: Lab, damage: str) -> None:
    before = everything(lab)
    content = lab.results.read_bytes()
    if damage == "gone":
        lab.results.unlink()
    elif damage == "empty":
        lab.results.write_bytes(b"")
    elif damage == "half":
        lab.results.write_bytes(content[: len(content) // 2])
    elif damage == "flipped":
        lab.results.write_bytes(content[:5000] + bytes([content[5000] ^ 1]) + content[5001:])
    elif damage == "text":
        lab.results.write_text("<html>")
    else:
        with duckdb.connect(str(lab.results)) as connection:
            connection.execute("UPDATE about SET value = 'old'" if damage == "other layout" else "DELETE FROM epochs")
    (lab.root / ".results.duckdb.new").write_text("left by a killed publishing")
    (lab.root / ".results.duckdb.new.wal").write_text("and its log")
    report = publish(lab)
    assert report.published and report.rebuilt, report
    assert_equal(before, everything(lab))
    assert not list(lab.root.glob(".results.duckdb.new*"))
    assert (lab.root / "results.set-aside.duckdb").exists() == (damage != "gone")


def test_rows_lost_without_a_trace_are_noticed(lab: Lab) -> None:
    with duckdb.connect(str(lab.results)) as connection:
        connection.execute("DELETE FROM metrics WHERE trial = 'balance_0.50'")
    facts = lab.results.stat()  # as if nobody had touched it
    durable.write_sealed(lab.root / ".results.json", {"bytes": facts.st_size, "modified_ns": facts.st_mtime_ns})
    night.finish(Records(lab), "balance_0.60", 0.6)
    report = publish(lab)
    assert report.published and "rows in metrics, the record has 68" in report.rebuilt


def test_a_damaged_record_is_shown_by_name_and_the_others_are_published(lab: Lab) -> None:
    path = lab.records / night.STUDY / "balance_0.50" / "000001" / "metrics.parquet"
    healthy = path.read_bytes()
    path.write_bytes(healthy[:-10])
    report = rebuild(lab)
    assert report.published and len(report.damaged) == 1 and str(path) in report.sentence()
    shown = read(lab, "trials").set_index("trial")["status"]
    assert shown["balance_0.50"] == "damaged" and (shown == "finished").sum() == 4
    assert publish(lab).damaged  # looked at again: it may be restored
    path.write_bytes(healthy)
    assert not publish(lab).damaged and read(lab, "trials").set_index("trial")["status"]["balance_0.50"] == "finished"


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    lab = Lab.open(tmp_path / "lab")
    texts = ["'); DROP TABLE trials; --", "\u202egnp.exe", "a\x00b", "${jndi}", "x\udcff", '"', "\n", "NaN", "{}"]
    records = Records(lab)
    for number, text in enumerate(texts):
        with records.begin("s", f"t{number}", "r") as attempt:
            table = pd.DataFrame({"part": ["test"], "level": "window", "path": text, "actual": text})
            attempt.commit(
                night.account(0.5, error=text, config={text: text}, selection_value=float("nan")),
                {"predictions": table},
            )
    assert publish(lab).published
    shown = query(lab, "SELECT t.error, p.path, s.setting, s.value FROM trials t "
                  "JOIN predictions p USING (study, trial) JOIN settings s USING (study, trial) "
                  "ORDER BY t.trial")  # fmt: skip
    said = [text.replace("\udcff", "\\udcff") for text in texts]
    for column in ("error", "path", "setting", "value"):
        assert list(shown[column]) == said, column
    assert read(lab, "trials")["selection_value"].isna().all()


def test_a_file_held_open_on_windows_is_reported_and_nothing_is_lost(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    night.finish(Records(lab), "balance_0.60", 0.6)
    real = os.replace

    def held(source: Path, target: Path) -> None:  # Windows can't be had
        if Path(target) == lab.results:
            raise PermissionError(13, "The process cannot access the file")
        real(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", held)
        patch.setattr(durable, "_REPLACE_PAUSE_SECONDS", 0.001)
        report = publish(lab)
        assert not report.published and "held open by another program" in report.sentence()
    assert len(read(lab, "trials")) == 6
    assert publish(lab).published and len(read(lab, "trials")) == 7


def test_publishing_often_does_not_grow_the_file(lab: Lab) -> None:
    sizes = []
    for _ in range(12):
        night.finish(Records(lab), "balance_0.25", 0.25)
        assert publish(lab).changed == 1
        sizes.append(lab.results.stat().st_size)
    assert sizes[-1] <= 1.5 * sizes[2], sizes


PUBLISHER = """
import sys
from pathlib import Path
from storage.lab import Lab
from storage.records import Records
from storage.results import publish
from tests.storage import night
lab = Lab.open(Path(sys.argv[1]))
for number in range(4):
    night.finish(Records(lab), f"by_{sys.argv[2]}_{number}", 0.5)
    assert publish(lab).published
"""


@pytest.mark.slow
def test_several_publish_at_once_and_nothing_is_lost(lab: Lab) -> None:
    others = [Other(PUBLISHER, lab.root, name) for name in ("a", "b", "c")]
    for other in others:
        other.rest()
    found = query(lab, "SELECT trial FROM trials WHERE trial LIKE 'by_%' ORDER BY 1")["trial"]
    assert list(found) == [f"by_{name}_{number}" for name in "abc" for number in range(4)]
    assert publish(lab).message == "nothing new"


READER = """
import sys, duckdb
connection = duckdb.connect(sys.argv[1], read_only=sys.argv[2] == "read")
print("open", flush=True)
for line in sys.stdin:
    try:
        print(connection.execute(line).fetchall(), flush=True)
    except Exception as problem:
        print("FAILED", problem, flush=True)
"""
COUNT = "SELECT count(*) FROM trials"


def test_open_shells_block_nothing_and_the_next_connection_sees_all(lab: Lab) -> None:
    # A shell that reads and one that may write cannot have one version of the file open together; each gets its own.
    with Other(READER, lab.results, "read") as reading:
        assert reading.hear() == "open"
        night.finish(Records(lab), "balance_0.60", 0.6)
        assert publish(lab).published
        with Other(READER, lab.results, "write") as writing:
            assert writing.hear() == "open"
            assert len(read(lab, "trials")) == 7  # although it is locked
            assert writing.say("CREATE TABLE mine AS SELECT 1") == "[(1,)]"
            for number in range(5):
                night.finish(Records(lab), f"balance_0.6{number + 1}", 0.6)
                report = publish(lab)
                assert report.published and not report.rebuilt, report
                assert len(read(lab, "trials")) == 8 + number
                assert reading.say(COUNT) == "[(6,)]" and writing.say(COUNT) == "[(7,)]"
                assert writing.say(f"INSERT INTO mine VALUES ({number})") == "[(1,)]"
                assert len(read(lab, "trials")) == 8 + number
            with Other(READER, lab.results, "read") as late:
                heard = late.hear()
                assert heard == "open" and late.say(COUNT) == "[(12,)]"
    assert publish(lab).message == "nothing new"


def test_no_results_yet_is_said(tmp_path: Path) -> None:
    lab = Lab.open(tmp_path / "lab")
    with pytest.raises(NoResults, match="no results yet; run a study"):
        read(lab, "leaderboard")
    assert publish(lab).trials == 0 and len(read(lab, "leaderboard")) == 0


def test_the_benchmark_measures(tmp_path: Path) -> None:
    figures = measure(tmp_path / "lab", 12, publishes=1)
    print(figures)
    assert 0 < figures["publish of nothing new"] < figures["publish of one trial"] < 5
