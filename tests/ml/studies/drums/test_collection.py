"""Collecting hits: exactly those of the map, each once, whatever is killed or runs at the same time."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from ml.config import ConfigError
from ml.data import examination
from ml.data.beatmap import read_beatmap
from ml.studies.drums import collection as collecting
from ml.studies.drums.collection import Collected, add_sample, extract, extract_folder
from ml.studies.drums.config import DrumsSettings
from ml.studies.drums.cutting import read_piece
from ml.studies.drums.sources import take
from tests.ml.data.maps import RATE, clicks, song
from tests.ml.data.sounds import write

HITS = [(100, "kick"), (100, "crash"), (600, "snare"), (1100, "kick"), (1234, "tom_low")]


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """A child for every sound costs half a second: one test has them."""

    def here(function: Any, items: Any, **how: Any) -> Any:
        return ((item, function(item)) for item in items)

    monkeypatch.setattr(collecting, "map_in_children", here)


def files_in(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def collected_hits(folder: Path) -> Counter[tuple[int, str]]:
    """All hits of whole songs in a collection."""
    maps = [read_beatmap(path) for path in folder.glob("*/*.bsm")]
    return Counter((hit.time, hit.component) for beatmap in maps for hit in beatmap.hitObjects)


def test_the_hits_of_a_map_are_collected_exactly_and_once(tmp_path: Path) -> None:
    beatmap, collection = song(tmp_path / "songs", HITS), tmp_path / "collection"
    before = files_in(tmp_path / "songs")
    first = extract(collection, beatmap, None)
    assert (first.added, first.known, first.notes) == (5, 0, [])
    mark = hashlib.sha256(before["rock.wav"]).hexdigest()[:8]
    assert set(files_in(collection)) == {f"rock-{mark}/rock-{mark}.wav", f"rock-{mark}/rock-{mark}.bsm"}
    assert collected_hits(collection) == Counter(HITS)
    again = files_in(collection)
    assert again[f"rock-{mark}/rock-{mark}.wav"] == before["rock.wav"]
    second = extract(collection, beatmap, None)
    assert (second.added, second.known) == (0, 5)
    assert files_in(collection) == again
    assert files_in(tmp_path / "songs") == before


def test_a_sound_is_decoded_once_however_many_hits_it_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    beatmap = song(tmp_path / "songs", [(ms, "kick") for ms in range(0, 1990, 2)])
    decoded = []
    real = examination._read_all
    monkeypatch.setattr(examination, "_read_all", lambda *given: decoded.append(1) or real(*given))
    assert extract(tmp_path / "collection", beatmap, None).added == 995
    assert len(decoded) == 1


def test_maps_of_one_sound_are_joined_whatever_it_is_called(tmp_path: Path) -> None:
    easy = song(tmp_path / "easy", HITS[:3])
    hard = song(tmp_path / "hard", [(101, "kick"), *HITS[2:]], name="rock hard")
    (tmp_path / "hard" / "rock hard.wav").write_bytes((tmp_path / "easy" / "rock.wav").read_bytes())
    collection = tmp_path / "collection"
    assert extract(collection, easy, None).added == 3
    came = extract(collection, hard, None, force=True)
    assert (came.added, came.known) == (2, 2)
    assert collected_hits(collection) == Counter(HITS)
    assert len(list(collection.iterdir())) == 1


def test_single_hits_are_clips_with_their_place_and_become_part_of_the_song(tmp_path: Path) -> None:
    beatmap = song(tmp_path / "songs", HITS)
    audio, collection = beatmap.with_suffix(".wav"), tmp_path / "collection"
    assert add_sample(collection, audio, 0.6, "snare").added == 1
    assert add_sample(collection, audio, 0.6004, "SD").known == 1
    assert add_sample(collection, audio, 0.03, "china").added == 1
    clip = next(collection.glob("*/snare/0.600.flac"))
    samples, rate = soundfile.read(clip)
    expected = soundfile.read(audio)[0][round(0.55 * RATE) : round(1.0 * RATE)]
    assert rate == RATE and soundfile.info(clip).subtype == "PCM_24"
    np.testing.assert_allclose(samples, expected, atol=2**-22)
    inventory = take(collection, DrumsSettings(), None, None)
    assert inventory.files["state"].eq("ok").all()
    places = dict(zip(inventory.files["label"], inventory.files["at_seconds"], strict=True))
    assert places == {"snare": 0.05, "china": 0.03}
    assert inventory.files["group"].unique().tolist() == [clip.parent.parent.name]

    came = extract(collection, beatmap, None)
    assert (came.added, came.known) == (4, 1)
    assert not clip.exists() and not clip.parent.exists()
    assert [path.name for path in collection.glob("*/*/*.flac")] == ["0.030.flac"]
    assert add_sample(collection, audio, 1.5, "ride").added == 1
    assert collected_hits(collection) == Counter([*HITS, (1500, "ride")])
    assert take(collection, DrumsSettings(), None, None).files["group"].nunique() == 1


def test_a_clip_of_an_mp3_or_of_many_channels_is_the_sound_at_its_place(tmp_path: Path) -> None:
    samples = clicks(3.0, [1500], 44_100)
    mp3 = write(tmp_path / "rock.mp3", samples, 44_100)
    piece, rate, at = read_piece(mp3, 1500, 50, 400)
    assert rate == 44_100 and len(piece) == round(0.45 * rate)
    assert abs(int(np.abs(piece).argmax()) - at) < 0.002 * rate
    wide = write(tmp_path / "wide.wav", np.repeat(clicks(1.0, [500]), 10, axis=1), RATE)
    assert add_sample(tmp_path / "collection", wide, 0.5, "kick").added == 1
    assert soundfile.info(next((tmp_path / "collection").glob("*/kick/*.flac"))).channels == 1


@pytest.mark.parametrize(
    ("seconds", "component", "reason"),
    [
        (0.5, "cowbell", "'cowbell' is no component; there are kick, snare"),
        (-1.0, "kick", "is no time in a file"),
        (float("nan"), "kick", "is no time in a file"),
        (float("inf"), "kick", "is no time in a file"),
        (2.5, "kick", "lasts 2.000 s; there is nothing at 2.5 s"),
        (2.0, "kick", "lasts 2.000 s"),
        (1.7e308, "kick", "lasts 2.000 s"),
    ],
)
def test_a_single_hit_that_is_none_is_refused(tmp_path: Path, seconds: float, component: str, reason: str) -> None:
    audio = write(tmp_path / "rock.wav", clicks(2.0, [500]), RATE)
    with pytest.raises(ConfigError, match=reason):
        add_sample(tmp_path / "collection", audio, seconds, component)
    assert not (tmp_path / "collection").exists()


def test_silence_and_what_is_no_sound_is_refused(tmp_path: Path) -> None:
    half = clicks(2.0, [100])
    half[RATE:] = 0
    for audio, reason in (
        (write(tmp_path / "silent.wav", np.zeros((2 * RATE, 1)), RATE), "silent from beginning to end"),
        (write(tmp_path / "half.wav", half, RATE), "there is silence at 1.5 s"),
        (tmp_path / "none.wav", "no such file"),
        (tmp_path, "is no sound that is read"),
    ):
        with pytest.raises(ConfigError, match=reason):
            add_sample(tmp_path / "collection", audio, 1.5, "kick")
    (tmp_path / "text.wav").write_text("no sound")
    with pytest.raises(ConfigError, match="not audio that can be read"):
        add_sample(tmp_path / "collection", tmp_path / "text.wav", 0.1, "kick")


def test_another_audio_than_the_map_was_made_for_needs_force(tmp_path: Path) -> None:
    beatmap, collection = song(tmp_path / "songs", HITS), tmp_path / "collection"
    other = write(tmp_path / "other.wav", clicks(1.0, [100]), RATE)
    with pytest.raises(ConfigError, match=r"audio\.hash: .*audio\.duration: .*say --force"):
        extract(collection, beatmap, other)
    assert not collection.exists()
    came = extract(collection, beatmap, other, force=True)
    assert came.added == 3
    assert any("2 hits after the end" in note for note in came.notes)
    assert take(collection, DrumsSettings(), None, None).files["state"].tolist() == ["ok"] * 3


def test_a_map_without_a_hit_to_use_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    for name, hits in (("empty", []), ("late", [(5000, "kick")]), ("strange", [(100, "cowbell")])):
        with pytest.raises(ConfigError, match="no hit in it that can be used"):
            extract(tmp_path / "collection", song(tmp_path / name, hits), None)
    assert not (tmp_path / "collection").exists()


def test_a_folder_goes_on_and_says_at_the_end_what_failed(tmp_path: Path) -> None:
    songs, collection = tmp_path / "songs", tmp_path / "songs" / "lab" / "collection"
    song(songs / "a", [*HITS, (700, "cowbell")])
    song(songs / "b", HITS, filename="../a/rock.wav")
    song(songs / "c", HITS, hash="sha256:" + "0" * 64)
    (song(songs / "d", HITS).with_suffix(".wav")).unlink()
    song(songs / "e", HITS).write_text("{")
    song(songs / "f", HITS[:2], seconds=1.0).rename(songs / "f" / "rock.BS")
    (songs / "g").mkdir()
    (songs / "g" / "pipe.bsm").symlink_to("/dev/zero")
    told: list[str] = []
    came = extract_folder(collection, songs, tell=told.append)
    assert (came.added, came.known) == (7, 0)
    assert [Path(line.split(": ")[0]).parent.name for line in sorted(came.failed)] == ["b", "c", "d", "e"]
    assert "cowbell" in came.notes[1] and len(told) == 3
    again = extract_folder(collection, songs)
    assert (again.added, again.known, len(again.failed)) == (0, 7, 4)
    assert extract_folder(collection, songs, force=True).added == 5
    assert extract_folder(collection, collection).added == 0
    with pytest.raises(ConfigError, match="no beatmaps in it"):
        extract_folder(collection, write(tmp_path / "sounds" / "a.wav").parent)


def test_a_sound_that_cannot_be_decoded_costs_its_song_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # in children, as it is outside of tests
    song(tmp_path / "songs" / "good", HITS)
    (song(tmp_path / "songs" / "bad", HITS).with_suffix(".wav")).write_bytes(b"RIFF\xff\xff\xff\xffWAVEfmt " + bytes(9))
    came = extract_folder(tmp_path / "collection", tmp_path / "songs")
    assert came.added == 5 and len(came.failed) == 1 and "bad" in came.failed[0]


def test_an_audio_that_changes_while_it_is_copied_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    beatmap, collection = song(tmp_path / "songs", HITS), tmp_path / "collection"
    real = collecting.examine

    def then_changed(path: Path, limits: Any) -> Any:
        facts = real(path, limits)
        with path.open("ab") as file:
            file.write(b"more")
        return facts

    monkeypatch.setattr(collecting, "examine", then_changed)
    with pytest.raises(ConfigError, match="it changed while it was read"):
        extract(collection, beatmap, None)
    assert files_in(collection) == {}


KILLED = """
import os, signal, sys
from pathlib import Path
from ml.studies.drums import collection, songfolder
collection.map_in_children = lambda function, items, **how: ((item, function(item)) for item in items)
def last_words(*given):
    os.kill(os.getpid(), signal.SIGKILL)
setattr(songfolder.{module}, "{name}", last_words)
collection.extract(Path(sys.argv[1]), Path(sys.argv[2]), None)
"""


@pytest.mark.parametrize(("module", "name"), [("os", "fsync"), ("Path", "replace")])
def test_what_is_killed_in_the_middle_is_made_whole_by_the_next(tmp_path: Path, module: str, name: str) -> None:
    beatmap, collection = song(tmp_path / "songs", HITS), tmp_path / "collection"
    program = KILLED.format(module=module, name=name)
    ended = subprocess.run([sys.executable, "-c", program, str(collection), str(beatmap)], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert [name for name in files_in(collection) if Path(name).name.startswith(".nocturne-")]
    assert extract(collection, beatmap, None).added == 5
    assert collected_hits(collection) == Counter(HITS)
    assert not [name for name in files_in(collection) if ".nocturne-" in name]


TOGETHER = """
import sys
from pathlib import Path
from ml.studies.drums import collection
collection.map_in_children = lambda function, items, **how: ((item, function(item)) for item in items)
print("ready", flush=True)
sys.stdin.read()
for path in sys.argv[2:]:
    collection.extract(Path(sys.argv[1]), Path(path), None)
"""


def test_processes_that_collect_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    collection = tmp_path / "collection"
    times = list(range(0, 1900, 100))
    sound = clicks(2.0, times)
    maps: list[list[Path]] = [[], []]
    for number, ms in enumerate(times):
        beatmap = song(tmp_path / str(number), [(ms, "kick")], hash="", duration=0)
        write(beatmap.with_suffix(".wav"), sound, RATE)
        maps[number % 2].append(beatmap)
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", TOGETHER, str(collection), *map(str, own)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=os.getcwd(),  # noqa: PTH109
        )
        for own in maps
    ]
    for run in runs:
        assert run.stdout is not None and run.stdout.readline() == b"ready\n"
    for run in runs:
        assert run.stdin is not None
        run.stdin.close()
    assert [run.wait(timeout=60) for run in runs] == [0, 0]
    for run in runs:
        assert run.stdout is not None
        run.stdout.close()
    assert collected_hits(collection) == Counter((ms, "kick") for ms in times)
    assert len(list(collection.iterdir())) == 1


def test_a_damaged_map_of_the_collection_is_named(tmp_path: Path) -> None:
    beatmap, collection = song(tmp_path / "songs", HITS), tmp_path / "collection"
    assert isinstance(extract(collection, beatmap, None), Collected)
    ours = next(collection.glob("*/*.bsm"))
    ours.write_text(json.dumps(json.loads(ours.read_text()) | {"version": "7"}))
    with pytest.raises(ConfigError, match=rf"{ours.name}: damaged .*remove it"):
        extract(collection, beatmap, None)


def test_a_full_disk_is_said_and_leaves_nothing_unfinished(tmp_path: Path) -> None:
    beatmap, collection = song(tmp_path / "songs", HITS), tmp_path / "collection"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(ConfigError, match="File too large"):
            extract(collection, beatmap, None)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert files_in(collection) == {}
    assert extract(collection, beatmap, None).added == 5


def test_a_sound_that_was_deleted_comes_back(tmp_path: Path) -> None:
    beatmap, collection = song(tmp_path / "songs", HITS), tmp_path / "collection"
    extract(collection, beatmap, None)
    before = files_in(collection)
    next(collection.glob("*/*.wav")).unlink()
    assert extract(collection, beatmap, None).known == 5
    assert files_in(collection) == before


def test_names_may_hold_any_bytes(tmp_path: Path) -> None:
    beatmap, collection = song(tmp_path / "songs", HITS[:1]), tmp_path / "collection"
    strange = beatmap.parent / os.fsdecode(b"caf\xe9 \xe3\x83\x89.bsm")
    beatmap.rename(strange)
    beatmap.with_suffix(".wav").rename(strange.with_suffix(".wav"))
    assert add_sample(collection, strange.with_suffix(".wav"), 0.1, "kick").added == 1
    assert extract_folder(collection, strange.parent, force=True).known == 1
    assert next(collection.glob("*/*.bsm")).name.isascii()
