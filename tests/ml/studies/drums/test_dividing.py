"""Who learns and who judges: songs stay whole, nothing moves, components that are too rare are said."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
import pytest

from ml.data.inventory import COLUMNS
from ml.data.split import SplitConfig, TooFewRecordings
from ml.studies.drums.config import DrumsSettings
from ml.studies.drums.dividing import divide, has_given_parts, leaks
from ml.studies.drums.hits import hit_path
from ml.studies.drums.sources import take
from tests.ml.studies.drums.corpus import one_shots, song

SETTINGS = DrumsSettings(split=SplitConfig(train=0.6, validation=0.2, test=0.2))
BEAT = ("kick", "snare", "hihat_closed")


def files_of(songs: Mapping[str, Sequence[str]], packs: Mapping[str, Sequence[str]] | None = None) -> pd.DataFrame:
    """An inventory: songs and packs with a hit of each of these components."""
    rows = []
    for name, components in songs.items():
        for place, component in enumerate(components):
            rows.append((hit_path(f"{name}.wav", 100 * place, component), component, name, name, f"sound of {name}"))
    for name, components in (packs or {}).items():
        for component in components:
            path = f"{name}/{component}/1.wav"
            rows.append((path, component, name, path, f"sound of {path}"))
    table = pd.DataFrame(rows, columns=["path", "label", "group", "content_hash", "sound_hash"])
    usual = {name: 0 if kind != "str" else "" for name, kind in COLUMNS.items() if name not in table}
    return table.assign(**(usual | {"state": "ok"})).sort_values("path", ignore_index=True)


def parts(split: pd.DataFrame) -> dict[str, set[str]]:
    return split.groupby("group")["part"].agg(set).to_dict()


def many(count: int, components: Sequence[str] = BEAT) -> dict[str, Sequence[str]]:
    return {f"song{number:02d}": components for number in range(count)}


def test_songs_stay_whole_and_every_part_has_every_component() -> None:
    files = files_of(many(10), {f"pack{number}": BEAT for number in range(5)})
    split = divide(files, SETTINGS, None)
    assert len(split) == len(files) and list(split.columns) == ["path", "label", "group", "content_hash", "part"]
    assert all(len(where) == 1 for where in parts(split).values())
    assert split.groupby("label")["part"].nunique().eq(3).all()
    assert split.groupby("part")["group"].nunique()["train"] == 9
    assert leaks(files, split).empty
    assert divide(files.sample(frac=1, random_state=1), SETTINGS, None).equals(split)


def test_whole_songs_judge_where_there_are_enough_of_them() -> None:
    files = files_of(many(3), {f"pack{number:02d}": BEAT for number in range(30)})
    split = divide(files, SETTINGS, None)
    songs = split[split["group"].str.startswith("song")]
    assert set(songs["part"]) == {"train", "validation", "test"}


def test_a_component_of_one_song_is_left_out_and_said(caplog: pytest.LogCaptureFixture) -> None:
    files = files_of(many(6) | {"odd": (*BEAT, "china")})
    with caplog.at_level(logging.WARNING):
        split = divide(files, SETTINGS, None)
    assert "china" not in set(split["label"]) and "odd" in set(split["group"])
    assert "one song or sample pack alone: china" in caplog.text


def test_a_copy_of_a_song_does_not_make_two_songs() -> None:
    files = files_of(many(6) | {"odd": (*BEAT, "china"), "copy": (*BEAT, "china")})
    files.loc[files["group"] == "copy", "sound_hash"] = "sound of odd"
    split = divide(files, SETTINGS, None)
    assert "china" not in set(split["label"])
    assert parts(split)["odd"] == parts(split)["copy"] and leaks(files, split).empty


def test_a_component_of_two_songs_is_trained_and_validated_on(caplog: pytest.LogCaptureFixture) -> None:
    files = files_of(many(8) | {"one": (*BEAT, "china"), "two": (*BEAT, "china")})
    with caplog.at_level(logging.WARNING):
        split = divide(files, SETTINGS, None)
    assert set(split.loc[split["label"] == "china", "part"]) == {"train", "validation"}
    assert "test has no hit of: china" in caplog.text


def test_two_songs_are_enough_to_begin_with() -> None:
    assert set(divide(files_of(many(2)), SETTINGS, None)["part"]) == {"train", "validation"}


def test_nothing_to_divide_says_how_many_songs_have_what() -> None:
    with pytest.raises(TooFewRecordings) as raised:
        divide(files_of({"a": ("kick", "snare"), "b": ("kick",)}), SETTINGS, None)
    assert "there are: kick in 2, snare in 1" in str(raised.value) and "group_pattern" in str(raised.value)
    rejected = files_of(many(3)).assign(state="rejected")
    with pytest.raises(TooFewRecordings, match="there are: none"):
        divide(rejected, SETTINGS, None)


def test_what_was_placed_never_moves() -> None:
    first = divide(files_of(many(6)), SETTINGS, None)
    more = files_of(many(20))
    second = divide(more, SETTINGS, first.drop_duplicates(["group", "content_hash"]))
    before, after = parts(first), parts(second)
    assert all(after[name] == where for name, where in before.items()) and len(after) == 20
    renamed = more.assign(group=more["group"].str.replace("song", "renamed"))
    assert parts(divide(renamed, SETTINGS, second))["renamed03"] == after["song03"]


def test_a_component_that_no_song_of_train_has_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    first = divide(files_of(many(10)), SETTINGS, None)
    judges = [name for name, where in parts(first).items() if where & {"validation", "test"}][:2]
    files = files_of(many(10) | dict.fromkeys(judges, (*BEAT, "china")))
    with caplog.at_level(logging.WARNING):
        split = divide(files, SETTINGS, first)
    assert "china" not in set(split["label"]) and "no song of train has them: china" in caplog.text


def test_given_parts_are_taken_as_they_are(tmp_path: Path) -> None:
    song(tmp_path / "train", "a")
    song(tmp_path / "train", "b")
    song(tmp_path / "val", "c")
    one_shots(tmp_path / "test", "kick", "snare", "hihat_closed")
    files = take(tmp_path, SETTINGS, None, None).files
    assert has_given_parts(files)
    split = divide(files, SETTINGS, None)
    assert parts(split) == {"train/a": {"train"}, "train/b": {"train"}, "val/c": {"validation"}, "test": {"test"}}


def test_without_a_val_folder_validation_is_cut_from_train() -> None:
    files = files_of({f"train/{name}": BEAT for name in many(8)} | {"test/x": BEAT, "test/y": BEAT})
    split = divide(files, SETTINGS, None)
    assert {name for name, where in parts(split).items() if where == {"test"}} == {"test/x", "test/y"}
    assert split.groupby("part")["group"].nunique().to_dict() == {"test": 2, "train": 6, "validation": 2}
    assert divide(files, SETTINGS, split).equals(split)


def test_a_song_in_two_given_parts_is_found_and_can_be_left_out(tmp_path: Path) -> None:
    for name in ("a", "b"):
        song(tmp_path / "train" / name, "audio")
    song(tmp_path / "val" / "c", "audio")
    (tmp_path / "val" / "d").mkdir()
    for path in (tmp_path / "train" / "a").iterdir():
        shutil.copy(path, tmp_path / "val" / "d" / f"other{path.suffix}")
    files = take(tmp_path, SETTINGS, None, None).files
    found = leaks(files, divide(files, SETTINGS, None))
    assert found["kind"].tolist() == ["content", "sound"]
    assert found["paths"].iloc[0] == ["train/a/audio.wav", "val/d/other.wav"]
    clean = divide(files, SETTINGS.model_copy(update={"leave_out_leaks": True}), None)
    assert set(clean["group"]) == {"train/b", "val/c", "val/d"} and leaks(files, clean).empty


def test_songs_beside_given_parts_are_divided_as_all_others() -> None:
    files = files_of({f"train/{name}": BEAT for name in many(4)} | {"rock": BEAT})
    assert not has_given_parts(files) and set(divide(files, SETTINGS, None)["part"]) == {"train", "validation", "test"}
