"""What is promised where a source is divided already: parts as given, leaks found, nothing made up."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ml.data.given import given_split, has_given_parts
from ml.data.inventory import InventoryConfig, take_inventory
from ml.data.split import COLUMNS, SplitConfig, TooFewRecordings, leaks, split_recordings
from tests.ml.data.drawn import draw, tiles

CONFIG = SplitConfig()


def table(**counts: tuple[int, int]) -> pd.DataFrame:
    """An inventory with so many pictures of A and of B in each folder of a part."""
    rows = [
        (f"{folder}/{label}/{number:03d}.png", label)
        for folder, both in counts.items()
        for label, count in zip("AB", both, strict=True)
        for number in range(count)
    ]
    files = pd.DataFrame(sorted(rows), columns=["path", "label"])
    return files.assign(
        group=files["path"].str.removesuffix(".png"),
        content_hash="c:" + files["path"],
        sound_hash="s:" + files["path"],
        state="ok",
    )


def copied(files: pd.DataFrame, column: str, pairs: dict[str, str]) -> pd.DataFrame:
    """The same inventory, in which files share a value with others."""
    values = files.set_index("path")[column]
    for path, other in pairs.items():
        values[path] = values[other]
    return files.assign(**{column: values.to_numpy()})


def divide(files: pd.DataFrame, frozen: pd.DataFrame | None = None, *, leave_out: bool = False) -> pd.DataFrame:
    return given_split(files, CONFIG, frozen, leave_out_leaks=leave_out)


def count(split: pd.DataFrame) -> dict[str, int]:
    return {str(part): int(files) for part, files in split["part"].value_counts().items()}


def test_parts_are_as_given_whatever_their_folders_are_called() -> None:
    files = table(Train=(20, 10), VALID=(3, 2), Test=(4, 0)).sample(frac=1, random_state=1)
    split = divide(files)
    assert list(split.columns) == COLUMNS and split["path"].is_monotonic_increasing
    assert count(split) == {"train": 30, "validation": 5, "test": 4}
    assert (split["part"] == split["path"].str.split("/").str[0].map(PARTS_OF)).all()
    assert leaks(files, split).empty
    pd.testing.assert_frame_equal(divide(files, split.assign(part="test")), split)  # given wins over what was before


PARTS_OF = {"Train": "train", "VALID": "validation", "Test": "test"}


def test_rejected_files_are_in_no_part() -> None:
    files = table(train=(5, 5), val=(2, 2))
    files.loc[0, "state"], files.loc[1, "state"] = "rejected", "warned"
    assert list(divide(files)["path"]) == list(files["path"][1:])


@pytest.mark.parametrize(
    ("folders", "given"),
    [(("train", "val"), True), (("Dev",), True), (("train", "happy"), False), (("training",), False), ((), False)],
)
def test_a_division_is_one_only_when_everything_lies_in_it(folders: tuple[str, ...], given: bool) -> None:
    files = table(**dict.fromkeys(folders, (2, 2)))
    assert has_given_parts(files) is given
    assert not has_given_parts(files.assign(state="rejected"))
    assert not has_given_parts(files.assign(path=[path.split("/", 1)[1] for path in files["path"]]))


def test_without_a_test_folder_there_is_no_test_part() -> None:
    assert set(divide(table(train=(9, 9), dev=(2, 2)))["part"]) == {"train", "validation"}
    assert set(divide(table(train=(90, 90)))["part"]) == {"train", "validation"}


@pytest.mark.parametrize("seed", range(5))
def test_validation_is_cut_from_train_by_group_class_by_class_and_never_moved(seed: int) -> None:
    files = table(train=(90, 45), test=(10, 5))
    random = np.random.default_rng(seed)
    persons = [f"p{random.integers(30)}" if path.startswith("train") else f"q{path}" for path in files["path"]]
    files = files.assign(group=persons)
    config = SplitConfig(train=0.6, validation=0.2, test=0.2, seed=seed)
    split = given_split(files, config, None, leave_out_leaks=False)
    sizes = count(split)
    assert sizes["test"] == 15 and abs(sizes["validation"] - 135 / 4) < 9
    for label, whole in (("A", 90), ("B", 45)):
        share = len(split[(split["label"] == label) & (split["part"] == "validation")]) / whole
        assert abs(share - 0.25) < 0.15
    assert leaks(files, split).empty, "nobody is on two sides"
    shuffled = given_split(files.sample(frac=1, random_state=seed), config, None, leave_out_leaks=False)
    pd.testing.assert_frame_equal(shuffled, split)

    more = files.iloc[:20].copy()
    more = more.assign(**{name: more[name] + "new" for name in ("path", "content_hash", "sound_hash")})
    late = given_split(pd.concat([files, more]), config, split, leave_out_leaks=False).set_index("path")
    assert (late.loc[split["path"], "part"].to_numpy() == split["part"].to_numpy()).all()
    part_of = dict(zip(split["group"], split["part"], strict=True))
    assert all(late.loc[row.path, "part"] == part_of[row.group] for row in more.itertuples())


def test_what_was_divided_by_us_before_has_no_test_part_now() -> None:
    """The folder train/ was put over the class folders: what was in test then is trained or validated on now."""
    before = table(train=(30, 30))
    whole = before.assign(path=[path.split("/", 1)[1] for path in before["path"]], group=before["content_hash"])
    frozen = split_recordings(whole, CONFIG)
    assert set(frozen["part"]) == {"train", "validation", "test"}
    split = divide(before, frozen)
    assert set(split["part"]) == {"train", "validation"} and len(split) == 60
    was = dict(zip(frozen["content_hash"], frozen["part"], strict=True))
    now = dict(zip(split["content_hash"], split["part"], strict=True))
    assert all(now[content] == part for content, part in was.items() if part != "test")


@pytest.mark.parametrize(("column", "kind"), [("content_hash", "content"), ("sound_hash", "sound"), ("group", "group")])
def test_what_lies_in_two_given_parts_is_found_and_can_be_left_out(
    column: str, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    files = copied(
        table(train=(9, 9), val=(4, 4), test=(3, 3)),
        column,
        {
            "val/A/000.png": "train/A/000.png",
            "test/A/001.png": "train/A/001.png",
            "test/B/002.png": "val/B/002.png",
            "train/B/003.png": "train/B/004.png",
        },
    )
    with caplog.at_level(logging.WARNING):
        found = leaks(files, divide(files))
    assert set(found["kind"]) == {kind} and len(found) == 3
    said = caplog.messages[-1]
    assert said.startswith("2 files of train and 1 files of validation are also in a part that judges them")
    assert "`leave_out_leaks: true`" in said

    with caplog.at_level(logging.WARNING):
        split = divide(files, leave_out=True)
    assert caplog.messages[-1].endswith(": left out")
    assert leaks(files, split).empty
    gone = set(files["path"]) - set(split["path"])
    assert gone == {"train/A/000.png", "train/A/001.png", "val/B/002.png"}, "copies within one part stay"


def test_a_chain_of_copies_is_left_out_only_as_far_as_it_must_be() -> None:
    """train ~ val by sound, val ~ test by content: with the one in validation gone, the one in train harms nobody."""
    files = copied(table(train=(5, 5), val=(2, 2), test=(1, 1)), "sound_hash", {"train/A/000.png": "val/A/000.png"})
    files = copied(files, "content_hash", {"val/A/000.png": "test/A/000.png"})
    split = divide(files, leave_out=True)
    assert set(files["path"]) - set(split["path"]) == {"val/A/000.png"} and leaks(files, split).empty


def test_copies_of_test_are_left_out_before_validation_is_cut() -> None:
    files = copied(table(train=(20, 20), test=(2, 2)), "sound_hash", {"train/A/000.png": "test/A/000.png"})
    assert len(leaks(files, divide(files))) == 1
    split = divide(files, leave_out=True)
    assert count(split)["test"] == 4 and len(split) == 43 and leaks(files, split).empty


@pytest.mark.parametrize(
    ("folders", "said"),
    [
        ({"val": (3, 3), "test": (3, 3)}, r"divided already \(test, validation\), but nothing lies in train/"),
        ({"train": (5, 0), "val": (1, 1)}, "B has none in train"),
        ({"train": (5, 5), "val": (1, 0)}, "B has none in validation"),
        ({"train": (5, 5), "val": (1, 1), "test": (2, 0)}, ""),
        ({"train": (5, 1)}, r"at least 2 recordings, one each to train and validate on; there are: A 5 .*B 1"),
    ],
)
def test_every_class_is_trained_and_validated_on_and_may_lack_in_test(
    folders: dict[str, tuple[int, int]], said: str
) -> None:
    files = table(**folders)
    if not said:
        assert set(divide(files)["part"]) == {"train", "validation", "test"}
        return
    with pytest.raises(TooFewRecordings, match=said):
        divide(files)


@pytest.mark.parametrize("part", ["train", "val", "test"])
def test_a_part_of_which_everything_is_rejected_is_no_missing_part(part: str) -> None:
    files = table(train=(5, 5), val=(2, 2), test=(2, 2))
    files.loc[files["path"].str.startswith(part), "state"] = "rejected"
    with pytest.raises(TooFewRecordings, match=rf"all \d+ files of the given part {part}.* are rejected") as problem:
        divide(files)
    assert ("take its folder away" in str(problem.value)) is (part != "train")


def test_a_class_that_is_gone_because_its_copies_were_left_out_says_so() -> None:
    pairs = {f"train/B/{number:03d}.png": f"val/B/{number:03d}.png" for number in range(3)}
    files = copied(table(train=(5, 3), val=(2, 3)), "content_hash", pairs)
    with pytest.raises(TooFewRecordings, match=r"B has none in train \(3 files were left out, because copies"):
        divide(files, leave_out=True)


def test_the_same_pixels_in_train_and_test_are_found_in_real_files(tmp_path: Path) -> None:
    for number, name in enumerate(["train/A/1", "train/A/2", "train/B/1", "train/B/2", "val/A/1", "val/B/1"]):
        draw(tmp_path / f"{name}.png", tiles(seed=number))
    draw(tmp_path / "test/A/other name.bmp", tiles(seed=1))
    config = InventoryConfig(media=("picture",), given_parts=True, part_numbers=False)
    files = take_inventory(tmp_path, config, None, workers=1).files
    assert has_given_parts(files)
    found = leaks(files, divide(files))
    assert list(found["kind"]) == ["sound"]
    assert found["paths"][0] == ["test/A/other name.bmp", "train/A/2.png"]
    assert "train/A/2.png" not in set(divide(files, leave_out=True)["path"])
