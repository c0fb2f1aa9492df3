"""Folders as people have them: what is used of them, what is left out, what a person is told."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ml.data.inventory import Inventory
from ml.data.source import SourceError
from ml.data.split import SplitConfig, TooFewRecordings
from ml.features.waveforms import WaveformConfig, open_waveforms
from ml.studies.denoise.config import DenoiseSettings
from ml.studies.denoise.features import build, counts
from ml.studies.denoise.mixing import MixConfig, Mixtures
from ml.studies.denoise.sources import data_fingerprint, divide, leaks, take
from tests.ml.data.sounds import halve, noise, write

RATE = 8000


def settings(**said: object) -> DenoiseSettings:
    usual = DenoiseSettings(
        split=SplitConfig(train=0.6, validation=0.2, test=0.2), features=WaveformConfig(sample_rate=RATE)
    )
    trial = usual.trial.model_copy(update={"mix": MixConfig(segment_seconds=0.25)})
    return usual.model_copy(update={"trial": trial, **said})


def put(folder: Path, *names: str, seconds: float = 0.6, rate: int = RATE, seed: int = 0) -> None:
    """Sounds of their own."""
    for name in names:
        write(folder / name, noise(seconds, rate, seed=zlib.crc32(f"{seed} {name}".encode())), rate)


def put_pairs(folder: Path, *names: str, part: str = "") -> None:
    put(folder / part / "clean", *names)
    put(folder / part / "noisy", *names, seed=1)


def taken(folder: Path, known: pd.DataFrame | None = None, **said: object) -> Inventory:
    return take(folder, settings(**said), known, None)


def states(found: Inventory) -> dict[str, str]:
    return dict(zip(found.files["path"], found.files["state"], strict=True))


NAMES = tuple(f"s{letter}.wav" for letter in "abcdef")


def test_clean_and_noise(tmp_path: Path) -> None:
    put(tmp_path / "Speech", *NAMES)
    put(tmp_path / "background", *(f"n{letter}.flac" for letter in "abc"))
    found = taken(tmp_path)
    assert set(found.files["label"]) == {"clean", "noise"} and set(found.files["state"]) == {"ok"}
    assert found.notes == []
    split = divide(found.files, settings(), None)
    assert split.groupby("label")["part"].nunique().eq(3).all() and leaks(found.files, split).empty


def test_without_noise_a_person_is_told_what_to_add(tmp_path: Path) -> None:
    put(tmp_path / "clean", *NAMES)
    put(tmp_path / "rumble", "a.wav")
    with pytest.raises(SourceError) as raised:
        taken(tmp_path)
    sentence = str(raised.value)
    assert "clean/ has 6 files" in sentence and "noise/" in sentence and "noisy/" in sentence
    assert "rumble: not a class of this study" in sentence


def test_without_clean_a_person_is_told_what_to_add(tmp_path: Path) -> None:
    put(tmp_path / "noise", *NAMES)
    with pytest.raises(SourceError, match="no sound in clean/"):
        taken(tmp_path)


def test_without_anything_and_without_a_folder(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no audio files found"):
        taken(tmp_path)
    with pytest.raises(SourceError, match="no such folder"):
        taken(tmp_path / "nowhere")


def test_noise_that_cannot_be_read_is_no_noise(tmp_path: Path) -> None:
    put(tmp_path / "clean", *NAMES)
    put(tmp_path / "noise", "a.wav", "b.wav")
    for path in (tmp_path / "noise").iterdir():
        halve(path)
    with pytest.raises(SourceError, match=r"no usable file for the class noise \(all 2 rejected\)"):
        taken(tmp_path)


def test_pairs_are_preferred_to_noise_and_that_is_said(tmp_path: Path) -> None:
    put_pairs(tmp_path, *NAMES)
    put(tmp_path / "noise", "a.wav")
    found = taken(tmp_path)
    assert set(found.files["label"]) == {"clean", "noisy"}
    assert [note for note in found.notes if note.startswith("noise")] == [
        "noise: its 1 files are not used, because noisy/ is there: given pairs are taken as they are. "
        "Take noisy/ out of the source to have clean/ mixed with noise/ instead"
    ]
    assert "6 pairs of clean/ and noisy/ are used as they are, nothing is mixed" in found.notes


def test_an_empty_noisy_folder_is_no_reason_not_to_mix(tmp_path: Path) -> None:
    put(tmp_path / "clean", *NAMES)
    put(tmp_path / "noise", "a.wav")
    (tmp_path / "noisy").mkdir()
    assert set(taken(tmp_path).files["label"]) == {"clean", "noise"}


def test_whoever_has_no_partner_is_left_out_and_comes_back_with_it(tmp_path: Path) -> None:
    put_pairs(tmp_path, *NAMES)
    put(tmp_path / "clean", "alone.wav")
    put(tmp_path / "noisy", "single.wav", seed=3)
    first = taken(tmp_path)
    assert {path for path, state in states(first).items() if state == "rejected"} == {
        "clean/alone.wav",
        "noisy/single.wav",
    }
    assert any(note.startswith("2 files are left out, because their pair is not whole") for note in first.notes)
    assert first.notes.count("6 pairs of clean/ and noisy/ are used as they are, nothing is mixed") == 1

    put(tmp_path / "noisy", "alone.wav", seed=4)
    (tmp_path / "noisy" / "sa.wav").unlink()
    second = taken(tmp_path, first.files)
    assert states(second)["clean/alone.wav"] == states(second)["noisy/alone.wav"] == "ok"
    assert states(second)["clean/sa.wav"] == "rejected"
    assert second.files.equals(taken(tmp_path).files), "what was remembered says the same as what is looked at anew"


def test_pairs_that_differ_much_are_refused_and_those_that_differ_a_little_are_made_alike(tmp_path: Path) -> None:
    put_pairs(tmp_path, *NAMES)
    put(tmp_path / "noisy", "sa.wav", seconds=0.9, seed=1)
    put(tmp_path / "noisy", "sb.wav", seconds=0.63, seed=1)
    put(tmp_path / "noisy", "sc.wav", rate=16_000, seed=1)
    found = taken(tmp_path)
    said = found.files.set_index("path")
    assert said["state"]["clean/sa.wav"] == said["state"]["noisy/sa.wav"] == "rejected"
    assert "0.60 s" in said["problem"]["clean/sa.wav"] and "0.90 s" in said["problem"]["clean/sa.wav"]
    assert said["state"]["noisy/sb.wav"] == "warned" and "30.0 ms longer" in said["problem"]["noisy/sb.wav"]
    assert (said["problem"].str.contains("resampled")).sum() == 1
    assert any(note.startswith("2 pairs differ a little and are made alike") for note in found.notes)
    assert "5 pairs of clean/ and noisy/ are used as they are, nothing is mixed" in found.notes


def test_where_most_pairs_are_not_whole_it_stops(tmp_path: Path) -> None:
    put(tmp_path / "clean", *NAMES)
    put(tmp_path / "noisy", "sa.wav", *(f"noisy_s{letter}.wav" for letter in "bcdef"), seed=1)
    with pytest.raises(SourceError) as raised:
        taken(tmp_path)
    assert "1 pairs of clean/ and noisy/ can be used, 10 of 12 files cannot" in str(raised.value)
    assert "of the same name" in str(raised.value) and "'clean/sb.wav'" in str(raised.value)


def test_a_test_part_of_pairs_beside_noise_to_train_with_is_explained(tmp_path: Path) -> None:
    put(tmp_path / "train" / "clean", *NAMES)
    put(tmp_path / "train" / "noise", "a.wav")
    put_pairs(tmp_path, "x.wav", part="test")
    with pytest.raises(SourceError, match=r"1 files are not used, because noisy/ is there.*Take noisy/ out"):
        taken(tmp_path)


def test_a_pair_lies_in_one_part_even_where_names_are_numbers(tmp_path: Path) -> None:
    put_pairs(tmp_path, *(f"{number:03d}.wav" for number in range(12)))
    found = taken(tmp_path)
    split = divide(found.files, settings(), None)
    parts = split.groupby(split["path"].str.split("/").str[1])["part"]
    assert parts.nunique().eq(1).all() and parts.size().eq(2).all()
    assert set(split["part"]) == {"train", "validation", "test"}


def test_takes_of_one_speaker_stay_together(tmp_path: Path) -> None:
    put_pairs(tmp_path, *(f"p{speaker}_{take:03d}.wav" for speaker in range(4) for take in range(3)))
    found = taken(tmp_path)
    assert found.files["group"].nunique() == 4
    split = divide(found.files, settings(), None)
    assert split.groupby("group")["part"].nunique().eq(1).all() and leaks(found.files, split).empty
    pattern = settings().inventory.model_copy(update={"group_pattern": r"_(?P<group>\d+)\."})
    assert set(taken(tmp_path, inventory=pattern).files["group"]) == {"000", "001", "002"}


def test_given_parts_are_taken_as_given(tmp_path: Path) -> None:
    put_pairs(tmp_path, "a.wav", "b.wav", "c.wav", part="train")
    put_pairs(tmp_path, "x.wav", "y.wav", part="valid")
    put_pairs(tmp_path, "z.wav", part="test")
    found = taken(tmp_path)
    assert set(found.files["state"]) == {"ok"}
    split = divide(found.files, settings(), None)
    assert split.groupby(["part", "label"]).size().to_dict() == {
        (part, label): count
        for part, count in (("train", 3), ("validation", 2), ("test", 1))
        for label in ("clean", "noisy")
    }


def test_a_given_part_without_noise_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    for part, clean, hum in (("train", "a.wav", "n.wav"), ("val", "b.wav", "m.wav")):
        put(tmp_path / part / "clean", clean)
        put(tmp_path / part / "noise", hum)
    files = taken(tmp_path).files
    assert set(divide(files, settings(), None)["part"]) == {"train", "validation"}
    put(tmp_path / "test" / "clean", "c.wav")
    with pytest.raises(TooFewRecordings, match="test has clean files and no noise"):
        divide(taken(tmp_path, files).files, settings(), None)


def test_a_pair_is_left_out_as_a_whole(tmp_path: Path) -> None:
    put_pairs(tmp_path, "a.wav", "b.wav", part="train")
    put_pairs(tmp_path, "x.wav", part="valid")
    content = (tmp_path / "valid" / "clean" / "x.wav").read_bytes()
    (tmp_path / "train" / "clean" / "b.wav").write_bytes(content)
    found = taken(tmp_path)
    assert len(leaks(found.files, divide(found.files, settings(), None))) == 2
    split = divide(found.files, settings(leave_out_leaks=True), None)
    assert sorted(split["path"]) == [
        "train/clean/a.wav",
        "train/noisy/a.wav",
        "valid/clean/x.wav",
        "valid/noisy/x.wav",
    ]
    (tmp_path / "train" / "clean" / "a.wav").unlink()
    (tmp_path / "train" / "noisy" / "a.wav").unlink()
    with pytest.raises(TooFewRecordings):
        divide(taken(tmp_path).files, settings(leave_out_leaks=True), None)


def test_who_belongs_to_whom_is_part_of_the_data(tmp_path: Path) -> None:
    put_pairs(tmp_path, *NAMES)
    found = taken(tmp_path)
    split = divide(found.files, settings(), None)
    before = data_fingerprint(found.files, split)

    renamed = tmp_path / "renamed"
    for label in ("clean", "noisy"):
        (renamed / label).mkdir(parents=True)
        for name in NAMES:
            (renamed / label / f"other {name}").write_bytes((tmp_path / label / name).read_bytes())
    again = taken(renamed)
    moved = split.assign(path=split["path"].str.replace("/s", "/other s"))
    assert data_fingerprint(again.files, moved) == before, "names alone change nothing"

    own = split[split["part"] == "train"]
    one, other = own.loc[own["label"] == "noisy", "path"].iloc[:2]
    swapped = split.assign(path=split["path"].replace({one: other, other: one}))
    hashes = dict(zip(split["path"], split["content_hash"], strict=True))
    files = found.files.assign(
        content_hash=found.files["path"].replace({one: other, other: one}).map(lambda path: hashes[path])
    )
    assert data_fingerprint(files, swapped.sort_values("path")) != before


def test_short_files_and_low_rates_are_spoken_of(tmp_path: Path) -> None:
    put(tmp_path / "clean", *NAMES)
    put(tmp_path / "clean", "short.wav", seconds=0.1)
    put(tmp_path / "noise", "a.wav", "b.wav", "c.wav", seconds=0.2)
    notes = taken(tmp_path).notes
    assert "clean: 1 files are shorter than a window of 0.25 s; silence follows them" in notes
    assert "noise: 3 files are shorter than a window of 0.25 s; they are repeated" in notes
    higher = taken(tmp_path, features=WaveformConfig(sample_rate=44_100)).notes
    assert (
        "clean: 7 of 7 files have less than 44100 Hz, mostly 8000: nothing is learnt above 4000 Hz; "
        "`features: {sample_rate: 8000}` trains faster"
    ) in higher
    put(tmp_path / "clean", "high.wav", rate=44_100)
    mixed = taken(tmp_path, features=WaveformConfig(sample_rate=44_100)).notes
    assert any(
        note.startswith("clean: 7 of 8 files have less than 44100 Hz") and "the others" in note for note in mixed
    )


def test_from_folders_to_what_a_network_hears(tmp_path: Path) -> None:
    source, folder = tmp_path / "source", tmp_path / "store"
    put_pairs(source, *NAMES)
    put(source / "noisy", "sb.wav", seconds=0.63, seed=1)
    found = taken(source)
    split = divide(found.files, settings(), None)
    folder.mkdir()
    account = build(folder, source, found.files, split, settings(), [], None)
    assert account["files"] == 12
    windows = counts(folder, split, settings())
    assert list(windows.columns) == ["part", "class", "windows"]
    assert list(windows["part"].unique()) == ["train", "validation", "test"]
    assert windows.groupby("class")["windows"].sum().to_dict() == {"clean": 12, "noisy": 13}
    assert windows["windows"].sum() == windows.drop_duplicates(["part", "class"])["windows"].sum()
    mixed = Mixtures(open_waveforms(folder), split, settings().trial.mix, seed=1, device="cpu")
    noisy, clean = mixed.batch(mixed.order(1))
    assert noisy.shape == (mixed.items, 2000) and not np.array_equal(noisy, clean)
    assert {file.path for file in mixed.files("test")} == set(
        split.loc[(split["part"] == "test") & (split["label"] == "clean"), "path"]
    )
