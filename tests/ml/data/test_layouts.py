"""Sources as people have them: folders under other names, divided already or not, pictures beside clips."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path, PurePosixPath

import pandas as pd
import pytest

from ml.config import ConfigError, read_config
from ml.data.given import has_given_parts
from ml.data.grouping import compiled, group_of
from ml.data.inventory import Inventory, InventoryConfig, SourceError, take_inventory
from ml.data.naming import ClassNames, given_part
from tests.ml.data.drawn import draw, tiles
from tests.ml.data.sounds import halve, write

EMOTIONS = InventoryConfig(
    media=("picture", "audio"),
    classes=("angry", "disgusted", "happy"),
    aliases={"angry": ("anger",), "disgusted": ("disgust",), "happy": ("happiness", "joy")},
    any_case=True,
    given_parts=True,
    all_classes=False,
    part_numbers=False,
)


def take(source: Path, known: pd.DataFrame | None = None, **changes: object) -> Inventory:
    config = EMOTIONS.model_copy(update={"max_rejected_share": 1.0} | changes)
    return take_inventory(source, config, known, workers=1)


def fill(source: Path, *folders: str, count: int = 2) -> None:
    for folder in folders:
        for number in range(count):
            draw(source / folder / f"{number}.png")


def labels(found: Inventory) -> dict[str, int]:
    return dict(Counter(found.files["label"]))


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("angry", "angry"),
        ("Angry", "angry"),
        ("ANGER", "angry"),
        (" Anger ", "angry"),
        ("Disgust", "disgusted"),
        ("hangry", None),
        ("", None),
    ],
)
def test_folders_mean_classes_in_any_case(folder: str, name: str | None) -> None:
    assert EMOTIONS.names.means(folder) == name


def test_case_counts_unless_it_is_said_that_it_does_not() -> None:
    names = ClassNames(("MUSIC", "żółć"), {"MUSIC": ("Musik",)})
    assert [names.means(folder) for folder in ("MUSIC", "Music", "Musik", "musik")] == ["MUSIC", None, "MUSIC", None]
    assert names.nearly("Music") == "MUSIC" and names.nearly("Musik") is None
    assert ClassNames(("żółć",), any_case=True).means("żółć".upper()) == "żółć"
    assert ClassNames(("żółć",), any_case=True).means("z\u0307o\u0301łc\u0301") == "żółć", "as a Mac writes it"
    assert ClassNames(aliases={"angry": ("anger",)}).means("anger") == "angry"
    assert ClassNames().means("anything") == "anything"


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        (
            {"classes": ["a", "b"], "aliases": {"c": ["d"]}},
            "`aliases` names c, which is no class; the classes are a, b",
        ),
        ({"classes": ["a", "b"], "aliases": {"a": ["x"], "b": ["x"]}}, "a folder 'x' would mean both a and b"),
        ({"classes": ["a", "A"], "any_case": True}, "a folder 'a' would mean both a and A"),
        ({"media": []}, "media"),
        ({"media": ["film"]}, "expected audio or picture"),
    ],
)
def test_names_that_cannot_be_used_are_refused(said: dict[str, object], sentence: str) -> None:
    with pytest.raises(ConfigError, match=r"studies\.yaml: ") as problem:
        read_config(InventoryConfig, said, "studies.yaml")
    assert sentence in str(problem.value)


def test_pictures_and_clips_lie_side_by_side(tmp_path: Path) -> None:
    fill(tmp_path, "Angry", "happy")
    write(tmp_path / "Angry/voice.wav")
    (tmp_path / "happy/list.txt").touch()
    found = take(tmp_path)
    files = found.files.set_index("path")
    assert set(files["state"]) == {"ok"} and labels(found) == {"angry": 3, "happy": 2}
    assert files.loc["Angry/voice.wav", "seconds"] == 0.5 and files.loc["Angry/0.png", "seconds"] == 0.0
    assert files.loc["Angry/0.png", "format"] == "png/rgb 48x36"
    assert "disgusted: no usable file; the study goes on without this class" in found.notes
    assert "happy: files that are not read, by their ending: 1 .txt" in found.notes

    only = take(tmp_path, media=("picture",))
    assert len(only.files) == 4 and "Angry: files that are not read, by their ending: 1 .wav" in only.notes


def test_bad_pictures_are_named_and_the_rest_goes_on(tmp_path: Path) -> None:
    fill(tmp_path, "angry", "happy")
    halve(draw(tmp_path / "angry/half.jpg", tiles(200, 200)))
    (tmp_path / "happy/text.jpg").write_text("no picture\n" * 9)
    draw(tmp_path / "happy/0.bmp", tiles(seed=7))
    draw(tmp_path / "angry/copy.webp", tiles(seed=7), lossless=True)
    draw(tmp_path / "angry/twice.png", tiles(seed=8))
    draw(tmp_path / "angry/twice.bmp", tiles(seed=8))
    said = dict(zip(take(tmp_path).files["path"], take(tmp_path).files["problem"], strict=True))
    assert "damaged or cut off" in said["angry/half.jpg"] and "it is text" in said["happy/text.jpg"]
    assert said["angry/copy.webp"] == "the same picture as 'happy/0.bmp': one picture cannot have two labels; " + (
        "keep one of them"
    )
    assert said["angry/twice.png"] == "the same picture as 'angry/twice.bmp'"
    with pytest.raises(SourceError, match=r"4 of 10 files cannot be used.*'angry/copy.webp'"):
        take(tmp_path, max_rejected_share=0.3)


def test_a_second_look_opens_no_picture_that_has_not_changed(tmp_path: Path) -> None:
    fill(tmp_path, "angry", "happy")
    halve(draw(tmp_path / "angry/half.png", tiles(200, 200)))
    first = take(tmp_path)
    for path in (tmp_path / "angry/0.png", tmp_path / "angry/half.png"):
        status = path.stat()
        path.write_bytes(bytes(status.st_size))  # no picture any more: would be rejected if it were opened
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    pd.testing.assert_frame_equal(take(tmp_path, first.files).files, first.files)
    assert (take(tmp_path).files["state"] == "rejected").sum() == 2


def test_two_folders_of_one_class_are_both_read(tmp_path: Path) -> None:
    fill(tmp_path, "disgust", "Disgusted", "HAPPY")
    found = take(tmp_path)
    assert labels(found) == {"disgusted": 4, "happy": 2}
    assert "disgusted: 2 folders mean this class, all are read: Disgusted, disgust" in found.notes


def test_an_unknown_class_is_named_with_its_remedy(tmp_path: Path) -> None:
    fill(tmp_path, "angry", "happy", "contempt")
    assert (
        "contempt: not a class of this study, ignored; the classes are angry, disgusted, happy: "
        "rename the folder, or name it in `inventory.aliases`"
    ) in take(tmp_path).notes


def test_one_class_alone_is_not_enough(tmp_path: Path) -> None:
    fill(tmp_path, "angry")
    (tmp_path / "happy").mkdir()
    (tmp_path / "happy/a.png").touch()
    with pytest.raises(SourceError) as problem:
        take(tmp_path)
    assert "disgusted (no picture or audio file found), happy (all 1 rejected)" in str(problem.value)
    assert "At least two classes" in str(problem.value)
    with pytest.raises(SourceError, match=r"no picture or audio files found; expected angry.*in train/, val/ and"):
        (tmp_path / "empty").mkdir()
        take(tmp_path / "empty")


def test_a_source_that_is_divided_already(tmp_path: Path) -> None:
    fill(tmp_path, "Train/Angry", "Train/joy", "valid/anger", "valid/HAPPY", "TEST/angry/more")
    found = take(tmp_path)
    assert labels(found) == {"angry": 6, "happy": 4} and has_given_parts(found.files)
    parts = found.files["path"].map(given_part)
    assert Counter(parts) == {"train": 4, "validation": 4, "test": 2}
    assert found.files["group"].is_unique
    assert f"happy: the class has no folder in {tmp_path / 'TEST'}" in found.notes
    assert not any("there is no" in note for note in found.notes)


def test_what_is_missing_of_a_division_is_said(tmp_path: Path) -> None:
    fill(tmp_path, "train/angry", "train/happy", "train/contempt")
    fill(tmp_path, "extra", count=1)
    draw(tmp_path / "train/loose.png")
    draw(tmp_path / "test/unlabelled.png")
    notes = take(tmp_path).notes
    assert "there is no val/: validation is cut from train/" in notes
    assert "there is no test/: no part is held back for a test, and none will be reported" in notes
    assert "test: lies beside train/ and holds no class folders, ignored" in notes
    assert "extra: lies beside train/ and holds no class folders, ignored" in notes
    assert "1 files in train lie beside the class folders and are ignored" in notes
    assert any(note.startswith("train/contempt: not a class of this study") for note in notes)


def test_a_source_one_folder_too_high_is_recognised(tmp_path: Path) -> None:
    fill(tmp_path, "faces/Angry", "download/train/happy", "papers/2019")
    with pytest.raises(SourceError) as problem:
        take(tmp_path)
    assert f"Name {tmp_path / 'download'} or {tmp_path / 'faces'} as the source?" in str(problem.value)


def test_two_folders_of_one_part_are_both_read(tmp_path: Path) -> None:
    fill(tmp_path, "train/angry", "train/happy", "val/angry", "validation/happy")
    found = take(tmp_path)
    assert len(found.files) == 8
    assert "val and validation: both hold the part validation, both are read" in found.notes


def test_class_folders_beside_part_folders_stop_the_inventory(tmp_path: Path) -> None:
    fill(tmp_path, "train/angry", "train/happy", "val/angry", "Happy")
    with pytest.raises(SourceError) as problem:
        take(tmp_path)
    assert "class folders (Happy) lie beside train/, val/" in str(problem.value)
    assert "move them into train/" in str(problem.value)


def test_a_part_folder_without_classes_leaves_the_classes_as_they_are(tmp_path: Path) -> None:
    fill(tmp_path, "angry", "happy", "test")
    found = take(tmp_path)
    assert labels(found) == {"angry": 2, "happy": 2} and not has_given_parts(found.files)
    assert any(note.startswith("test: not a class of this study") for note in found.notes)


def test_parts_are_only_looked_for_where_it_is_said(tmp_path: Path) -> None:
    fill(tmp_path, "train/angry", "train/happy")
    with pytest.raises(SourceError, match="train: not a class of this study"):
        take(tmp_path, given_parts=False)
    vehicles = take(tmp_path, given_parts=False, classes=(), aliases={})
    assert labels(vehicles) == {"train": 4} and not has_given_parts(vehicles.files)
    fill(tmp_path, "bus/red")
    named = take(tmp_path, classes=("train", "bus"), aliases={})
    assert labels(named) == {"train": 4, "bus": 2} and not has_given_parts(named.files)


@pytest.mark.parametrize(
    ("path", "pattern", "part_numbers", "given", "group"),
    [
        ("angry/p07_angry_03.png", r"(?P<group>p\d+)_", True, False, "p07"),
        ("train/angry/p07_angry_03.png", r"(?P<group>p\d+)_", True, True, "p07"),
        ("train/angry/p07/03.png", r"^(?P<group>\w+)/", False, True, "p07"),
        ("train/angry/other.png", r"(?P<group>p\d+)_", True, True, "train/angry/other"),
        ("angry/face_03.png", None, True, False, "face"),
        ("angry/face_03.png", None, False, False, "angry/face_03"),
        ("train/angry/face_03.png", None, True, True, "train/face"),
        ("train/angry/angry_03.png", None, True, True, "train/angry/angry_03"),
        ("train/angry/face_03.png", None, False, True, "train/angry/face_03"),
    ],
)
def test_groups_of_pictures(path: str, pattern: str | None, part_numbers: bool, given: bool, group: str) -> None:
    found = group_of(PurePosixPath(path), compiled(pattern), part_numbers=part_numbers, given_parts=given)
    assert found == group


def test_a_pattern_that_does_not_fit_is_pointed_out(tmp_path: Path) -> None:
    fill(tmp_path, "angry", "happy")
    draw(tmp_path / "happy/p07_1.png")
    found = take(tmp_path, group_pattern=r"(?P<group>p\d+)_")
    assert (
        "`group_pattern` finds nothing in 4 of 5 names, such as 'angry/0.png': "
        "each of these files counts as a recording of its own"
    ) in found.notes
    assert not any("group_pattern" in note for note in take(tmp_path).notes)
