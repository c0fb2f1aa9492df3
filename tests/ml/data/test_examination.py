"""Every verdict on a single file: what is accepted, warned about and rejected, and in which words."""

from __future__ import annotations

import os
import struct
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ml.data import verdict
from ml.data.examination import AudioLimits, examine
from ml.data.verdict import FileFacts
from tests.ml.data.sounds import growing, halve, noise, ordinary_user, write

LIMITS = AudioLimits()


def look(path: Path) -> FileFacts:
    return examine(path, LIMITS)


ACCEPTED = [
    *[("wav", name) for name in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW")],
    *[("wav", name) for name in ("IMA_ADPCM", "MS_ADPCM")],
    *[("flac", name) for name in ("PCM_S8", "PCM_16", "PCM_24")],
    *[("ogg", "VORBIS"), ("ogg", "OPUS"), ("mp3", "MPEG_LAYER_III"), ("aiff", "PCM_16")],
]


@pytest.mark.parametrize(("kind", "subtype"), ACCEPTED)
def test_every_coding_is_accepted_and_named(tmp_path: Path, kind: str, subtype: str) -> None:
    path = write(tmp_path / f"!a ż.{kind}", noise(1.0, 48_000, 2), 48_000, subtype=subtype)
    facts = look(path)
    assert (facts.state, facts.problem) == ("ok", "")
    assert facts.format == f"{kind}/{subtype.lower()}"
    assert (facts.rate, facts.channels) == (48_000, 2)
    assert facts.seconds == pytest.approx(1.0, abs=0.03)
    assert facts.bytes == path.stat().st_size and facts.modified_ns == path.stat().st_mtime_ns
    assert len(facts.content_hash) == len(facts.sound_hash) == 64
    assert 0.2 < facts.peak < 1.0


@pytest.mark.parametrize("rate", [4_000, 8_000, 11_025, 44_100, 96_000, 192_000, 384_000])
@pytest.mark.parametrize("channels", [1, 2, 6, 8])
def test_rates_and_channels(tmp_path: Path, rate: int, channels: int) -> None:
    facts = look(write(tmp_path / "a.wav", noise(0.2, rate, channels), rate))
    assert (facts.state, facts.rate, facts.channels, facts.seconds) == ("ok", rate, channels, pytest.approx(0.2))


@pytest.mark.parametrize("rate", [1, 3_999, 384_001, 2_147_483_647])
def test_absurd_rates_are_rejected(tmp_path: Path, rate: int) -> None:
    path = write(tmp_path / "a.wav", noise(), 16_000)
    content = bytearray(path.read_bytes())
    content[24:28] = struct.pack("<I", rate)
    path.write_bytes(content)
    facts = look(path)
    assert facts.state == "rejected" and f"{rate:,} Hz" in facts.problem and "4,000 to 384,000" in facts.problem


@pytest.mark.parametrize(("name", "kind"), [("a.wav", "MP3"), ("a.mp3", "WAV"), ("a.wav", "FLAC"), ("a.ogg", "FLAC")])
def test_a_wrong_ending_is_read_by_content_and_warned_about(tmp_path: Path, name: str, kind: str) -> None:
    facts = look(write(tmp_path / name, noise(1.0), format=kind))
    assert facts.state == "warned"
    assert f"its name ends in {name[1:]}, it is {kind.lower()}/" in facts.problem


def test_capital_endings_are_endings(tmp_path: Path) -> None:
    assert look(write(tmp_path / "A.WAV")).state == "ok"


def test_a_format_that_is_not_read_is_named(tmp_path: Path) -> None:
    facts = look(write(tmp_path / "a.wav", noise(), format="CAF"))
    assert facts.state == "rejected" and "caf/pcm_16" in facts.problem and "convert" in facts.problem


@pytest.mark.parametrize("kind", ["wav", "aiff", "flac", "ogg", "opus", "mp3"])
@pytest.mark.parametrize("seconds", [2.0, 20.0])
def test_a_file_cut_in_half_is_rejected(tmp_path: Path, kind: str, seconds: float) -> None:
    how = {"format": "OGG", "subtype": "OPUS"} if kind == "opus" else {}
    path = write(tmp_path / f"a.{kind}", noise(seconds, 48_000), 48_000, **how)
    assert look(path).state == "ok"
    facts = look(halve(path))
    assert facts.state == "rejected"
    assert any(word in facts.problem for word in ("cut off", "damaged", "not audio")), facts.problem


@pytest.mark.parametrize("left", [1, 4, 12, 20, 43, 44, 45, 46])
def test_a_header_and_nothing_else_is_rejected(tmp_path: Path, left: int) -> None:
    path = write(tmp_path / "a.wav")
    path.write_bytes(path.read_bytes()[:left])
    assert look(path).state == "rejected"


@pytest.mark.parametrize("form", ["RF64", "WAVEX"])
def test_the_other_waves_know_their_length_too(tmp_path: Path, form: str) -> None:
    path = write(tmp_path / "a.wav", noise(2.0), format=form)
    assert look(path).state == "ok"
    assert "cut off" in look(halve(path)).problem


@pytest.mark.parametrize("length", [0, 0xFFFFFFFF])
def test_a_wave_from_a_pipe_does_not_know_its_length(tmp_path: Path, length: int) -> None:
    path = write(tmp_path / "a.wav", noise(1.0))
    content = bytearray(path.read_bytes())
    content[40:44] = struct.pack("<I", length)
    path.write_bytes(content)
    facts = look(path)
    if facts.seconds == 0:
        assert facts.state == "rejected" and "too short" in facts.problem
    else:
        assert facts.state == "warned" and "does not say how long" in facts.problem
        assert facts.seconds == pytest.approx(1.0)


def test_an_ogg_whose_last_pages_are_missing_is_noticed(tmp_path: Path) -> None:
    path = write(tmp_path / "a.ogg", noise(20.0, 48_000), 48_000)
    content = path.read_bytes()
    path.write_bytes(content[: content.rindex(b"OggS")])
    facts = look(path)
    assert facts.state == "warned" and "not marked as the end" in facts.problem


def test_damage_in_the_middle_is_found(tmp_path: Path) -> None:
    flac = write(tmp_path / "a.flac", noise(5.0, 44_100, 2), 44_100)
    content = bytearray(flac.read_bytes())
    content[len(content) // 2] ^= 0x10
    flac.write_bytes(content)
    assert look(flac).state == "rejected" and "damaged" in look(flac).problem

    mp3 = write(tmp_path / "a.mp3", noise(20.0, 44_100, 2), 44_100)
    content = bytearray(mp3.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 40_000] = np.random.default_rng(0).bytes(40_000)
    mp3.write_bytes(content)
    assert look(mp3).state == "rejected"


@pytest.mark.parametrize("count", [0, 1, 799])
def test_too_short(tmp_path: Path, count: int) -> None:
    facts = look(write(tmp_path / "a.wav", noise(1.0)[:count]))
    assert facts.state == "rejected" and "too short" in facts.problem and "0.05 s" in facts.problem
    assert facts.content_hash == "", "another limit may let it in: the verdict is not for keeping"


def test_too_long_is_refused_by_its_header(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", noise(2.0))
    facts = examine(path, AudioLimits(max_seconds=1.5))
    assert facts.state == "rejected" and "too long" in facts.problem and facts.sound_hash == ""


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, 5_000, 300_000])
def test_values_that_are_no_numbers(tmp_path: Path, value: float, place: int) -> None:
    samples = noise(20.0)
    samples[place] = value
    facts = look(write(tmp_path / "a.wav", samples, subtype="FLOAT"))
    assert facts.state == "rejected" and "no numbers" in facts.problem


@pytest.mark.parametrize("level", [0.0, 0.3])
def test_silence_teaches_nothing(tmp_path: Path, level: float) -> None:
    facts = look(write(tmp_path / "a.wav", np.full((16_000, 2), level)))
    assert facts.state == "rejected" and "silent" in facts.problem and "nothing to learn" in facts.problem


def test_the_last_bit_alone_is_silence(tmp_path: Path) -> None:
    dither = np.random.default_rng(0).integers(-1, 2, (16_000, 1)) / 32768
    assert "silent" in look(write(tmp_path / "a.wav", dither)).problem


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda x: (x * 20).clip(-1, 1), "clipped"),
        (lambda x: x + 0.3, "DC offset"),
        (lambda x: x * 40, "times full scale"),
        (lambda x: x * 0.001, "very quiet: its peak is 6"),
    ],
)
def test_doubtful_levels_are_warned_about(tmp_path: Path, change: object, said: str) -> None:
    facts = look(write(tmp_path / "a.wav", change(noise(1.0)), subtype="FLOAT"))  # type: ignore[operator]
    assert facts.state == "warned" and said in facts.problem


def test_a_normalised_peak_is_not_clipping(tmp_path: Path) -> None:
    samples = noise(5.0)
    assert look(write(tmp_path / "a.wav", samples / np.abs(samples).max())).state == "ok"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.wav", b""),
        ("a.wav", bytes(5000)),
        ("a.wav", b"Applause, first row, left microphone\n" * 40),
        ("a.mp3", b"<!DOCTYPE html><html><body>404 Not Found</body></html>" * 20),
        ("a.mp3", b"ID3\x04\x00\x00\x7f\x7f\x7f\x7f" + bytes(200)),
        ("a.flac", b"fLaC" + bytes(100)),
        ("a.ogg", b"OggS" + bytes(100)),
    ],
)
def test_what_is_no_audio_is_rejected(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    facts = look(path)
    assert facts.state == "rejected" and facts.problem
    assert str(tmp_path) not in facts.problem, "the inventory names the file, relative to its source"


@pytest.mark.parametrize("channels", [0, 65, 65_535])
def test_absurd_channels(tmp_path: Path, channels: int) -> None:
    path = write(tmp_path / "a.wav", noise())
    content = bytearray(path.read_bytes())
    content[22:24] = struct.pack("<H", channels)
    content[32:34] = struct.pack("<H", (2 * channels) & 0xFFFF)
    path.write_bytes(content)
    assert look(path).state == "rejected"


def test_a_flac_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "bomb.flac"
    with soundfile.SoundFile(path, "w", 48_000, 8, format="FLAC", subtype="PCM_16") as file:
        for _ in range(24):
            file.write(np.zeros((8 * 48_000, 8), dtype=np.int16))
    assert path.stat().st_size < 1e6
    began = time.monotonic()
    facts = look(path)
    assert time.monotonic() - began < 2 and facts.sound_hash == ""
    assert facts.state == "rejected" and "would unpack to 295 MB" in facts.problem


def test_a_flac_bomb_that_lies_about_its_length_is_stopped_on_the_way(tmp_path: Path) -> None:
    path = tmp_path / "bomb.flac"
    with soundfile.SoundFile(path, "w", 48_000, 1, format="FLAC", subtype="PCM_16") as file:
        for _ in range(10):
            file.write(np.zeros(48_000, dtype=np.int16))
    content = bytearray(path.read_bytes())
    content[21] &= 0xF0  # 36 bits of STREAMINFO: the number of frames; 0 = not known
    content[22:26] = bytes(4)
    path.write_bytes(content)
    facts = examine(path, AudioLimits(unsuspicious_bytes=1_000_000, max_unpacking=100))
    assert facts.state == "rejected" and ("would unpack" in facts.problem or "not audio" in facts.problem)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes in folders")
def test_a_named_pipe_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    os.mkfifo(path)
    began = time.monotonic()
    assert "not a regular file" in look(path).problem
    assert time.monotonic() - began < 1


@pytest.mark.skipif(os.name == "nt", reason="permissions are others on this system")
def test_no_permission(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav")
    path.chmod(0)
    with ordinary_user():
        facts = look(path)
    assert facts.state == "rejected" and "permission denied" in facts.problem and facts.content_hash == ""


def test_the_same_sound_has_the_same_hash_in_every_lossless_coat(tmp_path: Path) -> None:
    samples = (noise(1.0, channels=2) * 32767).astype(np.int16)
    wav = look(write(tmp_path / "a.wav", samples, subtype="PCM_16"))
    flac = look(write(tmp_path / "a.flac", samples, subtype="PCM_16"))
    slower = look(write(tmp_path / "b.wav", samples, 8_000, subtype="PCM_16"))
    assert wav.sound_hash == flac.sound_hash and wav.content_hash != flac.content_hash
    assert slower.sound_hash != wav.sound_hash, "the same numbers at another rate are another sound"


@pytest.mark.parametrize("kind", ["wav", "flac", "ogg", "mp3"])
def test_large_files_are_judged_as_small_ones(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / f"a.{kind}", noise(3.0, 44_100, 2), 44_100)
    small = look(path)
    monkeypatch.setattr(verdict, "SMALL_BYTES", 0)
    assert look(path) == small and small.state == "ok"
    assert look(halve(path)).state == "rejected"


def test_a_drive_that_dies_while_reading_is_no_bad_file() -> None:
    """/proc/self/mem opens and cannot be read at its beginning: a true EIO from the kernel."""
    if not Path("/proc/self/mem").exists():
        pytest.skip("needs /proc")
    from ml.data.audio import SourceFile

    with Path("/proc/self/mem").open("rb", buffering=0) as file:
        source = SourceFile(file)  # type: ignore[arg-type]
        assert source.readinto(bytearray(10)) == 0
        assert isinstance(source.problem, OSError)


def test_a_file_that_grows_while_it_is_read_is_looked_at_again_later(tmp_path: Path) -> None:
    path = write(tmp_path / "a.flac", noise(120.0, 48_000), 48_000)
    with growing(path):
        facts = look(path)
    assert facts.state == "rejected" and "changed while it was read" in facts.problem and facts.content_hash == ""
