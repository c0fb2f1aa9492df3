"""Beatmaps: what is read, what is refused and how it is said, and that none can reach further or cost more."""

from __future__ import annotations

import json
import os
import random
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ml.data.beatmap import MAX_BYTES, MAX_HITS, BeatmapError, parse_beatmap, read_beatmap, write_beatmap
from ml.data.beatmap_rules import audio_of, mismatches, usable_hits
from tests.ml.data.maps import said
from tests.ml.data.sounds import ordinary_user, write


def parsed(content: Any) -> Any:
    return parse_beatmap(json.dumps(content).encode())


def refusal(content: bytes) -> str:
    with pytest.raises(BeatmapError) as refused:
        parse_beatmap(content)
    return str(refused.value)


def spoilt(spoil: Callable[[dict[str, Any]], object]) -> str:
    """What is said of a beatmap of three hits after `spoil`."""
    content = said([(100, "kick"), (200, "snare"), (300, "kick")])
    spoil(content)
    return refusal(json.dumps(content).encode())


def test_unknown_properties_are_kept_and_everything_comes_back(tmp_path: Path) -> None:
    content = said([(100, "kick"), (250, "snare")]) | {"future": {"a": [1, None]}, "editor": {"snapDivisor": 4}}
    content["hitObjects"][0] |= {"velocity": 0.25, "lane": 3, "duration": 40}
    write_beatmap(tmp_path / "a.bsm", parsed(content))
    assert json.loads((tmp_path / "a.bsm").read_text(encoding="utf-8")) == content
    assert read_beatmap(tmp_path / "a.bsm") == parsed(content)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.bsm"]


@pytest.mark.parametrize(
    "place",
    [
        "version",
        "metadata",
        "metadata.title",
        "metadata.beatmapId",
        "audio.filename",
        "audio.hash",
        "audio.duration",
        "audio.sampleRate",
        "timing.bpm",
        "timing.offset",
        "drumKit",
        "drumKit.components",
        "hitObjects",
    ],
)
def test_a_missing_property_is_named_with_its_path(place: str) -> None:
    def leave_out(content: dict[str, Any]) -> None:
        *above, last = place.split(".")
        for name in above:
            content = content[name]
        del content[last]

    assert spoilt(leave_out) == f"{place}: missing"


@pytest.mark.parametrize("value", [-1, 1e999, -1e999, float("nan"), 1e308, 10**30, True, "100", None, [100]])
def test_a_time_that_is_none_is_refused_with_its_path(value: Any) -> None:
    assert spoilt(lambda content: content["hitObjects"][2].update(time=value)).startswith("hitObjects.2.time: is ")


@pytest.mark.parametrize("value", [-0.1, 1.1, True, "0.5", float("nan")])
def test_a_velocity_is_a_number_from_0_to_1(value: Any) -> None:
    assert spoilt(lambda content: content["hitObjects"][0].update(velocity=value)).startswith("hitObjects.0.velocity")


@pytest.mark.parametrize("version", ["2.0.0", "0.9", "1.x", "", "10.0"])
def test_other_versions_are_refused(version: str) -> None:
    assert "version: is" in spoilt(lambda content: content.update(version=version))


@pytest.mark.parametrize("version", ["1", "1.0", "1.1.0", "1.12.3-beta"])
def test_every_version_1_is_read(version: str) -> None:
    assert parsed(said() | {"version": version}).version == version


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe{\x00}\x00",
        b"\x00" * 100,
        b'{"version": "\\ud800"}',
        b'{"a":' + b"[" * 5000,
        b'{"version": ' + b"9" * 100000 + b"}",
        b'"' + b"a" * 1000,
        bytes(range(256)),
    ],
)
def test_what_is_no_beatmap_is_refused_with_a_short_sentence(content: bytes) -> None:
    assert len(refusal(content)) < 200


def test_damaged_beatmaps_are_read_or_refused_and_nothing_else() -> None:
    drawn = random.Random(5)
    whole = json.dumps(said([(100, "kick"), (200, "snare")])).encode()
    for _ in range(500):
        content = bytearray(whole)
        for _ in range(drawn.randrange(1, 6)):
            content[drawn.randrange(len(content))] = drawn.randrange(256)
        try:
            parse_beatmap(bytes(content[: drawn.randrange(1, len(content) + 1)]))
        except BeatmapError as problem:
            assert str(problem)


def test_unsorted_hits_are_sorted_and_it_is_said() -> None:
    beatmap = parsed(said([(300, "kick"), (100, "snare"), (200, "kick")]))
    assert [hit.time for hit in beatmap.hitObjects] == [100, 200, 300]
    assert "sorted" in beatmap.notes[0]
    assert parsed(said([(100, "kick"), (100, "snare")])).notes == []


def test_properties_with_capitals_and_fractions_of_milliseconds_are_understood() -> None:
    def capitals(value: Any) -> Any:
        if isinstance(value, dict):
            return {name[0].upper() + name[1:]: capitals(below) for name, below in value.items()}
        return [capitals(below) for below in value] if isinstance(value, list) else value

    beatmap = parse_beatmap(b"\xef\xbb\xbf" + json.dumps(capitals(said([(99.6, "Kick")]))).encode())
    assert [(hit.time, hit.component, hit.velocity) for hit in beatmap.hitObjects] == [(100, "Kick", 0.8)]


def test_a_million_hits_and_a_million_of_anything_cost_little(tmp_path: Path) -> None:
    hit = b'{"time":1,"component":"kick"},'
    head = json.dumps(said([])).encode()
    bombs = [head[:-2] + hit * 1_000_000 + hit[:-1] + b"]}", head[:-1] + b',"x":[' + b"[]," * 5_000_000 + b"0]}"]
    bombs.append(head[:-1] + b',"x":[' + b"1," * 10_000_000 + b"0]}")
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    for bomb in bombs:
        assert f"{MAX_HITS:,}" in refusal(bomb)
    assert time.monotonic() - began < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024
    with (tmp_path / "huge.bsm").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(BeatmapError, match="larger than 32 MiB"):
        read_beatmap(tmp_path / "huge.bsm")


def test_too_many_hits_are_refused_even_if_they_are_few_bytes() -> None:
    content = json.dumps(said([])).encode()[:-2] + b'{"time":1,"component":"kick"},' * MAX_HITS
    assert "hitObjects: more than 200,000" in refusal(content + b'{"time":1,"component":"kick"}]}')


def test_neither_a_pipe_nor_a_device_nor_an_empty_file_is_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.bsm")
    (tmp_path / "empty.bsm").touch()
    (tmp_path / "zeros.bsm").symlink_to("/dev/zero")
    for name, reason in (("pipe", "not a regular file"), ("zeros", "not a regular file"), ("empty", "0 bytes")):
        with pytest.raises(BeatmapError, match=reason):
            read_beatmap(tmp_path / f"{name}.bsm")
    with pytest.raises(FileNotFoundError):
        read_beatmap(tmp_path / "none.bsm")


def test_a_file_that_may_not_be_read_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.bsm").write_text("{}")
    (tmp_path / "a.bsm").chmod(0)
    tmp_path.chmod(0o755)
    with ordinary_user(), pytest.raises((BeatmapError, PermissionError)):
        read_beatmap(tmp_path / "a.bsm")


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    write_beatmap(tmp_path / "a.bsm", parsed(said()))
    before = (tmp_path / "a.bsm").read_bytes()
    unfit = parsed(said())
    unfit.metadata.title = "\ud800"
    with pytest.raises(BeatmapError):
        write_beatmap(tmp_path / "a.bsm", unfit)
    late = parsed(said())
    late.hitObjects[0].time = -1
    with pytest.raises(BeatmapError, match=r"hitObjects\.0\.time"):
        write_beatmap(tmp_path / "a.bsm", late)
    assert (tmp_path / "a.bsm").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    "name",
    [
        "../secret.wav",
        "a/../../secret.wav",
        "/etc/passwd",
        "C:\\secret.wav",
        "c:secret.wav",
        "..\\secret.wav",
        "a\\b.wav",
        "\\\\server\\share\\a.wav",
        "sub/../../../secret.wav",
        "a\x00.wav",
    ],
)
def test_no_name_of_an_audio_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    write(tmp_path / "secret.wav")
    write(tmp_path / "songs" / "rock.wav")  # the same stem is no way around it
    beatmap = parsed(said(filename=name))
    with pytest.raises(BeatmapError, match=r"^audio\.filename: "):
        audio_of(tmp_path / "songs" / "rock.bsm", beatmap, tmp_path)


def test_no_link_leads_out_of_the_folder(tmp_path: Path) -> None:
    secret = write(tmp_path / "secret.wav")
    songs = tmp_path / "songs"
    songs.mkdir()
    (songs / "link.wav").symlink_to(secret)
    (songs / "folder").symlink_to(tmp_path)
    (songs / "loop.wav").symlink_to("loop.wav")
    os.mkfifo(songs / "pipe.wav")
    for name in ("link.wav", "folder/secret.wav", "loop.wav", "pipe.wav"):
        with pytest.raises(BeatmapError, match=r"^audio\.filename: "):
            audio_of(songs / "rock.bsm", parsed(said(filename=name)), songs)
    (songs / "rock.wav").symlink_to(secret)
    with pytest.raises(BeatmapError, match="link out of the folder"):
        audio_of(songs / "rock.bsm", parsed(said(filename="none.wav")), songs)
    with pytest.raises(BeatmapError, match="behind a link"):
        audio_of(tmp_path / "songs" / "folder" / "rock.bsm", parsed(said(filename="secret.wav")), songs)


def test_the_audio_is_found_by_its_name_or_by_the_stem_of_the_map(tmp_path: Path) -> None:
    named = write(tmp_path / "sounds" / "other.wav")
    stem = write(tmp_path / "rock.flac")
    where = tmp_path / "rock.bsm"
    assert audio_of(where, parsed(said(filename="sounds/other.wav")), tmp_path) == named
    assert audio_of(where, parsed(said(filename="gone.mp3")), tmp_path) == stem
    with pytest.raises(BeatmapError, match=r"'gone\.mp3' is not in .*put the song beside its map"):
        audio_of(tmp_path / "pop.bsm", parsed(said(filename="gone.mp3")), tmp_path)
    (tmp_path / "notes.txt").touch()
    with pytest.raises(BeatmapError, match="no sound that is read"):
        audio_of(where, parsed(said(filename="notes.txt")), tmp_path)


def test_another_hash_or_duration_is_said_and_a_little_difference_is_none() -> None:
    ours = "ab" * 32
    exact = parsed(said(hash=f"sha256:{ours.upper()}", duration=60_000))
    assert mismatches(exact, ours, 60.05) == []
    assert mismatches(exact, ours, 60.07)[0].startswith("audio.duration: the audio lasts 60.07 s, the map says 60.00 s")
    assert [sentence.split(":")[0] for sentence in mismatches(exact, "cd" * 32, 3.0)] == [
        "audio.hash",
        "audio.duration",
    ]
    assert mismatches(parsed(said(hash=ours)), ours, 3.0) == mismatches(parsed(said(hash="")), ours, 3.0) == []


def test_hits_that_cannot_be_used_are_left_out_and_counted() -> None:
    hits = [(100, "kick"), (101, "Bass-Drum"), (102, "snare"), (103, "kick"), (500, "cowbell"), (2000, "kick")]
    usable = usable_hits(parsed(said(hits)), 2.0)
    assert [hit[:2] for hit in usable.hits] == [(100, "kick"), (102, "snare"), (103, "kick")]
    assert usable.sentences() == [
        "hits of components that are not learned, left out: 1 'cowbell'",
        "1 hit after the end of the audio, left out",
        "1 hit there twice, left out",
    ]
    many = usable_hits(parsed(said([(ms, f"thing {ms}") for ms in range(5000)])), 99.0)
    assert len(many.sentences()[0]) < 200
