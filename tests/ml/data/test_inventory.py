"""Source folders as they are: odd names, links, pipes, bad files, drives that go away, and the second look."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ml.config import ConfigError
from ml.data import inventory
from ml.data.inventory import COLUMNS, Inventory, InventoryConfig, SourceError, SourceVanished, take_inventory
from tests.ml.data.sounds import halve, noise, ordinary_user, write

LENIENT = InventoryConfig(max_rejected_share=1.0)
POSIX = pytest.mark.skipif(os.name == "nt", reason="named pipes, sockets and such names are not for this system")


def take(
    source: Path, config: InventoryConfig = LENIENT, known: pd.DataFrame | None = None, workers: int = 1
) -> Inventory:
    return take_inventory(source, config, known, workers=workers)


def problems(found: Inventory) -> dict[str, str]:
    return dict(zip(found.files["path"], found.files["problem"], strict=True))


@POSIX
def test_one_row_per_file_whatever_its_name(tmp_path: Path) -> None:
    source = tmp_path / "!_FILHARMONIA" / "TRAINING DATA"
    names = [
        "APPLAUSE/!głośne brawa, część 2.wav",
        "APPLAUSE/zwei\nZeilen.flac",
        "MUSIC/2024/Dvořák'\"; DROP TABLE files;--.WAV",
        "MUSIC/a'b.ogg",
        "MUSIC/%s {x} $HOME.mp3",
    ]
    for name in names:
        kind = Path(name).suffix[1:].upper()
        write(source / name, noise(1.0, 48_000, 2, seed=len(name)), 48_000, format=kind)
    found = take(source, InventoryConfig())
    assert list(found.files["path"]) == sorted(names)
    assert list(found.files.columns) == list(COLUMNS)
    assert (found.files["state"] == "ok").all(), problems(found)
    assert list(found.files["label"]) == [name.split("/")[0] for name in sorted(names)]
    assert found.notes == []


@POSIX
def test_what_is_no_file_is_never_opened(tmp_path: Path) -> None:
    write(tmp_path / "s/A/good.wav")
    outside = write(tmp_path / "outside/secret.wav")
    folder = tmp_path / "s/A"
    os.mkfifo(folder / "pipe.wav")
    (folder / "loop.wav").symlink_to("loop.wav")
    (folder / "out.wav").symlink_to(outside)
    (folder / "device.wav").symlink_to("/dev/zero")
    (folder / "gone.wav").symlink_to("nowhere.wav")
    (folder / "inside.wav").symlink_to("good.wav")
    (folder / "round").symlink_to(folder, target_is_directory=True)
    (folder / "folder.wav").mkdir()
    write(folder / "folder.wav/deep.wav")
    (tmp_path / "s/B").symlink_to(tmp_path / "outside", target_is_directory=True)
    with socket.socket(socket.AF_UNIX) as listener:
        here = Path.cwd()
        os.chdir(folder)  # names of sockets must be short
        try:
            listener.bind("socket.wav")
        finally:
            os.chdir(here)
    began = time.monotonic()
    found = take(tmp_path / "s")
    assert time.monotonic() - began < 10
    said = problems(found)
    assert "named pipe" in said["A/pipe.wav"]
    assert "socket" in said["A/socket.wav"]
    assert "leads nowhere" in said["A/gone.wav"] and "leads nowhere" in said["A/loop.wav"]
    assert "out of the source" in said["A/out.wav"] and "out of the source" in said["A/device.wav"]
    assert said["A/good.wav"] == "" and said["A/folder.wav/deep.wav"] == ""
    assert said["A/inside.wav"] == "the same recording as 'A/good.wav'"
    assert len(said) == 9
    assert any(note.startswith("A/round: a link to a folder") for note in found.notes)
    assert any(note.startswith("B: a link to a folder") for note in found.notes)


def test_bad_files_are_named_and_the_rest_goes_on(tmp_path: Path) -> None:
    for name in ("good", "better"):
        write(tmp_path / f"A/{name}.wav")
    halve(write(tmp_path / "A/half.wav", noise(2.0)))
    (tmp_path / "A/text.wav").write_text("this is no sound\n" * 50)
    (tmp_path / "A/empty.wav").touch()
    write(tmp_path / "A/silent.wav", np.zeros(16_000))
    found = take(tmp_path)
    states = dict(zip(found.files["path"], found.files["state"], strict=True))
    assert states == {
        "A/better.wav": "ok",
        "A/empty.wav": "rejected",
        "A/good.wav": "ok",
        "A/half.wav": "rejected",
        "A/silent.wav": "rejected",
        "A/text.wav": "rejected",
    }
    with pytest.raises(SourceError, match=r"4 of 6 files cannot be used.*on purpose.*'A/empty.wav': empty: 0 bytes"):
        take(tmp_path, InventoryConfig())


def test_other_files_and_folders_are_counted_and_ignored(tmp_path: Path) -> None:
    write(tmp_path / "MUSIC/a.wav")
    for name in ("cover.JPG", "b.jpg", "notes", "song.m4a", ".DS_Store", "._a.wav"):
        (tmp_path / "MUSIC" / name).write_bytes(b"x")
    (tmp_path / "MUSIC/.cache").mkdir()
    write(tmp_path / "MUSIC/.cache/b.wav")
    write(tmp_path / "Music theory/a.wav")
    write(tmp_path / "speech/a.wav")
    (tmp_path / "README.txt").touch()
    config = InventoryConfig(classes=("MUSIC",))
    found = take(tmp_path, config)
    assert list(found.files["path"]) == ["MUSIC/a.wav"]
    assert found.notes == [
        "1 files lie beside the class folders and are ignored",
        "Music theory: not a class of this study, ignored; the classes are MUSIC: "
        "rename the folder, or name it in `inventory.aliases`",
        "speech: not a class of this study, ignored; the classes are MUSIC: "
        "rename the folder, or name it in `inventory.aliases`",
        "MUSIC: 2 hidden files ignored",
        "MUSIC: files that are not read, by their ending: 2 .jpg, 1 .m4a, 1 no ending",
    ]


def test_a_class_without_files_is_named(tmp_path: Path) -> None:
    write(tmp_path / "MUSIC/a.wav")
    write(tmp_path / "MUSIC/b.wav")
    write(tmp_path / "Speech/a.wav")
    (tmp_path / "TUNING").mkdir()
    (tmp_path / "PUBLIC").mkdir()
    (tmp_path / "PUBLIC/a.wav").touch()
    config = InventoryConfig(classes=("MUSIC", "PUBLIC", "SPEECH", "TUNING"))
    with pytest.raises(SourceError) as problem:
        take(tmp_path, config)
    assert "PUBLIC (all 1 rejected), SPEECH (no audio file found), TUNING (no audio file found)" in str(problem.value)
    assert "meant as SPEECH" in str(problem.value)
    assert "MUSIC" not in str(problem.value).split("class ")[1].split(".")[0]


def test_sources_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such folder; connect the drive"):
        take(tmp_path / "absent")
    (tmp_path / "file").touch()
    with pytest.raises(SourceError, match="not a folder"):
        take(tmp_path / "file")
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="no audio files found; expected one folder per class"):
        take(tmp_path / "empty")
    write(tmp_path / "flat/a.wav")
    with pytest.raises(SourceError, match=r"no audio files found; expected A, B.*1 files lie beside"):
        take(tmp_path / "flat", InventoryConfig(classes=("A", "B")))


@POSIX
def test_folders_without_permission_stop_the_inventory() -> None:
    with tempfile.TemporaryDirectory() as name:  # pytest's own folders are closed to ordinary users
        source = Path(name) / "source"
        write(source / "A/a.wav")
        write(source / "A/closed/b.wav")
        Path(name).chmod(0o755)
        (source / "A/closed").chmod(0)
        try:
            with ordinary_user(), pytest.raises(SourceError, match=r"closed: Permission denied; what lies in it"):
                take(source)
            source.chmod(0)
            with ordinary_user(), pytest.raises(SourceError, match=r"source: Permission denied"):
                take(source)
            Path(name).chmod(0)
            with ordinary_user(), pytest.raises(SourceError, match=r"source: permission denied; give this user"):
                take(source)
        finally:
            for folder in (Path(name), source, source / "A/closed"):
                folder.chmod(0o700)


@pytest.mark.parametrize("kind", ["copy", "flac"])
def test_one_recording_under_two_labels_is_rejected_and_under_one_kept(tmp_path: Path, kind: str) -> None:
    samples = (noise(1.0) * 32767).astype(np.int16)
    write(tmp_path / "A/a.wav", samples, subtype="PCM_16")
    other = "b.wav" if kind == "copy" else "b.flac"
    write(tmp_path / f"B/{other}", samples, subtype="PCM_16")
    write(tmp_path / "C/c1.wav", samples // 2)
    write(tmp_path / "C/c2.wav", samples // 2)
    found = take(tmp_path)
    assert list(found.files["state"]) == ["rejected", "rejected", "ok", "warned"]
    said = problems(found)
    assert f"'B/{other}': one recording cannot have two labels" in said["A/a.wav"]
    assert "'A/a.wav'" in said[f"B/{other}"]
    assert said["C/c2.wav"] == "the same recording as 'C/c1.wav'"

    # The verdict follows the folder: with the other copy gone, nothing is held against the first.
    (tmp_path / "B" / other).unlink()
    (tmp_path / "C/c1.wav").unlink()
    again = take(tmp_path, known=found.files)
    assert list(again.files["state"]) == ["ok", "ok"] and list(again.files["problem"]) == ["", ""]


def test_a_second_look_opens_nothing_that_has_not_changed(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        write(tmp_path / f"A/{name}.wav")
    first = take(tmp_path)
    unchanged = tmp_path / "A/a.wav"
    status = unchanged.stat()
    unchanged.write_bytes(bytes(status.st_size))  # no sound any more: would be rejected if it were opened
    os.utime(unchanged, ns=(status.st_atime_ns, status.st_mtime_ns))
    write(tmp_path / "A/b.wav", noise(0.75))
    write(tmp_path / "A/d.wav")
    (tmp_path / "A/c.wav").unlink()

    second = take(tmp_path, known=first.files)
    rows = second.files.set_index("path")
    assert list(rows.index) == ["A/a.wav", "A/b.wav", "A/d.wav"]
    pd.testing.assert_series_equal(rows.loc["A/a.wav"], first.files.set_index("path").loc["A/a.wav"])
    assert rows.loc["A/b.wav", "seconds"] == pytest.approx(0.75)
    assert rows.loc["A/d.wav", "state"] == "ok"
    assert take(tmp_path).files.set_index("path").loc["A/a.wav", "state"] == "rejected"


def test_a_second_look_at_two_thousand_files_is_quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "A/0.wav", noise(0.1))
    content = (tmp_path / "A/0.wav").read_bytes()
    for number in range(2_000):
        folder = tmp_path / f"{'AB'[number % 2]}/{number % 20}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.wav").write_bytes(content)
    known = first_look_made_up(tmp_path)

    monkeypatch.setattr(inventory, "examine_file", never)
    best = np.inf
    for _ in range(3):
        began = time.perf_counter()
        second = take(tmp_path, known=known)
        best = min(best, time.perf_counter() - began)
    print(f"second look at {len(known)} files: {best:.3f} s")
    assert len(second.files) == len(known) == 2_001 and (second.files["state"] == "ok").all()
    assert best < 0.5


def never(*_: object, **__: object) -> None:
    raise AssertionError("a file was examined again")


def first_look_made_up(source: Path) -> pd.DataFrame:
    """The rows a first look would have made of different sounds (the files are copies, to make them quickly)."""
    rows = []
    for number, path in enumerate(sorted(source.rglob("*.wav"))):
        status = path.stat()
        own = {"path": path.relative_to(source).as_posix(), "bytes": status.st_size, "modified_ns": status.st_mtime_ns}
        hashes = {"content_hash": f"{number:064x}", "sound_hash": f"{number + 10**6:064x}"}
        sound = {"seconds": 0.1, "rate": 16_000, "channels": 1, "format": "wav/pcm_16", "peak": 0.4}
        rows.append({"label": "", "group": "", "state": "ok", "problem": ""} | own | hashes | sound)
    return pd.DataFrame(rows)[list(COLUMNS)].astype(COLUMNS)


def test_other_limits_are_another_verdict(tmp_path: Path) -> None:
    write(tmp_path / "A/long.wav", noise(2.0))
    write(tmp_path / "A/short.wav", noise(0.5))
    first = take(tmp_path, InventoryConfig(min_seconds=1.0))
    assert list(first.files["state"]) == ["ok", "rejected"]
    second = take(tmp_path, InventoryConfig(max_seconds_per_file=1.0), first.files)
    assert list(second.files["state"]) == ["rejected", "ok"]
    third = take(tmp_path, InventoryConfig(), second.files)
    assert list(third.files["state"]) == ["ok", "ok"]


def test_files_may_vanish_only_all_together(tmp_path: Path) -> None:
    """The source goes away while it is read: nothing is returned, least of all half an inventory."""
    source = tmp_path / "drive"
    for number in range(12):
        write(source / f"A/{number}.wav", noise(0.2, seed=number))
    heard: list[float] = []

    def pull_the_plug(share: float, _: str) -> None:
        heard.append(share)
        if len(heard) == 2:
            source.rename(tmp_path / "unplugged")

    with pytest.raises(SourceVanished, match="gone"):
        take_inventory(source, InventoryConfig(), None, workers=2, progress=pull_the_plug)
    assert len(heard) < 12


def test_a_class_folder_that_vanishes_at_the_very_end_is_noticed(tmp_path: Path) -> None:
    for name in "AB":
        write(tmp_path / f"{name}/a.wav")

    def pull_the_plug(share: float, _: str) -> None:
        if share == 1.0:
            shutil.rmtree(tmp_path / "B")

    with pytest.raises(SourceVanished, match="B was there and is gone"):
        take_inventory(tmp_path, LENIENT, None, workers=1, progress=pull_the_plug)


def test_progress_counts_files_and_tells_the_time_left(tmp_path: Path) -> None:
    for number in range(4):
        write(tmp_path / f"A/{number}.wav", noise(0.2, seed=number))
    heard: list[tuple[float, str]] = []
    take_inventory(tmp_path, LENIENT, None, workers=1, progress=lambda share, text: heard.append((share, text)))
    shares = [share for share, _ in heard]
    assert shares == sorted(shares) and shares[-1] == 1.0
    assert heard[1][1].startswith("2 of 4 files, ") and heard[1][1].endswith(" left")


@POSIX
def test_a_name_that_is_no_text_is_a_note(tmp_path: Path) -> None:
    write(tmp_path / "A/a.wav")
    try:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/A/\xff\xfe.wav")).write_bytes(b"x")
    except OSError:
        pytest.skip("this file system takes only text for names")
    found = take(tmp_path)
    assert len(found.files) == 1
    assert any(r"\xff\xfe.wav" in note and "rename" in note for note in found.notes)


@POSIX
def test_a_file_that_never_answers_costs_its_own_time_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file becomes a pipe after it was listed; were it waited for, this test would never end."""
    write(tmp_path / "A/a.wav")
    write(tmp_path / "A/b.wav")
    listed = inventory.list_source

    def list_then_swap(*what: Any, **how: Any) -> object:
        listing = listed(*what, **how)
        (tmp_path / "A/b.wav").unlink()
        os.mkfifo(tmp_path / "A/b.wav")
        return listing

    monkeypatch.setattr(inventory, "list_source", list_then_swap)
    done = threading.Event()
    threading.Timer(20, lambda: done.is_set() or os._exit(9)).start()
    said = problems(take(tmp_path))
    done.set()
    assert said["A/a.wav"] == "" and "not a regular file" in said["A/b.wav"]


def test_groups_come_from_the_configured_pattern(tmp_path: Path) -> None:
    write(tmp_path / "A/2024/mic1-evening7.wav")
    write(tmp_path / "A/other.wav")
    found = take(tmp_path, InventoryConfig(group_pattern=r"^\d+/.*-(?P<group>\w+)\."))
    assert list(found.files["group"]) == ["evening7", "A/other"]
    with pytest.raises(ConfigError, match="no regular expression"):
        take(tmp_path, InventoryConfig(group_pattern="(("))
    with pytest.raises(ConfigError, match="group"):
        take(tmp_path, InventoryConfig(group_pattern=".*"))


def test_sub_folders_that_mean_nothing_are_pointed_out(tmp_path: Path) -> None:
    for person in ("anna", "bert"):
        for name in ("hello", "goodbye"):
            write(tmp_path / f"A/{person}/{person}_{name}.wav", noise(0.1, seed=len(person + name)))
    (note,) = take(tmp_path).notes
    assert note.startswith("there are sub-folders (anna, bert), and every file counts as a recording of its own.")
    pattern = r"^(?P<group>[^/]+)/"
    assert pattern in note
    found = take(tmp_path, InventoryConfig(group_pattern=pattern))
    assert found.notes == [] and set(found.files["group"]) == {"anna", "bert"}


def test_a_group_that_swallows_a_class_is_pointed_out(tmp_path: Path) -> None:
    for number in range(10):
        write(tmp_path / f"A/brawo {number}.wav", noise(0.1, seed=number))
    found = take(tmp_path)
    assert found.notes == [
        "A: 10 of 10 files count as one recording, 'brawo'; if they are several, set `group_pattern`"
    ]
