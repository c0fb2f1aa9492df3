"""What is promised about a split: shares, groups, stability, and leaks that are found."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ml.config import ConfigError, read_config
from ml.data.split import (
    PARTS,
    SplitConfig,
    TooFewRecordings,
    data_fingerprint,
    leaks,
    split_recordings,
)

CONFIG = SplitConfig()


def table(**groups_per_class: list[int]) -> pd.DataFrame:
    """An inventory with so many files in each group of each class."""
    rows = [
        (f"{label}/{label}{group}_{number}.wav", label, f"{label}{group}")
        for label, sizes in groups_per_class.items()
        for group, size in enumerate(sizes)
        for number in range(size)
    ]
    files = pd.DataFrame(sorted(rows), columns=["path", "label", "group"])
    files["content_hash"] = [f"c:{path}" for path in files["path"]]
    files["sound_hash"] = [f"s:{path}" for path in files["path"]]
    return files.assign(state="ok")


def one_part_each(split: pd.DataFrame, belongs: pd.Series) -> bool:
    return all(len(set(parts)) == 1 for _, parts in split["part"].groupby(belongs))


def shares(split: pd.DataFrame, label: str) -> list[int]:
    counts = split[split["label"] == label]["part"].value_counts()
    return [int(counts.get(part, 0)) for part in PARTS]


def test_the_concert_of_the_document_is_split_80_10_10() -> None:
    sizes = {"APPLAUSE": 223, "MUSIC": 109, "PUBLIC": 244, "SPEECH": 81, "TUNING": 53}
    split = split_recordings(table(**{name: [1] * count for name, count in sizes.items()}), CONFIG)
    assert list(split.columns) == ["path", "label", "group", "content_hash", "part"]
    for name, count in sizes.items():
        for found, share in zip(shares(split, name), (0.8, 0.1, 0.1), strict=True):
            assert abs(found - share * count) <= 1, name


@pytest.mark.parametrize("seed", range(20))
def test_groups_stay_whole_and_every_class_is_in_every_part(seed: int) -> None:
    random = np.random.default_rng(seed)
    files = table(
        A=list(random.integers(1, 9, 40)), B=[1, 1, 1], C=[50, 1, 2], D=list(random.geometric(0.3, 12)), E=[2] * 7
    )
    files.loc[files["group"].isin(["A1", "D1"]), "group"] = "a recording of both"
    split = split_recordings(files, SplitConfig(seed=seed))
    assert len(split) == len(files)
    assert one_part_each(split, split["group"])
    for name in "ABCDE":
        assert min(shares(split, name)) >= 1
    assert abs(shares(split, "A")[0] / sum(shares(split, "A")) - 0.8) < 0.1
    assert shares(split, "C")[0] == 50, "a recording larger than a small part is trained on"
    assert leaks(files, split).empty


def test_the_seed_and_nothing_else_decides() -> None:
    files = table(A=[1] * 50, B=[2] * 30)
    split = split_recordings(files, CONFIG)
    shuffled = files.sample(frac=1.0, random_state=3)
    pd.testing.assert_frame_equal(split_recordings(shuffled, CONFIG), split)
    other = split_recordings(files, SplitConfig(seed=43))
    assert (other["part"] != split["part"]).any()


def test_rejected_files_are_not_split() -> None:
    files = table(A=[1] * 5)
    files.loc[0, "state"] = "rejected"
    files.loc[1, "state"] = "warned"
    assert list(split_recordings(files, CONFIG)["path"]) == list(files["path"][1:])


@pytest.mark.parametrize("seed", range(10))
def test_files_added_later_never_move_another(seed: int) -> None:
    random = np.random.default_rng(seed)
    files = table(A=list(random.integers(1, 5, 60)), B=list(random.integers(1, 5, 30)))
    chosen = set(random.permutation(files["group"].unique())[:30]) | {"A0", "A1", "A2", "B0", "B1", "B2"}
    config = SplitConfig(seed=seed)
    early = split_recordings(files[files["group"].isin(chosen)], config)
    late = split_recordings(files, config, early)
    merged = early.merge(late, on="path", suffixes=("_early", "_late"))
    assert len(merged) == len(early) and (merged["part_early"] == merged["part_late"]).all()
    assert one_part_each(late, late["group"])
    for name, total in late["label"].value_counts().items():
        for found, share in zip(shares(late, str(name)), (0.8, 0.1, 0.1), strict=True):
            assert abs(found - share * total) < 0.1 * total + 5
    pd.testing.assert_frame_equal(split_recordings(files, config, late), late)


def test_a_new_part_of_a_known_recording_and_a_renamed_copy_follow_it() -> None:
    files = table(A=[1] * 10)
    early = split_recordings(files, CONFIG)
    tested = early[early["part"] == "test"].iloc[0]
    part = files[files["path"] == tested["path"]].assign(path="A/more.wav", content_hash="new", sound_hash="new")
    copy = files[files["path"] == tested["path"]].assign(path="A/copy.wav", group="copy")
    late = split_recordings(pd.concat([files, part, copy]), CONFIG, early).set_index("path")
    assert late.loc["A/more.wav", "part"] == late.loc["A/copy.wav", "part"] == "test"


def test_copies_of_one_sound_stay_together() -> None:
    files = table(A=[1] * 40)
    files.loc[range(0, 40, 2), "sound_hash"] = [f"sound {number // 4}" for number in range(20)]
    split = split_recordings(files, CONFIG)
    assert leaks(files, split).empty
    assert one_part_each(split, files["sound_hash"])


@pytest.mark.parametrize("counts", [{"A": [1] * 9, "B": [5, 1]}, {"A": [1] * 9, "B": [30]}])
def test_too_few_recordings_are_counted_for_every_class(counts: dict[str, list[int]]) -> None:
    with pytest.raises(TooFewRecordings) as problem:
        split_recordings(table(**counts), CONFIG)
    said = str(problem.value)
    assert "at least 3" in said and "A 9 (9 files)" in said
    assert f"B {len(counts['B'])} ({sum(counts['B'])} files)" in said


def test_nothing_at_all_is_too_few() -> None:
    with pytest.raises(TooFewRecordings, match="no usable file"):
        split_recordings(table(A=[1]).assign(state="rejected"), CONFIG)


def test_a_class_that_lost_its_test_recordings_gets_new_ones_or_says_so() -> None:
    files = table(A=[1] * 6)
    early = split_recordings(files, CONFIG)
    left = files[~files["path"].isin(early.loc[early["part"] == "test", "path"])]
    with pytest.raises(TooFewRecordings, match="A has none in test"):
        split_recordings(left, CONFIG, early)
    added = pd.concat([left, files.tail(1).assign(path="A/x", group="x", content_hash="x", sound_hash="x")])
    late = split_recordings(added, CONFIG, early).set_index("path")
    assert late.loc["A/x", "part"] == "test"


@pytest.mark.parametrize(("column", "kind"), [("group", "group"), ("content_hash", "content"), ("sound_hash", "sound")])
def test_every_planted_leak_is_found(column: str, kind: str) -> None:
    files = table(A=[1] * 20)
    split = split_recordings(files, CONFIG)
    one = split.index[split["part"] == "train"][0]
    other = split.index[split["part"] == "test"][0]
    files.loc[other, column] = files.loc[one, column]
    found = leaks(files, split.assign(group=files["group"]))
    assert list(found["kind"]) == [kind]
    assert found["parts"][0] == ["test", "train"]
    assert found["paths"][0] == sorted([files["path"][one], files["path"][other]])


def test_the_fingerprint_stands_for_contents_labels_and_parts_not_for_places() -> None:
    files = table(A=[1] * 10)
    split = split_recordings(files, CONFIG)
    print_of = data_fingerprint(split, files)
    moved = {path: f"A/elsewhere/{path[2:]}" for path in files["path"]}
    elsewhere = files.assign(path=files["path"].map(moved)).sample(frac=1, random_state=0)
    assert data_fingerprint(split.assign(path=split["path"].map(moved)), elsewhere) == print_of
    changed = files.assign(content_hash=["changed", *files["content_hash"][1:]])
    assert data_fingerprint(split, changed) != print_of
    swapped = split.assign(part=["test" if part == "train" else part for part in split["part"]])
    assert data_fingerprint(swapped, files) != print_of


def test_shares_must_be_a_whole() -> None:
    with pytest.raises(ConfigError, match=r"add up to 1\.1"):
        read_config(SplitConfig, {"train": 0.9}, "settings.yaml")
