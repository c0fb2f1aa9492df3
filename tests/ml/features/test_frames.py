"""A store holds every recording's frames once, whole, in a fixed order, or it does not exist."""

from __future__ import annotations

import errno
import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import soundfile

from ml.data.audio import read_mono
from ml.data.children import map_in_children
from ml.data.source import SourceVanished
from ml.features.building import ExtractionFailed, FileChanged
from ml.features.fbank import Fbank, FbankConfig
from ml.features.frames import build_frames, open_frames
from ml.features.store import StoreDamaged
from tests.benchmarks.features import watched_memory

CONFIG = FbankConfig(mels=32)
TAIL = 300

Files = list[tuple[str, Path]]


def content_hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def recordings(folder: Path, seconds: tuple[float, ...] = (3.0, 0.4, 7.5, 1.2), suffix: str = "wav") -> Files:
    """Noise, 48 kHz stereo; no two alike."""
    folder.mkdir(exist_ok=True)
    files = []
    for number, length in enumerate(seconds):
        path = folder / f"zażółć {number} !.{suffix}"
        samples = np.random.default_rng(number).normal(0, 0.1, (round(48000 * length), 2))
        soundfile.write(path, samples, 48000)
        files.append((content_hash(path), path))
    return files


def build(folder: Path, files: Files, **other: Any) -> dict[str, Any]:
    folder.mkdir()
    asked = {"decode": read_mono, "run": map_in_children, "workers": 1, "min_tail_rows": TAIL} | other
    return build_frames(folder, files, CONFIG, **asked)


def expected(path: Path) -> np.ndarray:
    samples = np.concatenate(list(read_mono(path, CONFIG.sample_rate)))
    return Fbank(CONFIG)(samples).astype(np.float16)


def test_every_recording_is_there_in_order_of_its_hash(tmp_path: Path) -> None:
    files = recordings(tmp_path / "source")
    account = build(tmp_path / "store", files, workers=2)
    store = open_frames(tmp_path / "store")
    assert list(store.rows) == sorted(key for key, _ in files)
    end = 0
    for key, path in sorted(files):
        start, count = store.rows[key]
        assert start == end
        assert np.array_equal(store.frames[start : start + count], expected(path))
        end += count
    assert store.frames.shape == (end + TAIL, CONFIG.mels) and not store.frames[end:].any()
    assert store.config == CONFIG
    assert account["files"] == account["decoded"] == 4 and account["reused"] == 0 and account["frames"] == end
    assert account["bytes"] == (tmp_path / "store" / "frames.f16").stat().st_size
    assert sorted(path.name for path in (tmp_path / "store").iterdir()) == ["frames.f16", "index.json"]


def test_the_same_bytes_whatever_the_workers_and_the_order(tmp_path: Path) -> None:
    files = recordings(tmp_path / "source")
    build(tmp_path / "one", files)
    build(tmp_path / "two", files[::-1], workers=3)
    for name in ("frames.f16", "index.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def refuse(path: Path, rate: int) -> Iterator[np.ndarray]:
    raise AssertionError(f"{path} is decoded although its frames are at hand")
    yield np.empty(0)


def test_an_earlier_store_is_copied_not_decoded(tmp_path: Path) -> None:
    files = recordings(tmp_path / "source")
    build(tmp_path / "whole", files)
    build(tmp_path / "some", files[:2])
    account = build(tmp_path / "again", files, decode=refuse, reuse=[tmp_path / "some", tmp_path / "whole"])
    assert account["reused"] == 4 and account["decoded"] == 0
    assert (tmp_path / "again/frames.f16").read_bytes() == (tmp_path / "whole/frames.f16").read_bytes()

    account = build(tmp_path / "more", files, reuse=[tmp_path / "some"])
    assert account["reused"] == 2 and account["decoded"] == 2
    assert (tmp_path / "more/frames.f16").read_bytes() == (tmp_path / "whole/frames.f16").read_bytes()


def test_a_store_of_other_settings_is_not_reused(tmp_path: Path) -> None:
    files = recordings(tmp_path / "source", (0.5,))
    build(tmp_path / "old", files)
    (tmp_path / "new").mkdir()
    with pytest.raises(ValueError, match="other feature settings"):
        build_frames(
            tmp_path / "new",
            files,
            FbankConfig(mels=40),
            decode=read_mono,
            run=map_in_children,
            workers=1,
            min_tail_rows=0,
            reuse=[tmp_path / "old"],
        )


def test_progress_counts_files_and_says_what_is_left(tmp_path: Path) -> None:
    told: list[tuple[float, str]] = []
    build(tmp_path / "store", recordings(tmp_path / "source"), progress=lambda share, text: told.append((share, text)))
    assert [text.split(",")[0] for _, text in told] == [f"{done} of 4 files" for done in range(5)]
    assert all(text.endswith(" left") for _, text in told[1:])
    shares = [share for share, _ in told]
    assert shares == sorted(shares) and shares[0] == 0.0 and shares[-1] == pytest.approx(1.0)


def crash_once(path: Path, rate: int) -> Iterator[np.ndarray]:
    """Dies by SIGKILL in the middle of a file, the first time that it is read."""
    mark = path.with_suffix(".crashed")
    for block in read_mono(path, rate, 0.5):
        yield block
        if not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)


def crash_always(path: Path, rate: int) -> Iterator[np.ndarray]:
    yield np.zeros(100_000, np.float32)
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_a_worker_killed_in_the_middle_is_replaced_and_its_file_read_again(tmp_path: Path) -> None:
    files = recordings(tmp_path / "source", (3.0, 1.2))
    build(tmp_path / "undisturbed", files)
    account = build(tmp_path / "store", files, decode=crash_once)
    assert all(path.with_suffix(".crashed").exists() for _, path in files) and account["decoded"] == 2
    assert (tmp_path / "store/frames.f16").read_bytes() == (tmp_path / "undisturbed/frames.f16").read_bytes()
    assert sorted(path.name for path in (tmp_path / "store").iterdir()) == ["frames.f16", "index.json"]


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_a_file_that_crashes_its_worker_each_time_is_named(tmp_path: Path) -> None:
    files = recordings(tmp_path / "source", (0.5,))
    with pytest.raises(ExtractionFailed, match=r"zażółć 0 !\.wav.*crashed.*SIGKILL"):
        build(tmp_path / "store", files, decode=crash_always)
    assert list((tmp_path / "store").iterdir()) == []


def test_a_changed_file_is_named(tmp_path: Path) -> None:
    files = recordings(tmp_path / "source")
    soundfile.write(files[2][1], np.zeros((48000, 2)), 48000)
    with pytest.raises(FileChanged, match=r"zażółć 2 !\.wav.*take the inventory again"):
        build(tmp_path / "store", files, workers=2)
    assert list((tmp_path / "store").iterdir()) == []


def test_only_a_file_without_its_stamp_is_hashed(tmp_path: Path) -> None:
    files = recordings(tmp_path / "source", (0.5, 0.7))
    stamps = {key: (path.stat().st_size, path.stat().st_mtime_ns) for key, path in files}
    build(tmp_path / "one", files, stamps=stamps)
    os.utime(files[0][1], ns=(0, 0))
    build(tmp_path / "touched", files, stamps=stamps)
    assert (tmp_path / "one/frames.f16").read_bytes() == (tmp_path / "touched/frames.f16").read_bytes()

    soundfile.write(files[1][1], np.zeros((48000, 2)), 48000)
    with pytest.raises(FileChanged, match=r"zażółć 1 !\.wav"):
        build(tmp_path / "changed", files, stamps=stamps)


def write_to_it(path: Path, rate: int) -> Iterator[np.ndarray]:
    yield from read_mono(path, rate)
    with path.open("ab") as file:
        file.write(b"more")


def test_a_file_written_to_while_it_is_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileChanged, match=r"zażółć 0 !\.wav.*while it was read"):
        build(tmp_path / "store", recordings(tmp_path / "source", (0.5,)), decode=write_to_it)
    assert list((tmp_path / "store").iterdir()) == []


def test_a_file_that_cannot_be_decoded_and_one_without_a_frame_are_named(tmp_path: Path) -> None:
    text = tmp_path / "text.wav"
    text.write_text("no sound")
    with pytest.raises(FileChanged, match=r"text\.wav.*cannot be decoded"):
        build(tmp_path / "one", [(content_hash(text), text)])
    with pytest.raises(FileChanged, match="shorter than one frame of 25 ms"):
        build(tmp_path / "two", recordings(tmp_path / "source", (0.02,)))


def remove_source(path: Path, rate: int) -> Iterator[np.ndarray]:
    """As a drive that goes away: the decoder's error says little, the system's says which."""
    yield np.zeros(100_000, np.float32)
    path.unlink()
    raise RuntimeError("Error : flac decoder lost sync")


def stale(path: Path, rate: int) -> Iterator[np.ndarray]:
    yield np.zeros(100_000, np.float32)
    raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))


@pytest.mark.parametrize("decode", [remove_source, stale])
def test_a_source_that_vanishes_while_it_is_read_can_be_tried_again(tmp_path: Path, decode: Any) -> None:
    with pytest.raises(SourceVanished, match=r"zażółć 0 !\.wav"):
        build(tmp_path / "store", recordings(tmp_path / "source", (0.5,)), decode=decode)
    assert list((tmp_path / "store").iterdir()) == []


def test_a_source_that_is_gone_before_can_be_tried_again(tmp_path: Path) -> None:
    files = recordings(tmp_path / "source")
    files[1][1].unlink()
    with pytest.raises(FileNotFoundError, match=r"zażółć 1 !\.wav"):
        build(tmp_path / "store", files)
    assert list((tmp_path / "store").iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32" or getattr(os, "geteuid", int)() != 0, reason="needs a full file system")
def test_a_full_disk_says_so(tmp_path: Path) -> None:
    """A file system of 256 KiB; skipped where none can be made."""
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(small)], capture_output=True)
    if mounted.returncode:
        pytest.skip("no file system can be mounted here")
    try:
        with pytest.raises(OSError, match=r"zażółć 0 !\.wav") as caught:
            build(small / "store", recordings(tmp_path / "source", (60.0,)))
        assert caught.value.errno == errno.ENOSPC
        assert list((small / "store").iterdir()) == []
    finally:
        subprocess.run(["umount", str(small)], check=True)


def slowly(path: Path, rate: int) -> Iterator[np.ndarray]:
    for block in read_mono(path, rate, 0.5):
        time.sleep(0.2)
        yield block


BUILDER = """
import sys
from pathlib import Path
from tests.ml.features import test_frames
folder, source = map(Path, sys.argv[1:])
files = [(test_frames.content_hash(path), path) for path in sorted(source.iterdir())]
test_frames.build(folder, files, decode=test_frames.slowly, workers=2)
"""


def test_nothing_half_written_is_accepted_after_the_builder_is_killed(tmp_path: Path) -> None:
    recordings(tmp_path / "source")
    builder = subprocess.Popen([sys.executable, "-c", BUILDER, str(tmp_path / "store"), str(tmp_path / "source")])
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("store/*.part")):
        assert time.monotonic() < deadline and builder.poll() is None
        time.sleep(0.02)
    children = psutil.Process(builder.pid).children(recursive=True)
    assert children
    builder.kill()
    builder.wait()
    with pytest.raises(StoreDamaged, match="build it again"):
        open_frames(tmp_path / "store")
    _, alive = psutil.wait_procs(children, timeout=10)
    assert not alive, "children outlive the process that they worked for"


@pytest.mark.parametrize("damage", ["no index", "half an index", "short frames", "long frames"])
def test_a_damaged_store_is_not_opened(tmp_path: Path, damage: str) -> None:
    store = tmp_path / "store"
    build(store, recordings(tmp_path / "source", (0.5,)))
    frames, index = store / "frames.f16", store / "index.json"
    if damage == "no index":
        index.unlink()
    elif damage == "half an index":
        index.write_bytes(index.read_bytes()[:-10])
    else:
        content = frames.read_bytes()
        frames.write_bytes(content[:-2] if damage == "short frames" else content + b"\0\0")
    with pytest.raises(StoreDamaged, match="build it again"):
        open_frames(store)


def long_recording(path: Path, minutes: int) -> None:
    """16-bit stereo of 48 kHz: one minute of noise, repeated."""
    minute = np.random.default_rng(0).integers(-3000, 3000, (48000 * 60, 2), dtype=np.int16)
    with soundfile.SoundFile(path, "w", 48000, 2, "PCM_16") as file:
        for _ in range(minutes):
            file.write(minute)


def test_memory_does_not_grow_with_the_length_of_a_file(tmp_path: Path) -> None:
    """Twenty minutes are 440 MiB once decoded, and 77 MiB of samples at 16 kHz."""
    long_recording(tmp_path / "long.wav", 20)
    recording = (content_hash(tmp_path / "long.wav"), tmp_path / "long.wav")
    before = psutil.Process().memory_info().rss
    with watched_memory() as most:
        account = build(tmp_path / "store", [recording])
    everything, children = most()
    assert account["frames"] == Fbank(CONFIG).frames_of(20 * 60 * 16000)
    assert 0 < children < 300 * 2**20
    assert everything - before < 400 * 2**20
