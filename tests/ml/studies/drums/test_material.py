"""Hits as places in the store: where they begin, what sounds with them, which songs are whole."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ml.data.components import COMPONENTS
from ml.features.hit_config import HitPictureConfig
from ml.features.waveforms import WaveformConfig, WaveformStore
from ml.studies.drums.hits import hit_path, place_of, places_of
from ml.studies.drums.material import hits_of, songs_of
from ml.studies.drums.overlapping import in_words, sounding

RATE = 8000


def store_of(folder: Path, **recordings: np.ndarray) -> WaveformStore:
    """A store of these recordings by content hash."""
    whole = np.concatenate([np.asarray(samples, "<f2") for samples in recordings.values()])
    (folder / "samples").write_bytes(whole.tobytes())
    mapped = np.memmap(folder / "samples", dtype="<f2", mode="r")
    ends = np.cumsum([len(samples) for samples in recordings.values()])
    places = {
        key: (int(end) - len(samples), len(samples))
        for (key, samples), end in zip(recordings.items(), ends, strict=True)
    }
    return WaveformStore(mapped, places, WaveformConfig(sample_rate=RATE), dict.fromkeys(places, 0.1))


def split_of(hits: Mapping[str, Sequence[tuple[int, str]]], part: str = "train") -> pd.DataFrame:
    """Songs (path and content hash are their names) with these hits (ms, component)."""
    rows = [
        (hit_path(f"{song}.wav", ms, component), component, song, song, part)
        for song, played in hits.items()
        for ms, component in played
    ]
    return pd.DataFrame(rows, columns=["path", "label", "group", "content_hash", "part"])


def names(row: np.ndarray) -> set[str]:
    return {COMPONENTS[place] for place in np.flatnonzero(row)}


def test_a_hit_lies_where_its_name_says_and_nothing_outside_its_recording_is_seen(tmp_path: Path) -> None:
    store = store_of(tmp_path, a=np.zeros(RATE), b=np.zeros(2 * RATE))
    hits = hits_of(store, split_of({"b": [(500, "snare")], "a": [(250, "kick")]}), HitPictureConfig())
    assert hits.start.tolist() == [RATE + RATE // 2, RATE // 4]
    assert hits.first.tolist() == [RATE, 0] and hits.last.tolist() == [3 * RATE, RATE]
    assert [COMPONENTS[place] for place in hits.label] == ["snare", "kick"]
    assert [hits.groups[place] for place in hits.song] == ["b", "a"] and hits.part.tolist() == [0, 0]


def test_a_hit_at_the_very_end_still_lies_in_its_recording(tmp_path: Path) -> None:
    store = store_of(tmp_path, a=np.zeros(RATE), b=np.ones(RATE))
    hits = hits_of(store, split_of({"a": [(1000, "kick")]}), HitPictureConfig())
    assert hits.start.tolist() == [RATE - 1]


def test_a_one_shot_begins_where_it_becomes_loud(tmp_path: Path) -> None:
    sound = np.concatenate([np.full(300, 0.01), [0.2], np.full(99, 0.9)])
    split = pd.DataFrame([("pack/kick/x.wav", "kick", "pack", "x", "test")], columns=split_of({}).columns)
    hits = hits_of(store_of(tmp_path, w=np.zeros(50), x=sound), split, HitPictureConfig())
    assert hits.start.tolist() == [350] and not hits.companions.any()
    assert names(hits.together[0]) == {"kick"}


def test_a_one_shot_without_any_sound_begins_at_its_beginning(tmp_path: Path) -> None:
    split = pd.DataFrame([("pack/kick/x.wav", "kick", "pack", "x", "train")], columns=split_of({}).columns)
    assert hits_of(store_of(tmp_path, x=np.zeros(9)), split, HitPictureConfig()).start.tolist() == [0]


def test_what_sounds_at_once_and_what_sounds_within_the_window(tmp_path: Path) -> None:
    store = store_of(tmp_path, a=np.zeros(RATE), b=np.zeros(RATE))
    played = [(100, "kick"), (120, "crash"), (121, "china"), (200, "ride"), (400, "kick")]
    split = split_of({"a": played, "b": [(100, "snare")]}).sample(frac=1, random_state=3).reset_index(drop=True)
    hits = hits_of(store, split, HitPictureConfig(before_ms=25, after_ms=100))
    seen = {
        place_of(path).seconds: (names(hits.together[row]), names(hits.companions[row]))
        for row, path in enumerate(hits.paths)
        if path.startswith("a")
    }
    assert seen[0.100] == ({"kick", "crash"}, {"crash", "china", "ride"})
    assert seen[0.120] == ({"kick", "crash", "china"}, {"kick", "china", "ride"})
    assert seen[0.121] == ({"crash", "china"}, {"kick", "crash", "ride"})
    assert seen[0.200] == ({"ride"}, set())
    assert seen[0.400] == ({"kick"}, set())


def test_sounding_agrees_with_looking_at_every_pair() -> None:
    random = np.random.default_rng(5)
    recording, label = random.integers(0, 3, 300), random.integers(0, 12, 300)
    times = random.integers(0, 1500, 300).astype(float)
    expected = np.zeros((300, 12), dtype=bool)
    for one in range(300):
        for other in range(300):
            within = -25 <= times[other] - times[one] <= 100
            if one != other and recording[one] == recording[other] and within:
                expected[one, label[other]] = True
    assert np.array_equal(sounding(recording, times, label, 25, 100), expected) and expected.any()
    assert in_words(np.eye(12, dtype=bool)[0] | np.eye(12, dtype=bool)[4]) == "kick, crash"


def test_songs_with_their_hits(tmp_path: Path) -> None:
    store = store_of(tmp_path, a=np.arange(RATE) / RATE, b=np.zeros(RATE), clip=np.zeros(RATE))
    split = split_of({"b": [(10, "kick")], "a": [(500, "kick"), (250, "kick"), (250, "ride")]}, "test")
    single = ("c-12345678/kick/1.234.flac#0.050 kick", "kick", "c-12345678", "clip", "test")
    one_shot = ("pack/kick/x.wav", "kick", "pack", "b", "test")
    other = ("z.wav#0.100 kick", "kick", "z", "b", "train")
    split = pd.concat([split, pd.DataFrame([single, one_shot, other], columns=split.columns)], ignore_index=True)
    songs = songs_of(store, split, "test")
    assert [song.path for song in songs] == ["a.wav", "b.wav"]
    assert songs[0].reference["kick"].tolist() == [0.25, 0.5] and songs[0].reference.keys() == {"kick", "ride"}
    assert songs[0].samples[RATE // 2] == 0.5 and len(songs[0].samples) == RATE and songs[0].rate == RATE
    assert songs_of(store, split, "validation") == []


def test_without_their_sound_in_the_store(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="1 recordings have no samples"):
        hits_of(store_of(tmp_path, a=np.zeros(9)), split_of({"other": [(1, "kick")]}), HitPictureConfig())


def test_names_of_hits_and_back() -> None:
    paths = ["a b/c#1.wav#12.345 tom_high", "x#1.250 kick.wav", "zażółć.flac#0.000 kick"]
    found = places_of(pd.Series(paths, index=[7, 8, 9]))
    assert found["audio"].tolist() == ["a b/c#1.wav", "x#1.250 kick.wav", "zażółć.flac"]
    assert found["seconds"].fillna(-1).tolist() == [12.345, -1, 0.0] and found.index.tolist() == [7, 8, 9]
    assert [place_of(path).audio for path in paths] == found["audio"].tolist()


def test_a_hundred_thousand_hits_take_seconds(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    songs, each = 66, 1500
    times = np.sort(random.integers(0, 300_000, (songs, each)), axis=1)
    labels = random.integers(0, 9, (songs, each))
    split = split_of(
        {
            f"s{song}": [(int(ms), COMPONENTS[one]) for ms, one in zip(times[song], labels[song], strict=True)]
            for song in range(songs)
        }
    )
    store = store_of(tmp_path, **{f"s{song}": np.zeros(8) for song in range(songs)})
    began = time.process_time()
    hits = hits_of(store, split, HitPictureConfig())
    assert len(hits) == songs * each and time.process_time() - began < 10
