"""Pieces of sound: the right samples, in bounded memory, from one decoding."""

from __future__ import annotations

import csv
import itertools
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ml.config import ConfigError, read_config
from ml.studies.drums import cutting
from ml.studies.drums.config import DrumsSettings
from ml.studies.drums.counting import Counts, count_files, count_folder, sentences, shortage
from ml.studies.drums.cutting import begin_of, cut
from ml.studies.drums.exporting import export
from ml.studies.drums.sources import take
from tests.ml.data.maps import RATE, clicks, song
from tests.ml.data.sounds import write

HITS = [(0, "kick"), (100, "kick"), (120, "crash"), (600, "snare"), (1100, "kick"), (1980, "snare")]
AT_8000 = {"features": {"sample_rate": RATE}, "trial": {"picture": {"high_hz": 4000.0}}}


def settings_of(**more: object) -> DrumsSettings:
    return read_config(DrumsSettings, AT_8000 | more, "test")


def corpus(folder: Path) -> Path:
    """Four songs and two packs, each component of the songs in all of them."""
    for number in range(4):
        song(folder / f"song {number}", [(ms + number, component) for ms, component in HITS])
    for number, name in itertools.product((1, 2), ("kick", "snare")):
        write(folder / f"pack{number}" / name / "one.wav", clicks(0.3, [number * 30 + len(name)]), RATE)
    return folder


def test_pieces_are_the_samples_with_silence_beyond_the_ends(tmp_path: Path) -> None:
    drawn = np.random.default_rng(3)
    samples = drawn.uniform(-0.5, 0.5, (5 * RATE + 17, 1)).astype(np.float32)
    path = write(tmp_path / "a.wav", samples, RATE, subtype="FLOAT")
    begins = np.sort(np.concatenate([drawn.integers(-400, len(samples) + 400, 200), [-400, 0, len(samples) - 1]]))
    padded = np.concatenate([np.zeros(1000, np.float32), samples[:, 0], np.zeros(2000, np.float32)])
    pieces = list(cut(path, RATE, begins, 300))
    assert len(pieces) == len(begins)
    for begin, piece in zip(begins, pieces, strict=True):
        np.testing.assert_array_equal(piece, padded[1000 + begin : 1300 + begin])


def test_a_long_sound_is_decoded_once_and_not_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.wav", clicks(60.0, []), RATE)
    opened, held = [], []
    real_read, real_piece = cutting.read_mono, cutting._piece
    monkeypatch.setattr(cutting, "read_mono", lambda *given: opened.append(1) or real_read(*given))
    monkeypatch.setattr(cutting, "_piece", lambda have, *given: held.append(len(have)) or real_piece(have, *given))
    assert sum(1 for _ in cut(path, RATE, np.arange(0, 60 * RATE, 240), 1000)) == 2000
    assert len(opened) == 1 and max(held) < 5 * RATE


def test_a_one_shot_begins_where_it_becomes_loud(tmp_path: Path) -> None:
    assert begin_of(write(tmp_path / "a.wav", clicks(0.5, [123]), RATE), RATE, 0.1) == round(0.123 * RATE)
    assert begin_of(write(tmp_path / "b.wav", np.zeros((0, 1)), RATE), RATE, 0.1) == 0


def test_an_export_holds_every_hit_as_it_is_seen_and_is_a_source_again(tmp_path: Path) -> None:
    source, settings, out = corpus(tmp_path / "source"), settings_of(), tmp_path / "out"
    exported = export(source, settings, out)
    with (out / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert exported.hits == len(rows) == 4 * len(HITS) + 4
    assert {row["path"] for row in rows} | {"labels.csv"} == {
        path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()
    }
    parts: dict[str, set[str]] = {}
    for row in rows:
        parts.setdefault(row["song"], set()).add(row["part"])
        assert row["path"].startswith(f"{row['part']}/{row['component']}/")
        piece, rate = soundfile.read(out / row["path"])
        assert (rate, len(piece)) == (RATE, RATE // 8)
        if row["seconds"]:
            whole = np.pad(soundfile.read(source / row["source"])[0], (200, 1000))
            begin = round(float(row["seconds"]) * RATE)
            np.testing.assert_allclose(piece, whole[begin : begin + 1000], atol=2**-22)
        else:
            assert np.abs(piece[:195]).max() < 0.1 < piece[200:205].min()
    assert all(len(of) == 1 for of in parts.values()) and set().union(*parts.values()) == {
        "train",
        "validation",
        "test",
    }
    assert {row["overlaps"] for row in rows if row["component"] == "crash"} == {"kick"}
    again = take(out, settings, None, None)
    assert len(again.files) == len(rows) and set(again.files["label"]) == {"kick", "snare", "crash"}


def test_an_export_replaces_an_earlier_one_and_nothing_else(tmp_path: Path) -> None:
    source, settings, out = corpus(tmp_path / "source"), settings_of(), tmp_path / "out"
    out.mkdir()
    export(source, settings, out)
    first = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    export(source, settings, out)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == first
    (out / "train" / "mine.wav").touch()
    for where, reason in (
        (out, r"files that no export wrote, such as train/mine\.wav"),
        (source / "out", "lies in the source"),
        (tmp_path, "or around it"),
        (source / "song 0" / "rock.wav", "lies in the source"),
    ):
        with pytest.raises(ConfigError, match=reason):
            export(source, settings, where)
    assert (out / "train" / "mine.wav").exists() and first.keys() < set(out.rglob("*"))
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_what_is_missing_is_said_in_words() -> None:
    assert shortage("kick", 56) == "56 of at least 100 (recommended 500): 44 more needed"
    assert shortage("kick", 100) == "100, enough to begin with; 400 more are recommended"
    assert shortage("kick", 500) is None and shortage("china", 0) is None
    counts = Counts()
    counts.add("kick", "a", 400)
    counts.add("kick", "b", 200)
    counts.add("china", "a")
    lines = sentences(counts)
    assert lines[0] == "kick: 600, enough; of 2 songs, not tested until there are 3"
    assert "china: 1, enough; of 1 song, left out until there are 2" in lines
    assert "snare: 0 of at least 100 (recommended 500): 100 more needed" in lines
    assert len(lines) == 10  # ride_bell and crash2, which nobody asks for, are not there


def test_hits_are_counted_alike_by_their_folder_and_by_the_inventory(tmp_path: Path) -> None:
    source = corpus(tmp_path / "source")
    easy = song(source / "song 0", HITS[:2], name="easy", filename="rock.wav", hash="", duration=0)
    easy.with_suffix(".wav").unlink()
    by_folder, by_files = count_folder(source), count_files(take(source, settings_of(), None, None).files)
    assert by_folder.hits["kick"] == 4 * 3 + 2  # both maps of song 0 have the same ones
    assert {name: len(songs) for name, songs in by_folder.songs.items()} == {"kick": 6, "snare": 6, "crash": 4}
    assert (by_files.songs, by_files.hits) == (by_folder.songs, by_folder.hits)
    (source / "song 1" / "rock.bsm").write_text("{}")
    assert any("song 1/rock.bsm: version: missing" in note for note in count_folder(source).notes)
