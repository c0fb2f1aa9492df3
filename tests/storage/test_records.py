from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pandas as pd
import pytest

from storage import durable
from storage.lab import Lab
from storage.names import BadName
from storage.records import Records, StaleAttempt, TrialBusy
from storage.results import publish, query
from storage.tables import TableError
from tests.storage import night
from tests.storage.processes import Other


@pytest.fixture
def records(tmp_path: Path) -> Records:
    return Records(Lab.open(tmp_path / "lab"))


def test_what_is_committed_is_read_back_as_it_was(records: Records) -> None:
    with records.begin("s", "t", "run-1") as attempt:
        given = night.tables(0.5)
        written = attempt.commit(night.account(0.5, note="Łódź \udcff"), given)
    assert written.attempt == 1 and records.latest("s", "t") == written == records.finished("s", "t", "f0.50")
    assert written.account["run_id"] == "run-1" and written.account["study"] == "s" and written.account["ended"]
    for name, frame in given.items():
        found = written.table(name)
        assert len(found) == len(frame) and set(frame.columns) <= set(found.columns)
    assert list(written.table("predictions")["actual"]) == list(given["predictions"]["actual"])
    assert list(written.table("predictions")["window"]) == list(given["predictions"]["window"])
    assert written.table("predictions")["probabilities"][0] == pytest.approx(given["predictions"]["probabilities"][0])
    assert records.finished("s", "t", "other") is None and records.latest("s", "nothing") is None


def test_attempts_are_numbered_and_a_silent_one_counts(records: Records) -> None:
    night.fail(records, "t", 0.5, "no")
    with contextlib.suppress(SystemExit), records.begin(night.STUDY, "t", "run-2") as attempt:
        assert attempt.number == 2 and records.is_running(night.STUDY, "t")
        assert records.ended(night.STUDY, "t") == {1: True}
        raise SystemExit
    assert records.ended(night.STUDY, "t") == {1: True, 2: False} and not records.is_running(night.STUDY, "t")
    assert night.finish(records, "t", 0.5).attempt == 3
    assert [record.attempt for record in records.history(night.STUDY, "t")] == [1, 3]
    assert {number: begun["run_id"] for number, begun in records.begun(night.STUDY, "t").items()} == {
        1: "run-0", 2: "run-2", 3: "run-1"}  # fmt: skip


def test_an_attempt_given_up_on_purpose_never_was(records: Records) -> None:
    answered = night.finish(records, "t", 0.5)
    with records.begin(night.STUDY, "t", "came second") as attempt:
        pass  # the answer was there: it leaves
    assert records.ended(night.STUDY, "t") == {1: True} and list(records.begun(night.STUDY, "t")) == [1]
    with pytest.raises(StaleAttempt, match="attempt 2 is over"):
        attempt.commit(night.account(0.9), {})
    with records.begin(night.STUDY, "t", "tries to") as failing, pytest.raises(ValueError, match="status"):
        failing.commit(night.account(0.5, status="done"), {})
    assert records.ended(night.STUDY, "t") == {1: True, 2: False} and records.history(night.STUDY, "t") == [answered]
    assert publish(records.lab).attempts == 2


SECOND = """
import sys
from pathlib import Path
from storage.lab import Lab
from storage.records import Records
from storage.results import publish
lab = Lab.open(Path(sys.argv[1]))
records = Records(lab)
print("waiting", flush=True)
with records.begin(sys.argv[2], "t", "second") as attempt:
    assert records.finished(sys.argv[2], "t", "f0.50")
    publish(lab)
print("left as", attempt.number, flush=True)
"""


def test_the_second_of_two_processes_leaves_no_phantom(records: Records) -> None:
    with records.begin(night.STUDY, "t", "first") as attempt:
        second = Other(SECOND, records.lab.root, night.STUDY)
        assert second.hear() == "waiting"
        attempt.commit(night.account(0.5), night.tables(0.5))
    assert second.rest() == ["left as 2"]
    assert publish(records.lab).attempts == 1
    assert list(query(records.lab, "SELECT status FROM attempts")["status"]) == ["finished"]
    assert list(query(records.lab, "SELECT attempts FROM leaderboard")["attempts"]) == [1]


def test_an_orphan_may_not_write_after_a_later_attempt_began(records: Records) -> None:
    orphan_block = records.begin("s", "t", "orphan")
    orphan = orphan_block.__enter__()
    for lock in (records.lab.locks / "records").rglob("trial-*"):
        lock.unlink()  # the lock is lost: a network share, a person tidying up
    with records.begin("s", "t", "retry", wait_seconds=0.1) as retry:
        with pytest.raises(StaleAttempt, match=r"attempt 1 \(run orphan\) may not write, because attempt 2 has begun"):
            orphan.commit(night.account(0.5), {})
        committed = retry.commit(night.account(0.5), night.tables(0.5))
        with pytest.raises(StaleAttempt):
            orphan.commit(night.account(0.5), {})
        with pytest.raises(FileExistsError, match="never changed"):
            retry.commit(night.account(0.9), {})
    assert records.history("s", "t") == [committed]
    orphan_block.__exit__(None, None, None)


def test_a_second_process_at_the_same_trial_is_told_who_is_there(records: Records) -> None:
    code = """
    import sys
    from pathlib import Path
    from storage.lab import Lab
    from storage.records import Records
    with Records(Lab.open(Path(sys.argv[1]))).begin("s", "t", "run-of-the-other"):
        print("in", flush=True)
        sys.stdin.readline()
    """
    with Other(code, records.lab.root) as other:
        assert other.hear() == "in" and records.is_running("s", "t")
        locks = set(records.lab.locks.rglob("*"))
        assert not records.is_running("s", "never_begun") and set(records.lab.locks.rglob("*")) == locks
        with (
            pytest.raises(TrialBusy, match="another process is at this trial \\(run run-of-the-other"),
            records.begin("s", "t", "mine", wait_seconds=0.2),
        ):
            pass
        other.kill()
    with records.begin("s", "t", "mine", wait_seconds=5) as attempt:
        assert attempt.number == 2


def test_accounts_of_a_study_are_written_when_they_change(records: Records) -> None:
    files = night.files_table()
    first = records.note("s", "inventory", {"fingerprint": "a"}, {"files": files})
    assert records.note("s", "inventory", {"fingerprint": "a"}, {}) == first
    second = records.note("s", "inventory", {"fingerprint": "b"}, {"files": files.head(3)})
    assert (first.number, second.number) == (1, 2) and records.noted("s", "inventory") == second
    assert records.all_noted("s", "inventory") == [first, second] and records.all_noted("s", "split") == []
    pd.testing.assert_frame_equal(first.table("files"), files, check_dtype=False)
    assert records.note("s", "best_model", {"fingerprint": "x", "trial": "t"}, {}).account["trial"] == "t"
    assert records.noted("s", "split") is None and records.kinds("s") == ["best_model", "inventory"]
    assert records.trials("s") == []


def test_what_does_not_fit_is_refused_before_anything_is_written(records: Records) -> None:
    epochs = pd.DataFrame({"epoch": [1], "loss": [0.5]})
    with records.begin("s", "t", "r") as attempt:
        with pytest.raises(TableError, match="epochs has no column loss; its columns are epoch, part, metric"):
            attempt.commit(night.account(0.5), {"epochs": epochs})
        with pytest.raises(TableError, match="tables pictures do not belong here"):
            attempt.commit(night.account(0.5), {"pictures": epochs})
        with pytest.raises(TableError, match="'epochs_done' is 'five', which is no whole number"):
            attempt.commit(night.account(0.5, epochs_done="five"), {})
        with pytest.raises(TableError, match="'ended' is 'now'"):
            attempt.commit(night.account(0.5, ended="now"), {})
        with pytest.raises(TableError, match=r"epochs: .*Could not convert"):
            attempt.commit(night.account(0.5), {"epochs": pd.DataFrame({"epoch": ["first"]})})
        with pytest.raises(ValueError, match="status is 'done'; it is one of finished"):
            attempt.commit(night.account(0.5, status="done"), {})
        with pytest.raises(ValueError, match="says nothing about 'fingerprint'"):
            attempt.commit({"status": "finished"}, {})
        assert records.history("s", "t") == []
        assert attempt.commit(night.account(0.5), {"epochs": epochs[["epoch"]]}).tables["epochs"]["rows"] == 1


@pytest.mark.parametrize("place", ["record.json", "predictions.parquet"])
def test_a_flipped_bit_is_said_by_name_and_the_others_go_on(records: Records, place: str) -> None:
    for trial in ("a", "b", "c"):
        night.finish(records, trial, 0.5)
    path = records.lab.records / night.STUDY / "b" / "000001" / place
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)
    healthy, damaged = records.all()
    assert [record.trial for record in healthy] == ["a", "c"]
    assert len(damaged) == 1 and str(path) in str(damaged[0])
    assert records.finished(night.STUDY, "b", "f0.50") is None and records.latest(night.STUDY, "b") is None
    assert night.finish(records, "b", 0.5).attempt == 2 and records.finished(night.STUDY, "b", "f0.50")


def test_a_record_moved_by_hand_is_not_taken_for_another_trials(records: Records) -> None:
    night.finish(records, "a", 0.5)
    place = records.lab.records / night.STUDY
    (place / "a").rename(place / "z")
    assert records.history(night.STUDY, "z") == []
    assert "moved here by hand" in str(records.all()[1][0])


@pytest.mark.parametrize("name", ["../up", "/abs", "a\x00b", "a'b", "\u202egnp", "_notes", ""])
def test_hostile_names_never_become_a_path(records: Records, name: str) -> None:
    before = sorted(records.lab.root.parent.rglob("*"))
    for study, trial in ((name, "t"), ("s", name)):
        with pytest.raises(BadName), records.begin(study, trial, "r"):
            pass
        with pytest.raises(BadName):
            records.latest(study, trial)
    with pytest.raises(BadName):
        records.note("s", f"../{name}", {"fingerprint": "x"}, {})
    assert sorted(records.lab.root.parent.rglob("*")) == before


def test_names_that_differ_in_case_only_are_refused(records: Records) -> None:
    night.finish(records, "Trial", 0.5)
    with pytest.raises(BadName, match="differ in case only"), records.begin(night.STUDY, "trial", "r"):
        pass


def test_a_failing_fsync_is_not_reported_as_committed(records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    with records.begin("s", "t", "r") as attempt:
        with monkeypatch.context() as patch:  # a disk that says so can't be had

            def broken(_: int) -> None:
                raise OSError(5, "Input/output error")

            patch.setattr(os, "fsync", broken)
            with pytest.raises(OSError, match="Input/output"):
                attempt.commit(night.account(0.5), night.tables(0.5))
        assert records.history("s", "t") == []
        assert attempt.commit(night.account(0.5), night.tables(0.5)).attempt == 1
    assert not durable.sweep(records.lab.records / "s" / "t")
