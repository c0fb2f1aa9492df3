"""Songs and packs as people have them: which hits are used, what is left out, what a person is told."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ml.config import ConfigError
from ml.data.inventory import Inventory
from ml.data.source import SourceError, SourceVanished
from ml.studies.drums import sources
from ml.studies.drums.config import DrumsSettings, SourceConfig
from ml.studies.drums.counting import count_folder
from ml.studies.drums.dividing import divide
from ml.studies.drums.exporting import export
from ml.studies.drums.sources import HIT_COLUMNS, data_fingerprint, take
from tests.ml.data.sounds import halve, write
from tests.ml.studies.drums.corpus import BEAT, RATE, beatmap, one_shots, song, songs, sound


def settings(**said: Any) -> DrumsSettings:
    return DrumsSettings(inventory=SourceConfig(**({"max_rejected_share": 1.0} | said)))


def taken(folder: Path, known: pd.DataFrame | None = None, **said: Any) -> Inventory:
    return take(folder, settings(**said), known, None)


def row(found: Inventory, path: str) -> Any:
    (one,) = found.files[found.files["path"] == path].itertuples()
    return one


def used(found: Inventory) -> list[str]:
    return found.files.loc[found.files["state"] != "rejected", "path"].tolist()


def problem(found: Inventory, path: str) -> str:
    one = row(found, path)
    assert one.state == "rejected"
    return str(one.problem)


def said(found: Inventory, words: str) -> str:
    (note,) = [note for note in found.notes if words in note]
    return note


def test_one_row_per_hit_with_what_is_known_of_its_sound(tmp_path: Path) -> None:
    song(tmp_path / "rock", "a")
    found = taken(tmp_path)
    assert list(found.files.columns) == list(HIT_COLUMNS)
    assert used(found) == [
        "rock/a.wav#0.100 hihat_closed",
        "rock/a.wav#0.100 kick",
        "rock/a.wav#0.400 snare",
        "rock/a.wav#0.700 kick",
    ]
    kick = row(found, "rock/a.wav#0.100 kick")
    assert (kick.label, kick.group, kick.at_seconds, kick.overlaps) == ("kick", "rock", 0.1, "hihat_closed")
    assert kick.seconds == 1.0 and kick.rate == RATE and kick.state == "ok" and kick.peak > 0.2
    assert len(set(found.files["content_hash"])) == 1
    assert pd.isna(row(found, "rock/a.wav#0.400 snare").overlaps)


def test_one_shots_in_folders_of_components_also_by_other_names(tmp_path: Path) -> None:
    one_shots(tmp_path / "Vintage", "Closed Hat", "kick", count=1)
    sound(tmp_path / "bd" / "deep" / "1.wav", 0.3)
    found = taken(tmp_path)
    assert dict(zip(found.files["path"], found.files["label"], strict=True)) == {
        "Vintage/Closed Hat/0.wav": "hihat_closed",
        "Vintage/kick/0.wav": "kick",
        "bd/deep/1.wav": "kick",
    }
    assert found.files["group"].tolist() == ["Vintage", "Vintage", "."]
    assert found.files["at_seconds"].isna().all() and found.files["overlaps"].isna().all()


def test_a_song_alone_in_its_folder_is_named_after_it_and_others_by_themselves(tmp_path: Path) -> None:
    song(tmp_path / "album" / "own folder", "audio")
    song(tmp_path / "album", "first")
    song(tmp_path / "album", "second")
    song(tmp_path, "loose")
    found = taken(tmp_path)
    groups = dict(zip(found.files["path"].str.split("#").str[0], found.files["group"], strict=True))
    assert groups == {
        "album/own folder/audio.wav": "album/own folder",
        "album/first.wav": "album/first",
        "album/second.wav": "album/second",
        "loose.wav": "loose",
    }


def test_a_pattern_names_songs_and_packs(tmp_path: Path) -> None:
    song(tmp_path, "anna_1")
    song(tmp_path, "anna_2")
    sound(tmp_path / "kick" / "ben_x.wav", 0.2)
    sound(tmp_path / "kick" / "strange.wav", 0.2)
    found = taken(tmp_path, group_pattern=r"(?P<group>[a-z]+)_")
    assert set(found.files["group"]) == {"anna", "ben", "."}
    with pytest.raises(ConfigError, match="no regular expression"):
        taken(tmp_path, group_pattern="(")


def test_several_maps_of_one_sound_are_joined(tmp_path: Path) -> None:
    sound(tmp_path / "a.wav")
    sound(tmp_path / "copy" / "b.wav", like=str(tmp_path / "a.wav"))
    beatmap(tmp_path / "easy.bsm", "a.wav", [(100, "kick")])
    beatmap(tmp_path / "hard.bs", "a.wav", [(101, "kick"), (300, "snare")])
    beatmap(tmp_path / "copy" / "other.bsm", "b.wav", [(500, "ride"), (300, "snare")])
    found = taken(tmp_path)
    assert used(found) == ["a.wav#0.100 kick", "a.wav#0.300 snare", "a.wav#0.500 ride"]
    assert "the same recording as 'a.wav'" in problem(found, "copy/b.wav")
    assert "1 song with more than one beatmap" in said(found, "joined")
    again = taken(tmp_path, found.files)
    assert again.files.equals(found.files)


def test_an_unchanged_sound_is_not_opened_again(tmp_path: Path) -> None:
    song(tmp_path, "a")
    song(tmp_path, "b", hash="sha256:" + "0" * 64)
    one_shots(tmp_path / "pack", "kick")
    before = taken(tmp_path, force=True)
    for path in tmp_path.rglob("*.wav"):  # whoever opens one now finds no sound
        status = path.stat()
        path.write_bytes(bytes(status.st_size))
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    beatmap(tmp_path / "a.bsm", "a.wav", [(250, "ride")], hash="")
    after = taken(tmp_path, before.files, force=True)
    assert "a.wav#0.250 ride" in used(after) and "a.wav#0.100 kick" not in used(after)
    assert row(after, "b.wav#0.100 kick").problem == row(before, "b.wav#0.100 kick").problem
    assert row(after, "pack/kick/0.wav").state == "ok"


def test_audio_that_is_not_the_one_of_the_map_is_said_and_can_be_forced(tmp_path: Path) -> None:
    song(tmp_path, "a", hash="sha256:" + "0" * 64)
    song(tmp_path, "b", duration=5000)
    song(tmp_path, "good", duration=1040)
    found = taken(tmp_path)
    assert {path.split("#")[0] for path in used(found)} == {"good.wav"}
    assert "audio.hash" in problem(found, "a.bsm") and "force: true" in problem(found, "a.bsm")
    assert "lasts 1.00 s, the map says 5.00 s" in problem(found, "b.bsm")
    forced = taken(tmp_path, found.files, force=True)
    assert len(used(forced)) == 3 * len(BEAT)
    hit = row(forced, "b.wav#0.100 kick")
    assert hit.state == "warned" and hit.problem.startswith("used although audio.duration")
    assert "2 songs used although" in said(forced, "used although")
    assert taken(tmp_path, forced.files).files.equals(found.files)


def test_audio_that_is_missing_or_lies_elsewhere(tmp_path: Path) -> None:
    song(tmp_path / "s", "good")
    outside = sound(tmp_path / "outside.wav")
    beatmap(tmp_path / "s" / "none.bsm", "nothing.wav", BEAT)
    beatmap(tmp_path / "s" / "up.bsm", "../outside.wav", BEAT)
    beatmap(tmp_path / "s" / "absolute.bsm", str(outside), BEAT)
    beatmap(tmp_path / "s" / "link.bsm", "link.wav", BEAT)
    (tmp_path / "s" / "link.wav").symlink_to(outside)
    beatmap(tmp_path / "s" / "hidden.bsm", ".hidden.wav", BEAT)
    sound(tmp_path / "s" / ".hidden.wav")
    found = taken(tmp_path / "s")
    assert {path.split("#")[0] for path in used(found)} == {"good.wav"}
    assert "nothing.wav" in problem(found, "none.bsm") and "leads out" in problem(found, "up.bsm")
    assert "no name of a file" in problem(found, "absolute.bsm") and "hidden" in problem(found, "hidden.bsm")
    assert "link out of the folder" in problem(found, "link.bsm")


def test_maps_that_cannot_be_read(tmp_path: Path) -> None:
    song(tmp_path, "good")
    (tmp_path / "text.bsm").write_text("kick kick snare", encoding="utf-8")
    (tmp_path / "empty.bs").write_bytes(b"")
    beatmap(tmp_path / "nan.bsm", "good.wav", [(float("nan"), "kick")])  # type: ignore[list-item]
    os.mkfifo(tmp_path / "pipe.bsm")
    found = taken(tmp_path)
    assert "JSON" in problem(found, "text.bsm") and "empty" in problem(found, "empty.bs")
    assert "hitObjects.0.time" in problem(found, "nan.bsm") and "named pipe" in problem(found, "pipe.bsm")
    assert len(used(found)) == len(BEAT)


def test_hits_that_cannot_be_used_are_counted(tmp_path: Path) -> None:
    song(tmp_path, "a", [(900, "snare"), (100, "kick"), (101, "kick"), (200, "cowbell"), (1000, "kick"), (300, "clap")])
    song(tmp_path, "b", [(100, "cowbell"), (200, "cowbell"), (300, "Closed Hat")])
    found = taken(tmp_path)
    assert used(found) == ["a.wav#0.100 kick", "a.wav#0.900 snare", "b.wav#0.300 hihat_closed"]
    assert said(found, "cowbell").startswith("cowbell: 3 hits in 2 beatmaps, such as 'b.bsm', left out")
    assert said(found, "clap").startswith("clap: 1 hit in 1 beatmap")
    assert "1 hit after the end of the sound left out, in 1 beatmap, such as 'a.bsm' (1)" in found.notes
    assert "1 hit that are there already left out" in said(found, "already")
    assert "1 beatmap mended, such as 'a.bsm'" in said(found, "mended")


def test_many_unknown_names_are_counted_not_listed(tmp_path: Path) -> None:
    song(tmp_path, "a", [(10, "kick"), *((number, f"thing{number}") for number in range(40))])
    found = taken(tmp_path)
    assert len(found.notes) < 10 and "35 further names" in said(found, "further")


def test_maps_without_a_hit_of_use(tmp_path: Path) -> None:
    song(tmp_path, "good")
    song(tmp_path, "empty", [])
    song(tmp_path, "late", [(5000, "kick"), (6000, "snare")])
    song(tmp_path, "strange", [(10, "cowbell")])
    found = taken(tmp_path)
    assert problem(found, "empty.bsm") == "it has no hits"
    assert problem(found, "late.bsm") == "all of its 2 hits lie after the end of 'late.wav' (1.00 s)"
    assert "cowbell" in problem(found, "strange.bsm")


def test_songs_of_silence_and_broken_ones(tmp_path: Path) -> None:
    song(tmp_path, "good")
    write(tmp_path / "silent.wav", np.zeros((RATE, 1)), RATE)
    beatmap(tmp_path / "silent.bsm", "silent.wav", BEAT)
    halve(sound(tmp_path / "broken.wav"))
    beatmap(tmp_path / "broken.bsm", "broken.wav", BEAT)
    found = taken(tmp_path)
    assert "silent" in problem(found, "silent.wav") and "cut off" in problem(found, "broken.wav")
    assert taken(tmp_path, found.files).files.equals(found.files)
    with pytest.raises(SourceError, match="2 of 3 songs and one-shots cannot be used"):
        taken(tmp_path, max_rejected_share=0.5)


def test_what_is_no_single_hit_and_what_has_two_labels(tmp_path: Path) -> None:
    sound(tmp_path / "pack" / "ride" / "song.wav", 31.0)
    one_shots(tmp_path / "pack", "kick")
    shutil.copy(tmp_path / "pack" / "kick" / "0.wav", tmp_path / "pack" / "kick" / "again.wav")
    (tmp_path / "pack" / "snare").mkdir()
    shutil.copy(tmp_path / "pack" / "kick" / "1.wav", tmp_path / "pack" / "snare" / "1.wav")
    found = taken(tmp_path)
    assert "31 s long" in problem(found, "pack/ride/song.wav")
    assert "two labels" in problem(found, "pack/kick/1.wav") and "two labels" in problem(found, "pack/snare/1.wav")
    assert row(found, "pack/kick/again.wav").state == "warned"


def test_a_sound_with_a_map_is_a_song_wherever_it_lies(tmp_path: Path) -> None:
    song(tmp_path / "Ride", "Vapour")
    found = taken(tmp_path)
    assert set(found.files["label"]) == {"kick", "snare", "hihat_closed"} and set(found.files["group"]) == {"Ride"}


def test_a_hit_cut_out_of_a_song_belongs_to_the_song(tmp_path: Path) -> None:
    song(tmp_path / "rock-12345678" / "kick", "1.234", [(50, "kick")])
    song(tmp_path / "rock-12345678", "rock-12345678")
    found = taken(tmp_path)
    assert set(found.files["group"]) == {"rock-12345678"}
    assert "rock-12345678/kick/1.234.wav#0.050 kick" in used(found)


def test_an_export_is_a_source_again(tmp_path: Path) -> None:
    for number in range(3):
        song(tmp_path / "source" / f"song{number}", "audio")
    export(tmp_path / "source", settings(), tmp_path / "out")
    found = taken(tmp_path / "out")
    assert set(found.files["group"]) == {"song0", "song1", "song2"} and set(found.files["state"]) == {"ok"}
    assert set(found.files["at_seconds"]) == {0.025} and len(found.files) == 3 * len(BEAT)
    assert count_folder(tmp_path / "out").all_songs() == {"song0", "song1", "song2"}
    first = found.files[found.files["label"] == "kick"].iloc[0]
    assert first["path"].endswith("_0.100.wav#0.025 kick") and first["overlaps"] == "hihat_closed"
    split = divide(found.files, settings(), None)
    given = split["path"].str.split("/").str[0]
    assert (given == split["part"]).all() and set(given) == {"train", "validation", "test"}
    table = tmp_path / "out" / "labels.csv"
    for nowhere in ("5000", "1e15", "1e307"):
        table.write_text(table.read_text().replace(",0.025,", f",{nowhere},").replace(",5000,", f",{nowhere},"))
        assert taken(tmp_path / "out").files["at_seconds"].isna().all()
    (tmp_path / "out" / "labels.csv").write_bytes(b"path,song\n\xff")
    assert taken(tmp_path / "out").files["at_seconds"].isna().all()


def test_sounds_of_which_nothing_is_known_are_counted(tmp_path: Path) -> None:
    song(tmp_path, "good")
    sound(tmp_path / "stems" / "bass.wav")
    sound(tmp_path / "x_cowbell" / "1.wav")
    assert said(taken(tmp_path), "not used").startswith("2 sounds not used, such as 'stems/bass.wav'")


def test_a_source_without_drums(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"no drums found; expected beatmaps .* the folder is empty"):
        taken(tmp_path)
    sound(tmp_path / "a.wav")
    with pytest.raises(SourceError, match="1 sound not used"):
        taken(tmp_path)
    with pytest.raises(SourceError, match="no such folder"):
        taken(tmp_path / "nowhere")
    (tmp_path / "bad.bsm").write_bytes(b"")
    with pytest.raises(SourceError, match="none of 1 songs and one-shots can be used"):
        taken(tmp_path)


def test_a_drive_that_goes_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "drive"
    song(source / "a", "a")
    found = sources.look(source)
    monkeypatch.setattr(sources, "look", lambda folder: found)
    shutil.rmtree(source)
    with pytest.raises(SourceVanished):
        taken(source)


def test_hidden_files_are_passed_over_in_silence(tmp_path: Path) -> None:
    song(tmp_path, "a")
    shutil.copy(tmp_path / "a.bsm", tmp_path / ".unfinished.bsm")
    song(tmp_path / ".hidden", "b")
    (tmp_path / ".collecting.lock").touch()
    found = taken(tmp_path)
    assert len(found.files) == len(BEAT) and not any("hidden" in note for note in found.notes)


def test_links_to_folders_are_not_followed(tmp_path: Path) -> None:
    song(tmp_path / "elsewhere", "b")
    song(tmp_path / "source", "a")
    (tmp_path / "source" / "more").symlink_to(tmp_path / "elsewhere")
    found = taken(tmp_path / "source")
    assert {path.split("#")[0] for path in used(found)} == {"a.wav"}
    assert said(found, "link") == "more: a link to a folder, not followed"


def test_what_identifies_the_data(tmp_path: Path) -> None:
    songs(tmp_path / "one", 4)
    one_shots(tmp_path / "one" / "pack", "kick", "snare")
    found = taken(tmp_path / "one")
    split = divide(found.files, settings(), None)
    own = data_fingerprint(found.files, split)
    (tmp_path / "one" / "song0").rename(tmp_path / "one" / "renamed")
    moved = taken(tmp_path / "one")
    assert data_fingerprint(moved.files, split_like(split, "song0", "renamed")) == own
    later = beatmap(tmp_path / "one" / "song1" / "audio.bsm", "audio.wav", [(101, "kick"), *BEAT[1:]])
    assert later.is_file()
    changed = taken(tmp_path / "one")
    assert data_fingerprint(changed.files, divide(changed.files, settings(), split)) != own


def split_like(split: pd.DataFrame, old: str, new: str) -> pd.DataFrame:
    """The same split after a folder was renamed."""
    return split.assign(path=split["path"].str.replace(f"{old}/", f"{new}/", regex=False))
