"""The demo's corpus: what a person would find in it, and that the emotion study takes it as it is."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image, UnidentifiedImageError

from ml.data.split import leaks
from ml.studies.emotion.config import CLASSES
from ml.studies.emotion.demo import BROKEN_PICTURE, NO_PICTURE, PLAN, write_corpus
from ml.studies.emotion.faces import EXPRESSIONS
from ml.studies.emotion.study import DEMO_LAB, EMOTION
from ml.studies.emotion.voices import MANNERS
from ml.studies.experiments import read_settings
from tests.small_lab import write_yaml

NAME = re.compile(r"p\d\d_([a-z]+)_\d{2,3}\.(png|jpe?g|webp|bmp|wav)")


def contents(folder: Path) -> dict[str, str]:
    """Path below `folder` to what the file holds."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The corpus as `nocturne demo` writes it."""
    folder = tmp_path_factory.mktemp("faces")
    write_corpus(folder)
    return folder


def test_every_emotion_has_a_face_and_a_voice() -> None:
    assert set(EXPRESSIONS) == set(MANNERS) == set(PLAN) == set(CLASSES)


def test_the_corpus_is_small_mixed_and_imbalanced(whole: Path) -> None:
    files = [path for path in whole.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 10_000_000
    emotions: Counter[str] = Counter()
    for path in files:
        if path.name not in (BROKEN_PICTURE, NO_PICTURE):
            match = NAME.fullmatch(path.name)
            assert match and PLAN[match[1]][0] == path.parent.name
            emotions[match[1]] += 1
    assert emotions == {emotion: pictures + clips for emotion, (_, pictures, clips) in PLAN.items()}
    assert emotions.most_common()[-1][0] == "disgusted" and emotions["happy"] > 4 * emotions["disgusted"]
    assert {path.suffix for path in files} == {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".wav"}


def test_pictures_are_faces_in_colour_and_in_grey_and_clips_have_a_voice(whole: Path) -> None:
    modes: Counter[str] = Counter()
    for path in sorted(whole.rglob("p*_*.*")):
        if path.suffix == ".wav":
            samples, rate = soundfile.read(path)
            assert 2 <= len(samples) / rate <= 4 and 0.1 < np.abs(samples).max() < 1
        elif path.name not in (BROKEN_PICTURE, NO_PICTURE):
            with Image.open(path) as picture:
                assert 64 <= picture.width == picture.height <= 96
                assert np.asarray(picture.convert("L")).std() > 10, "an empty picture"
                modes["grey" if len(picture.convert("RGB").getcolors(10_000) or []) <= 256 else "colour"] += 1
    assert 0.05 < modes["grey"] / modes.total() < 0.25


def test_two_files_are_no_pictures(whole: Path) -> None:
    with pytest.raises(OSError, match="truncated"), Image.open(whole / "happy" / BROKEN_PICTURE) as picture:
        picture.load()
    with pytest.raises(UnidentifiedImageError):
        Image.open(whole / "neutral" / NO_PICTURE)


def test_the_same_seed_gives_the_same_files_and_another_one_others(tmp_path: Path) -> None:
    for name, seed in (("one", 3), ("again", 3), ("other", 4)):
        write_corpus(tmp_path / name, seed=seed, scale=0.1)
    one, again, other = (contents(tmp_path / name) for name in ("one", "again", "other"))
    assert one == again
    assert one.keys() == other.keys()
    same = {path for path in one if one[path] == other[path]}
    assert same == {f"neutral/{NO_PICTURE}"}


@pytest.mark.parametrize("scale", [0.1, 0.3])
def test_the_study_takes_the_corpus_as_it_is(tmp_path: Path, scale: float) -> None:
    write_corpus(tmp_path / "faces", scale=scale)
    write_yaml(tmp_path / "studies.yaml", {"emotion": DEMO_LAB})
    settings = read_settings(EMOTION, tmp_path / "studies.yaml")
    files = EMOTION.take_inventory(tmp_path / "faces", settings, None, None).files
    refused = files[files["state"] == "rejected"].set_index("path")["problem"]
    assert set(refused.index) == {f"happy/{BROKEN_PICTURE}", f"neutral/{NO_PICTURE}"} and all(refused)
    split = EMOTION.split(files, settings, None)
    assert set(split["label"]) == set(CLASSES)
    assert split.groupby("label")["part"].nunique().eq(3).all(), "every emotion is in every part"
    assert not len(leaks(files, split))
    assert split["group"].str.fullmatch(r"p\d\d").all(), "persons stay on one side"
