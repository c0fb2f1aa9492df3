"""Two files of one name are a pair: judged together, of one group, and each by itself again when the other is gone."""

from __future__ import annotations

import pandas as pd
import pytest

from ml.data.pairs import MARK, mark_pairs, pair_name, unmarked


def rows(*files: tuple) -> pd.DataFrame:
    """(path, label, seconds, rate, state, problem), the last three as usual where they are not said."""
    usual = (2.0, 16_000, "ok", "")
    said = [(*file, *usual[len(file) - 2 :]) for file in files]
    table = pd.DataFrame(said, columns=["path", "label", "seconds", "rate", "state", "problem"])
    return table.assign(group=table["path"])


def judged(*files: tuple) -> pd.DataFrame:
    return mark_pairs(rows(*files), "clean", "noisy").set_index("path")


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("clean/a.wav", "noisy/a.flac", True),
        ("Speech/x/a.wav", "mixed/x/a.wav", True),
        ("clean/x/a.wav", "noisy/a.wav", False),
        ("train/clean/a.wav", "train/noisy/a.wav", True),
        ("train/clean/a.wav", "valid/noisy/a.wav", False),
        ("valid/clean/a.wav", "val/noisy/a.wav", True),
        ("clean/a.1.wav", "noisy/a.2.wav", False),
    ],
)
def test_the_name_of_a_pair(one: str, other: str, alike: bool) -> None:
    assert (pair_name(one) == pair_name(other)) is alike


def test_a_whole_pair_becomes_one_group_and_others_stay() -> None:
    found = judged(("clean/1.wav", "clean"), ("noisy/1.wav", "noisy"), ("noise/1.wav", "noise"))
    assert list(found["state"]) == ["ok"] * 3
    assert list(found["group"]) == ["clean/1.wav", "clean/1.wav", "noise/1.wav"]


def test_whoever_is_alone_is_rejected_and_told_what_to_do() -> None:
    found = judged(
        ("clean/a.wav", "clean"), ("clean/b.wav", "clean"), ("noisy/a.wav", "noisy"), ("noisy/c.wav", "noisy")
    )
    assert list(found["state"]) == ["ok", "rejected", "ok", "rejected"]
    assert found["problem"]["clean/b.wav"] == f"{MARK}there is no 'b' in noisy; add it, or take this file away"
    assert "no 'c' in clean" in found["problem"]["noisy/c.wav"]


def test_a_partner_that_is_rejected_is_named_with_its_reason() -> None:
    found = judged(("clean/a.wav", "clean"), ("noisy/a.wav", "noisy", 2.0, 16_000, "rejected", "cut off"))
    assert found["problem"]["clean/a.wav"] == f"{MARK}its partner 'noisy/a.wav' is rejected: cut off"
    assert found["problem"]["noisy/a.wav"] == "cut off"


def test_two_files_of_one_name_cannot_be_told_apart() -> None:
    found = judged(("clean/a.wav", "clean"), ("clean/a.flac", "clean"), ("noisy/a.wav", "noisy"))
    assert (found["state"] == "rejected").all()
    assert found["problem"].str.contains("2 files of clean have one name").all()


@pytest.mark.parametrize(("longer", "state"), [(0.0, "ok"), (0.001, "warned"), (0.049, "warned"), (0.06, "rejected")])
def test_lengths(longer: float, state: str) -> None:
    found = judged(("clean/a.wav", "clean"), ("noisy/a.wav", "noisy", 2.0 + longer))
    assert found["state"]["noisy/a.wav"] == state
    assert found["state"]["clean/a.wav"] == ("rejected" if state == "rejected" else "ok")
    if state == "warned":
        assert (
            f"{1000 * longer:.1f} ms longer than 'clean/a.wav', cut off at the end" in found["problem"]["noisy/a.wav"]
        )


def test_of_a_long_recording_a_thousandth_may_be_cut() -> None:
    found = judged(("clean/a.wav", "clean", 600.5), ("noisy/a.wav", "noisy", 600.0))
    assert found["state"].to_dict() == {"clean/a.wav": "warned", "noisy/a.wav": "ok"}


def test_rates_may_differ() -> None:
    found = judged(("clean/a.wav", "clean", 2.0, 48_000), ("noisy/a.wav", "noisy", 2.0, 16_000))
    assert sorted(found["state"]) == ["ok", "warned"]
    assert found["problem"].str.contains("resampled").sum() == 1


def test_a_warning_of_the_file_itself_stays_in_front() -> None:
    found = judged(("clean/a.wav", "clean", 2.0, 16_000, "warned", "clipped"))
    assert found["problem"]["clean/a.wav"].startswith(f"clipped; {MARK}")


def test_every_verdict_on_a_pair_can_be_taken_back() -> None:
    before = rows(
        ("clean/a.wav", "clean"),
        ("clean/b.wav", "clean", 2.0, 16_000, "warned", "clipped; very quiet"),
        ("clean/c.wav", "clean", 2.0, 16_000, "rejected", "silent"),
        ("noisy/c.wav", "noisy"),
        ("noisy/d.wav", "noisy", 9.0),
        ("clean/d.wav", "clean", 2.0, 16_000, "warned", "clipped"),
    )
    marked = mark_pairs(before, "clean", "noisy")
    assert (marked["state"] == "rejected").all()
    own = unmarked(marked)
    pd.testing.assert_frame_equal(own[["path", "state", "problem"]], before[["path", "state", "problem"]])
    assert unmarked(before) is before
