"""A song is read as the sound that networks learned from, in bounded memory, and refused where it is not whole."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from ml.data.audio import read_mono
from ml.inference import songs
from ml.inference.files import Unreadable
from ml.inference.songs import read_song
from tests.ml.inference.drummed import drummed


@pytest.mark.parametrize(("suffix", "rate"), [(".wav", 44_100), (".flac", 48_000), (".ogg", 22_050), (".mp3", 44_100)])
def test_a_song_is_the_sound_that_is_kept_for_training(tmp_path: Path, suffix: str, rate: int) -> None:
    path = tmp_path / f"song{suffix}"
    samples, _ = drummed(seconds=2.5, rate=rate)
    soundfile.write(str(path), np.stack([samples, 0.5 * samples], axis=1), rate)
    song = read_song(path, 44_100)
    kept = np.concatenate([block.astype("<f2") for block in read_mono(path, 44_100)])
    assert np.array_equal(song.samples, kept)
    assert song.content_hash == hashlib.sha256(path.read_bytes()).hexdigest()
    assert song.own_rate == rate
    assert song.seconds == pytest.approx(2.5, abs=0.06)


def test_a_length_that_nobody_said_is_read_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "song.wav"
    samples, _ = drummed(seconds=3.0)
    soundfile.write(str(path), samples, 44_100, subtype="FLOAT")
    whole = read_song(path, 44_100).samples

    original = songs.readable

    @contextmanager
    def forgetful(path: Path) -> Iterator[tuple[Any, int]]:
        with original(path) as (sound, _):
            yield sound, 0

    monkeypatch.setattr(songs, "readable", forgetful)
    assert np.array_equal(read_song(path, 44_100).samples, whole)


def test_what_is_no_song_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    samples, _ = drummed(seconds=2.0)
    whole, broken = tmp_path / "whole.wav", tmp_path / "broken.wav"
    soundfile.write(str(whole), samples, 44_100)
    broken.write_bytes(whole.read_bytes()[:50_000])
    (tmp_path / "empty.wav").write_bytes(b"")
    for value in (np.nan, np.inf, 1e6):
        samples[1000] = value
        soundfile.write(str(tmp_path / "values.wav"), samples, 44_100, subtype="FLOAT")
        with pytest.raises(Unreadable, match="no numbers"):
            read_song(tmp_path / "values.wav", 44_100)
    for name, words in (("broken.wav", "cut off"), ("empty.wav", "0 bytes"), ("none.wav", "no such file")):
        with pytest.raises(Unreadable, match=words):
            read_song(tmp_path / name, 44_100)
    with pytest.raises(Unreadable, match="not a regular file"):
        read_song(tmp_path, 44_100)
    monkeypatch.setattr(songs, "LONGEST_SECONDS", 1.0)
    with pytest.raises(Unreadable, match="hours"):
        read_song(whole, 44_100)
