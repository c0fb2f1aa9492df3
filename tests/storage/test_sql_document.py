from __future__ import annotations

import re
from pathlib import Path

import pytest

from storage.lab import Lab
from storage.results import publish, query
from tests.storage import grid, night, songs

DOCUMENT = Path(__file__).parents[2] / "docs" / "sql.md"
QUERIES = re.findall(r"```sql\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), flags=re.DOTALL)
EMPTY_IS_RIGHT = ("HAVING count(DISTINCT part) > 1", "out_of_memory > 0")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    lab = Lab.open(tmp_path_factory.mktemp("document") / "lab")
    night.write_night(lab)
    night.write_experiments(lab)
    grid.write_grid(lab, diverge=["bs16_lr0.0005_ep50"])
    songs.write_songs(lab)
    assert publish(lab).published
    return lab


def test_the_document_answers_at_least_twenty_questions() -> None:
    assert len(QUERIES) >= 20


@pytest.mark.parametrize("sql", QUERIES, ids=[" ".join(sql.split())[:50] for sql in QUERIES])
def test_every_query_of_the_document_gives_rows(lab: Lab, sql: str) -> None:
    answer = query(lab, sql)
    assert (len(answer) == 0) == any(mark in sql for mark in EMPTY_IS_RIGHT), answer


def test_the_trade_off_has_its_shape(lab: Lab) -> None:
    answer = query(lab, next(sql for sql in QUERIES if "AS tuning" in sql))
    assert list(answer["balance_strength"]) == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert answer["tuning"].iloc[-1] > answer["tuning"].iloc[0]


def test_recordings_that_are_always_wrong_are_found(lab: Lab) -> None:
    answer = query(lab, next(sql for sql in QUERIES if "bool_and" in sql))
    assert list(answer["path"]) == ["TUNING/Żółta sala 0.wav"] and list(answer["mostly_taken_for"]) == ["MUSIC"]


def test_the_gap_and_the_gain_of_experiments(lab: Lab) -> None:
    gap = query(lab, next(sql for sql in QUERIES if "AS gap" in sql)).set_index("trial")["gap"]
    assert gap.to_dict() == {"aug_none": 30.0, "baseline": 25.0, "lr_low": 20.0}
    gained = query(lab, next(sql for sql in QUERIES if "base.changes IS NULL" in sql))
    assert list(zip(gained["trial"], gained["points_gained"], strict=True)) == [("lr_low", 5.0), ("aug_none", -5.0)]
    assert list(gained["changes"]) == [
        "training.lr: 0.0003 -> 0.0001",
        "augmentation.mixup_alpha: 0.2 -> 0.0; augmentation.random_erasing: 0.1 -> 0.0",
    ]


def test_pictures_are_counted_in_files(lab: Lab) -> None:
    answer = query(lab, next(sql for sql in QUERIES if "AS clips" in sql)).set_index("class")
    assert set(answer["unit"]) == {"files"} and answer["percent"].sum() == pytest.approx(100, abs=0.2)
    assert answer.loc["angry", ["files", "pictures", "clips", "minutes_of_clips"]].tolist() == [7, 6, 1, 0.2]
    assert answer.loc["disgusted", "files"] == 3 and answer["minutes_of_clips"].isna().sum() == 2
    assert answer.loc["angry", "times_the_smallest"] == 2.3


def test_epochs_that_were_trained_are_held_against_those_that_were_needed(lab: Lab) -> None:
    (row,) = query(lab, next(sql for sql in QUERIES if "AS needed_alone" in sql)).to_dict("records")
    needed = sum(len(grid.curve(point)[1]) for name, point in grid.points().items() if name != "bs16_lr0.0005_ep50")
    assert (row["trained"], row["needed_alone"]) == (2 * 8, needed)
    assert row["times_fewer"] == pytest.approx(needed / 16, abs=0.05)


def test_before_and_after_differ_by_what_was_gained(lab: Lab) -> None:
    answer = query(lab, next(sql for sql in QUERIES if "AS before" in sql))
    assert len(answer) == 4 * grid.SPEAKERS - 1, "the silent file has no row"
    assert answer["before"].tolist() == [5.0] * len(answer) and answer["gained"].is_monotonic_increasing


def test_what_came_to_no_end_in_the_last_night_is_told_with_its_attempts(lab: Lab) -> None:
    ran = query(lab, next(sql for sql in QUERIES if "AS began_utc" in sql))
    left = query(lab, next(sql for sql in QUERIES if "AS ended,\n" in sql and "AS why" in sql)).set_index("trial")
    nights = query(lab, next(sql for sql in QUERIES if "AS evening" in sql))
    assert "finished" not in set(left["ended"]) and left["why"].notna().all()
    last = nights[nights["evening"] == nights["evening"].max()]
    assert 0 < left["attempts"].sum() <= len(ran) == last["attempts"].sum()
    own = ran[ran["trial"] == left.index[0]]
    assert left["attempts"].iloc[0] == len(own) and left["ended"].iloc[0] == own["status"].iloc[-1]
    counted = nights["finished"] + nights["paused"] + nights["came_to_nothing"]
    assert (counted == nights["attempts"]).all()


def test_songs_and_single_hits_are_put_beside_each_other(lab: Lab) -> None:
    answer = query(lab, next(sql for sql in QUERIES if "AS rules_of_thumb" in sql)).set_index("trial")
    assert answer.index.tolist() == ["default", "softmax"]  # ranked by whole songs
    assert answer.loc["softmax"].to_dict() == {"hits": 93.0, "alone": 95.0, "songs": 80.0, "rules_of_thumb": 60.0}
    worst = query(lab, next(sql for sql in QUERIES if "AS song," in sql))
    assert worst["song"].iloc[0] == "e.flac" and worst["f1"].iloc[0] == 65.0
    beside = query(lab, next(sql for sql in QUERIES if "AS beside_others" in sql)).set_index("component")
    assert beside.loc["kick"].to_dict() == {"hits": 11, "beside_others": 5, "songs_or_packs": 6}
