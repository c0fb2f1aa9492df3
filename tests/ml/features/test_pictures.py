"""A store holds every picture and every clip once, whole, in a fixed order, or it does not exist."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image

from ml.data.audio import read_mono
from ml.data.children import map_in_children
from ml.data.pictures import read_picture
from ml.data.source import SourceVanished
from ml.features.building import ExtractionFailed, FileChanged
from ml.features.clips import ClipConfig, ClipPictures
from ml.features.pictures import MOST_CHILDREN, PictureConfig, build_pictures, open_pictures, pictures_of
from ml.features.store import StoreDamaged
from tests.benchmarks.features import content_hash

CONFIG = PictureConfig(side=48, clip=ClipConfig(seconds=1.0))

Files = list[tuple[str, Path, float]]


def pictures(folder: Path, count: int = 3) -> Files:
    """No two alike: photographs and drawings of odd sizes."""
    folder.mkdir(exist_ok=True)
    files = []
    for number in range(count):
        path = folder / f"zażółć {number} !.{('png', 'jpg', 'webp')[number % 3]}"
        pixels = np.random.default_rng(number).integers(0, 256, (70 + number, 90, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
        files.append((content_hash(path), path, 0.0))
    return files


def clips(folder: Path, seconds: tuple[float, ...] = (2.7, 0.3)) -> Files:
    folder.mkdir(exist_ok=True)
    files = []
    for number, length in enumerate(seconds):
        path = folder / f"clip {number}.wav"
        soundfile.write(path, np.random.default_rng(number).normal(0, 0.1, round(22050 * length)), 22050)
        files.append((content_hash(path), path, length))
    return files


def build(folder: Path, files: Files, **other: Any) -> dict[str, Any]:
    folder.mkdir()
    asked = {"config": CONFIG, "read_picture": read_picture, "read_sound": read_mono, "run": map_in_children}
    return build_pictures(folder, files, **(asked | {"workers": 1} | other))


def expected(path: Path, seconds: float) -> np.ndarray:
    if not seconds:
        return read_picture(path, CONFIG.side)[None]
    return np.concatenate(list(ClipPictures(CONFIG.clip, CONFIG.side)(lambda: read_mono(path, 16000))))


def test_pictures_and_clips_lie_in_order_of_their_hashes(tmp_path: Path) -> None:
    files = pictures(tmp_path / "source") + clips(tmp_path / "source")
    account = build(tmp_path / "store", files, workers=2)
    store = open_pictures(tmp_path / "store")
    assert list(store.rows) == sorted(key for key, _, _ in files) and store.config == CONFIG
    end = 0
    for key, path, seconds in sorted(files):
        first, count = store.rows[key]
        assert (first, count) == (end, pictures_of(seconds, CONFIG.clip))
        assert np.array_equal(store.pictures[first : first + count], expected(path, seconds))
        end += count
    assert end == 3 + 3 + 1 and store.pictures.shape == (end, 48, 48, 3) and store.pictures.dtype == np.uint8
    size = (tmp_path / "store/pictures.u8").stat().st_size
    assert account == {"files": 5, "decoded": 5, "reused": 0, "pictures": end, "bytes": size}
    assert sorted(path.name for path in (tmp_path / "store").iterdir()) == ["index.json", "pictures.u8"]

    told: list[tuple[float, str]] = []
    again = build(
        tmp_path / "again",
        files[::-1],
        read_picture=refuse,
        read_sound=refuse,
        reuse=[tmp_path / "store"],
        progress=lambda share, words: told.append((share, words)),
    )
    assert again["reused"] == 5 and again["decoded"] == 0 and told == [(1.0, "5 of 5 files")]
    for name in ("pictures.u8", "index.json"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "store" / name).read_bytes()


def refuse(path: Path, size: int) -> Any:
    raise AssertionError(f"{path} is decoded although its pictures are at hand")


def test_new_files_are_read_and_the_others_copied(tmp_path: Path) -> None:
    files = pictures(tmp_path / "source") + clips(tmp_path / "source", (1.2,))
    build(tmp_path / "whole", files)
    build(tmp_path / "some", files[1:3])
    account = build(tmp_path / "more", files, reuse=[tmp_path / "some"])
    assert account["reused"] == 2 and account["decoded"] == 2
    assert (tmp_path / "more/pictures.u8").read_bytes() == (tmp_path / "whole/pictures.u8").read_bytes()
    with pytest.raises(ValueError, match="other feature settings"):
        build(tmp_path / "other", files, config=PictureConfig(side=32), reuse=[tmp_path / "some"])


def crash_once(path: Path, side: int) -> np.ndarray:
    """Dies by SIGKILL, the first time that a file is read."""
    mark = path.with_suffix(".crashed")
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return read_picture(path, side)


def crash_always(path: Path, side: int) -> np.ndarray:
    os.kill(os.getpid(), signal.SIGKILL)
    return read_picture(path, side)


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_a_picture_that_crashes_its_process_is_read_again_once(tmp_path: Path) -> None:
    files = pictures(tmp_path / "source", 1)
    build(tmp_path / "store", files, read_picture=crash_once)
    assert np.array_equal(open_pictures(tmp_path / "store").pictures, expected(*files[0][1:]))
    with pytest.raises(ExtractionFailed, match=r"zażółć 0 !\.png.*crashed.*SIGKILL"):
        build(tmp_path / "crashing", files, read_picture=crash_always)
    assert list((tmp_path / "crashing").iterdir()) == []


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:4000])


@pytest.mark.parametrize("spoil", [cut_off, lambda path: path.write_text("no picture")])
def test_a_picture_that_cannot_be_decoded_is_named(tmp_path: Path, spoil: Any) -> None:
    ((_, path, _),) = pictures(tmp_path / "source", 1)
    spoil(path)
    with pytest.raises(FileChanged, match=r"zażółć 0 !\.png.*cannot be decoded any more.*take the inventory again"):
        build(tmp_path / "store", [(content_hash(path), path, 0.0)])
    assert list((tmp_path / "store").iterdir()) == []


def test_a_changed_picture_is_named(tmp_path: Path) -> None:
    files = pictures(tmp_path / "source")
    Image.new("RGB", (50, 50)).save(files[1][1])
    with pytest.raises(FileChanged, match=r"zażółć 1 !\.jpg.*its content is another"):
        build(tmp_path / "store", files)
    assert list((tmp_path / "store").iterdir()) == []


def grey(path: Path, side: int) -> np.ndarray:
    return np.zeros((side, side), np.uint8)


def test_what_is_no_picture_of_the_right_shape_never_gets_into_the_store(tmp_path: Path) -> None:
    with pytest.raises(FileChanged, match=r"uint8 \(48, 48\)"):
        build(tmp_path / "store", pictures(tmp_path / "source", 1), read_picture=grey)


def test_a_clip_without_sound_is_named(tmp_path: Path) -> None:
    path = tmp_path / "empty.wav"
    soundfile.write(path, np.zeros(0), 16000)
    with pytest.raises(FileChanged, match=r"empty\.wav.*no sound at all"):
        build(tmp_path / "store", [(content_hash(path), path, 1.0)])


def vanish(path: Path, side: int) -> np.ndarray:
    """As a drive that goes away: the decoder's error has no number, the system's has."""
    path.unlink()
    raise OSError("image file is truncated")


def test_a_source_that_vanishes_while_it_is_read_can_be_tried_again(tmp_path: Path) -> None:
    with pytest.raises(SourceVanished, match=r"zażółć 0 !\.png"):
        build(tmp_path / "store", pictures(tmp_path / "source", 1), read_picture=vanish)
    assert list((tmp_path / "store").iterdir()) == []


def test_many_cores_do_not_make_many_children(tmp_path: Path) -> None:
    asked = []

    def here(function: Any, files: Any, /, *, workers: int, seconds_allowed: Any) -> Any:
        asked.append(workers)
        yield from ((file, function(file)) for file in files)

    build(tmp_path / "store", pictures(tmp_path / "source", 12), workers=64, run=here)
    assert asked == [MOST_CHILDREN]


def test_a_store_without_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no file"):
        build(tmp_path / "store", [])


def test_a_damaged_store_is_not_opened(tmp_path: Path) -> None:
    store = tmp_path / "store"
    build(store, pictures(tmp_path / "source", 1))
    rows, index = (store / "pictures.u8").read_bytes(), (store / "index.json").read_text()
    (store / "pictures.u8").write_bytes(rows[:-1])
    with pytest.raises(StoreDamaged, match=r"6911 bytes do not make 1 rows; build it again"):
        open_pictures(store)
    (store / "pictures.u8").write_bytes(rows)
    (store / "index.json").write_text(index.replace('"format": 1', '"format": 9'))
    with pytest.raises(StoreDamaged, match="format 9 instead of 1; build it again"):
        open_pictures(store)
    (store / "index.json").write_text(index.replace('"span_db"', '"span"'))
    with pytest.raises(StoreDamaged, match=r"unknown key `clip\.span`.*build it again"):
        open_pictures(store)
    (store / "index.json").unlink()
    with pytest.raises(StoreDamaged, match="build it again"):
        open_pictures(store)
