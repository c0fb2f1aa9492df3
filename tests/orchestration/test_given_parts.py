"""A source that somebody has divided already, with a picture in two of its parts: what is said, and what mends it."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ml.studies.emotion.study import EMOTION
from orchestration import data
from orchestration.resources import Bench, NotReady
from storage.lab import Lab
from tests.small_lab import write_yaml


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """Two emotions in train, val and test; one picture of test is also in train."""
    generator = np.random.default_rng(0)
    source = tmp_path / "faces"
    for part, count in (("train", 6), ("val", 2), ("test", 2)):
        for name in ("happy", "Sad"):
            folder = source / part / name
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = generator.integers(0, 255, (24, 24, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{part}{number}.png")
    shutil.copy(source / "test" / "happy" / "test0.png", source / "train" / "happy" / "again.png")
    bench = Bench(Lab.open(tmp_path / "lab"))
    write_yaml(bench.lab.sources_file, {"emotion": str(source)})
    return bench


def test_a_leak_between_given_parts_names_the_setting_that_mends_it(bench: Bench) -> None:
    data.take_inventory(bench, EMOTION, lambda share, words: None)
    _, leaks = data.divide(bench, EMOTION)
    assert len(leaks) and "train/happy/again.png" in str(leaks.iloc[0]["paths"])
    with pytest.raises(NotReady, match="Remove the copy, or leave the copies out with `leave_out_leaks: true` in"):
        bench.data(EMOTION)
    write_yaml(bench.lab.studies_file, {"emotion": {"leave_out_leaks": True}})
    split, leaks = data.divide(bench, EMOTION)
    assert leaks.empty and "train/happy/again.png" not in set(split["path"])
    assert bench.data(EMOTION).split["part"].value_counts().to_dict() == {"train": 12, "validation": 4, "test": 4}


def test_what_is_not_divided_yet_is_divided_by_another_seed(bench: Bench) -> None:
    data.take_inventory(bench, EMOTION, lambda share, words: None)
    record = bench.records.noted("emotion", "inventory")
    assert record is not None
    files = record.table("files")
    side_by_side = files.assign(path=files["label"] + "/" + files["content_hash"] + ".png")
    assert EMOTION.leak_remedy(side_by_side) == "divide anew with another `split: {seed: …}`"
