"""Every sound is decoded once and lies in the store as a whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

from ml.features.waveforms import WaveformConfig, open_waveforms
from ml.studies.drums.config import DrumsSettings
from ml.studies.drums.dividing import divide
from ml.studies.drums.features import build, counts
from ml.studies.drums.material import hits_of, songs_of
from ml.studies.drums.sources import take
from tests.ml.studies.drums.corpus import BEAT, RATE, one_shots, songs

SETTINGS = DrumsSettings(features=WaveformConfig(sample_rate=RATE))


def test_from_files_to_hits_in_the_store(tmp_path: Path) -> None:
    source, folder, again = tmp_path / "source", tmp_path / "features", tmp_path / "again"
    songs(source, 4)
    one_shots(source / "pack", "kick", "snare")
    files = take(source, SETTINGS, None, None).files
    split = divide(files, SETTINGS, None)
    folder.mkdir()
    account = build(folder, source, files, split, SETTINGS, [], None)
    assert (account["files"], account["decoded"], account["hits"]) == (8, 8, 4 * len(BEAT) + 4)

    store = open_waveforms(folder)
    hits = hits_of(store, split, SETTINGS.trial.picture)
    (place,) = [row for row, path in enumerate(hits.paths) if path == "song1/audio.wav#0.400 snare"]
    sound, _ = soundfile.read(source / "song1" / "audio.wav", dtype="float32")
    seen = store.samples[hits.start[place] : hits.start[place] + 100].astype(np.float32)
    assert np.allclose(seen, sound[3200:3300], atol=1e-3) and hits.last[place] - hits.first[place] == RATE
    every = [song for part in ("train", "validation", "test") for song in songs_of(store, split, part)]
    assert sorted(song.path for song in every) == [f"song{number}/audio.wav" for number in range(4)]
    assert every[0].reference["kick"].tolist() == [0.1, 0.7]

    again.mkdir()
    assert build(again, source, files, split, SETTINGS, [folder], None)["decoded"] == 0


def test_how_many_hits_each_part_has(tmp_path: Path) -> None:
    songs(tmp_path, 5)
    split = divide(take(tmp_path, SETTINGS, None, None).files, SETTINGS, None)
    found = counts(tmp_path, split, SETTINGS)
    assert found["class"].tolist()[:3] == ["kick", "snare", "hihat_closed"] and found["part"].iloc[0] == "train"
    assert found["windows"].sum() == len(split)
    assert found.loc[found["class"] == "kick", "windows"].sum() == 10
