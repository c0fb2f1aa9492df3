"""Files keep what they are, but for their noise; what is broken is named and stops nothing."""

from __future__ import annotations

import os
import resource
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr

from ml.data.audio import SUFFIXES
from ml.inference.batch import Plan, denoise_files, plan_files
from ml.inference.denoiser import Denoiser, open_denoiser
from ml.inference.files import BEGINNING, WRITTEN, CannotWrite, Unreadable, denoise_file
from ml.inference.pieces import denoise_signal
from ml.models.ast import AstConfig, build_ast
from ml.models.hub import ModelUnavailable
from ml.models.saved import save_model
from tests.ml.data.sounds import halve, write
from tests.ml.inference.asked import asked
from tests.ml.inference.small import PROCESSOR, last_layer, small_denoiser, sounding

RATE = 44_100


def denoiser() -> Denoiser:
    return Denoiser(small_denoiser(), RATE, PROCESSOR)


def silent_denoiser() -> Denoiser:
    """It hears no noise anywhere: what goes out is what came in."""
    model = small_denoiser()
    last_layer(model).weight.data.zero_()
    return Denoiser(model, RATE, PROCESSOR)


def denoised(source: Path, target: Path, how: Denoiser | None = None) -> list[str]:
    return denoise_file(how or denoiser(), source, target, lambda share: None)


def lying(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("a.wav", {"subtype": "PCM_16"}),
        ("a.wav", {"subtype": "PCM_U8"}),
        ("a.wav", {"subtype": "PCM_24", "format": "WAVEX"}),
        ("a.wav", {"subtype": "FLOAT"}),
        ("a.flac", {"subtype": "PCM_24"}),
        ("a.aiff", {"subtype": "PCM_S8"}),
        ("a.rf64", {"subtype": "PCM_16"}),
    ],
)
def test_a_file_keeps_format_rate_channels_and_length_and_every_bit_that_is_no_noise(
    tmp_path: Path, name: str, how: dict[str, Any]
) -> None:
    source = write(tmp_path / name, sounding(50_001, channels=2).T, rate=RATE, **how)
    (tmp_path / "out").mkdir()
    notes = denoised(source, tmp_path / "out" / name)
    before, after = soundfile.info(source), soundfile.info(tmp_path / "out" / name)
    for what in ("format", "subtype", "samplerate", "channels", "frames"):
        assert getattr(after, what) == getattr(before, what), what
    assert notes == []

    denoised(source, tmp_path / "out" / name, silent_denoiser())
    kind = "float32" if how["subtype"] == "FLOAT" else "int32"
    np.testing.assert_array_equal(
        soundfile.read(tmp_path / "out" / name, dtype=kind)[0], soundfile.read(source, dtype=kind)[0]
    )
    assert lying(tmp_path / "out") == [name]


def test_channels_are_denoised_each_for_itself_as_the_whole_signal_would_be(tmp_path: Path) -> None:
    sound = sounding(300_000, channels=2)
    source = write(tmp_path / "a.wav", sound.T, rate=RATE, subtype="FLOAT")
    denoised(source, tmp_path / "b.wav")
    said = soundfile.read(tmp_path / "b.wav", dtype="float32")[0].T
    for channel in range(2):
        np.testing.assert_allclose(
            said[channel], denoise_signal(small_denoiser(), sound[channel], PROCESSOR), atol=3e-6
        )


@pytest.mark.parametrize("rate", [8_000, 22_050, 48_000])
def test_another_rate_goes_there_and_back(tmp_path: Path, rate: int) -> None:
    sound = sounding(30_001)
    source = write(tmp_path / "a.wav", sound.T, rate=rate, subtype="FLOAT")
    denoised(source, tmp_path / "b.wav")
    said, at = soundfile.read(tmp_path / "b.wav", dtype="float32")
    high = denoise_signal(small_denoiser(), soxr.resample(sound[0], rate, RATE), PROCESSOR)
    expected = soxr.resample(high, RATE, rate)
    assert (at, len(said)) == (rate, 30_001)
    np.testing.assert_allclose(said[:30_000], expected[:30_000], atol=1e-4)


def test_sound_that_is_packed_with_loss_becomes_flac_and_it_is_said(tmp_path: Path) -> None:
    source = write(tmp_path / "in" / "a.mp3", sounding(60_000, channels=2).T, rate=RATE)
    plan = plan_files([source], tmp_path / "out", overwrite=False)
    told: list[str] = []
    assert denoise_files(denoiser(), plan, told.append) == []
    assert "was MP3 (mpeg_layer_iii): written as FLAC, 16 bits" in told[0]
    written = soundfile.info(tmp_path / "out" / "a.flac")
    assert written.frames == len(soundfile.read(source)[0]) and written.samplerate == RATE


def test_titles_stay(tmp_path: Path) -> None:
    with soundfile.SoundFile(tmp_path / "a.flac", "w", RATE, 1, "PCM_16") as file:
        file.title, file.artist = "Étude", "Nobody"
        file.write(sounding(5_000)[0])
    denoised(tmp_path / "a.flac", tmp_path / "b.flac")
    with soundfile.SoundFile(tmp_path / "b.flac") as file:
        assert (file.title, file.artist) == ("Étude", "Nobody")


def test_what_is_too_loud_is_cut_and_counted(tmp_path: Path) -> None:
    loud = Denoiser(small_denoiser(), RATE, PROCESSOR)
    last_layer(loud.model).weight.data.mul_(1_000)
    source = write(tmp_path / "a.wav", sounding(5_000).T, rate=RATE)
    assert "values were beyond full scale" in denoised(source, tmp_path / "b.wav", loud)[0]


def broken(tmp_path: Path) -> dict[str, Path]:
    """Files that cannot be denoised, by a word of what is said of them."""
    made = {
        "cut off": halve(write(tmp_path / "cut.wav", rate=RATE)),
        "not sound that can be read": tmp_path / "text.wav",
        "empty: 0 bytes": tmp_path / "empty.flac",
        "no numbers (NaN or infinite)": write(tmp_path / "nan.wav", np.full((9_000, 1), np.nan), subtype="FLOAT"),
        "not a regular file": tmp_path / "pipe.wav",
        "no such file": tmp_path / "gone.wav",
    }
    made["not sound that can be read"].write_text("not a sound")
    made["empty: 0 bytes"].touch()
    os.mkfifo(made["not a regular file"])
    return made


def test_what_is_broken_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for sentence, source in broken(tmp_path / "in").items():
        with pytest.raises(Unreadable) as problem:
            denoised(source, tmp_path / "out.wav")
        assert sentence in str(problem.value)
    assert lying(tmp_path) == ["in"]


def test_a_full_disk_is_a_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    source = write(tmp_path / "a.wav", sounding(400_000).T, rate=RATE)
    (tmp_path / "out").mkdir()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, hard))
    try:
        with pytest.raises(CannotWrite, match="MiB are free there"):
            denoised(source, tmp_path / "out" / "a.wav")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert lying(tmp_path / "out") == []


def test_where_nothing_can_be_written_nothing_more_is_begun(tmp_path: Path) -> None:
    sources = [write(tmp_path / name, sounding(5_000).T, rate=RATE) for name in ("a.wav", "b.wav")]
    plan = plan_files(sources, tmp_path / "a.wav" / "out", overwrite=False)
    told: list[str] = []
    failed = denoise_files(denoiser(), plan, told.append)
    assert len(failed) == 1 and "cannot be made" in failed[0] and "1 more not begun" in failed[0]
    assert told == []


def names(plan: Plan, below: Path) -> list[str]:
    return [target.relative_to(below).as_posix() for _, target in plan.files]


def test_folders_keep_their_shape_and_what_was_written_is_not_denoised_again(tmp_path: Path) -> None:
    for name in ("b.wav", "sub/a.mp3", "sub/deep/c.flac", "out/before.wav", f"{BEGINNING}x-b.wav", "note.txt"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    out = tmp_path / "out"
    plan = plan_files([tmp_path, tmp_path / "b.wav"], out, overwrite=False)
    assert names(plan, out) == ["b.wav", "sub/a.flac", "sub/deep/c.flac"]
    (out / "b.wav").touch()
    again = plan_files([tmp_path], out, overwrite=False)
    assert again.there == [out / "b.wav"] and "b.wav" not in names(again, out)
    assert "b.wav" in names(plan_files([tmp_path], out, overwrite=True), out)


def test_no_source_is_written_over_and_no_two_files_become_one(tmp_path: Path) -> None:
    for name in ("a.wav", "x/b.wav", "y/b.wav", "c.mp3", "c.ogg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "link").symlink_to(tmp_path)
    for out in (tmp_path, tmp_path / "link"):
        plan = plan_files([tmp_path / "a.wav"], out, overwrite=True)
        assert plan.files == [] and "no source is written over" in plan.failed[0]
    plan = plan_files([tmp_path / "x", tmp_path / "y", tmp_path / "nowhere"], tmp_path / "out", overwrite=False)
    assert names(plan, tmp_path / "out") == ["b.wav"]
    assert "denoise it apart" in plan.failed[0] or "denoise it apart" in plan.failed[1]
    assert any("no such file or folder" in sentence for sentence in plan.failed)
    both = plan_files([tmp_path / "c.mp3", tmp_path / "c.ogg"], tmp_path / "out", overwrite=False)
    assert len(both.files) == len(both.failed) == 1


def test_every_format_that_is_read_has_one_that_is_written() -> None:
    assert set(WRITTEN) <= SUFFIXES


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "a model").mkdir()
    save_model(small_denoiser(), tmp_path / "a model", {"sample_rate": RATE})
    return tmp_path / "a model"


def test_one_broken_file_does_not_stop_the_others_and_the_command_says_which(tmp_path: Path, model: Path) -> None:
    write(tmp_path / "in" / "a.wav", sounding(30_000).T, rate=RATE)
    broken(tmp_path / "in").clear()
    write(tmp_path / "in" / "z.wav", sounding(30_000).T, rate=RATE)
    arguments = (str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--model", str(model), "--device", "cpu")
    said = asked(*arguments)
    assert said.code == 1
    assert "1 of 6: " in said.out and "a.wav in " in said.out and "text.wav FAILED: not sound" in said.out
    assert "4 not denoised; the others are:" in said.err and "nan.wav: it holds values" in said.err
    assert lying(tmp_path / "out") == ["a.wav", "z.wav"]

    before = (tmp_path / "out" / "a.wav").stat().st_mtime_ns
    for path in (tmp_path / "in").iterdir():
        if path.name not in ("a.wav", "z.wav"):
            path.unlink()
    said = asked(*arguments)
    assert said.code == 0 and "2 files are in" in said.out and "--overwrite" in said.out
    assert (tmp_path / "out" / "a.wav").stat().st_mtime_ns == before
    assert asked(*arguments, "--overwrite").code == 0
    assert (tmp_path / "out" / "a.wav").stat().st_mtime_ns != before


def test_a_wrong_request_is_a_sentence(tmp_path: Path) -> None:
    sound, out = str(write(tmp_path / "a.wav")), str(tmp_path / "out")
    for arguments, sentence in (
        ((), "nocturne denoise IN... -o DIR"),
        ((sound,), "nocturne denoise IN... -o DIR"),
        ((sound, "-o", out, "--rate", "8000"), "--rate: for --stream only"),
        ((sound, "-o", sound), "is a file; name a folder"),
        ((str(tmp_path), "-o", str(tmp_path)), "is where the files to denoise lie; name another folder"),
        ((sound, "-o", out, "--model", "/nowhere"), "/nowhere: no such folder"),
        ((sound, "-o", out, "--device", "gpu"), "--device gpu: there are auto, cpu, cuda"),
    ):
        said = asked(*arguments)
        assert said.code == 2 and sentence in said.err, arguments


def test_a_folder_without_a_denoiser_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelUnavailable):
        open_denoiser(tmp_path / "empty", PROCESSOR)
    (tmp_path / "rateless").mkdir()
    save_model(small_denoiser(), tmp_path / "rateless", {})
    with pytest.raises(ModelUnavailable, match="sample_rate"):
        open_denoiser(tmp_path / "rateless", PROCESSOR)
    (tmp_path / "ast").mkdir()
    tiny = AstConfig(pretrained=None, layers=1, hidden=32, heads=2)
    save_model(build_ast(tiny, frames=32, mels=16, labels=("a", "b"), seed=1), tmp_path / "ast", {})
    with pytest.raises(ModelUnavailable, match="takes no noise out of sound"):
        open_denoiser(tmp_path / "ast", PROCESSOR)
