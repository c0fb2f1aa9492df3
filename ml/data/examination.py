"""A verdict on one audio file, from reading and decoding all of it.

A truncated or damaged file must be found in the evening, not in the third epoch: so every sample is decoded once.
"""

from __future__ import annotations

import hashlib
import io
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ml.data.audio import FORMATS, SourceFile, open_stream
from ml.data.containers import judge_length
from ml.data.levels import Levels
from ml.data.mp3 import says_its_length, walk_frames
from ml.data.verdict import FileFacts, Rejected, hash_large, judge

BLOCK_SAMPLES = 1 << 18
"""Samples of all channels decoded at a time."""
UNKNOWN_FRAMES = 1 << 62
"""libsndfile's way of saying that the header does not give the length (a FLAC written to a pipe)."""
MP3_SLACK_FRAMES = 4 * 1152
"""What an MP3 may lack of its length: the first and last frames, which some encoders count and others do not."""


@dataclass(frozen=True)
class AudioLimits:
    """What a file may be: lengths in seconds, rates in Hz, sizes in bytes of float32 samples."""

    min_seconds: float = 0.05
    max_seconds: float = 12 * 3600.0
    min_rate: int = 4_000
    max_rate: int = 384_000
    max_channels: int = 64
    unsuspicious_bytes: int = 256 * 1024**2
    max_unpacking: float = 600.0


def examine(path: Path, limits: AudioLimits) -> FileFacts:
    """A verdict on one file after reading and decoding all of it.

    Never waits on a pipe or a device and never holds more than a block (or a small file) in memory. A native crash is
    possible with hostile bytes, so call it in a child. Errors of the drive itself are raised as OSError.
    """
    return judge(path, partial(_listen, path, limits))


def _listen(
    path: Path, limits: AudioLimits, file: io.BufferedIOBase, found: dict[str, Any], warnings: list[str]
) -> None:
    source = file if isinstance(file, io.BytesIO) else SourceFile(file)  # type: ignore[arg-type]
    try:
        _decode(path, source, file, limits, found, warnings)
    finally:
        if isinstance(source, SourceFile) and source.problem is not None:
            raise source.problem


def _decode(
    path: Path,
    source: BinaryIO | SourceFile,
    inspected: io.BufferedIOBase,
    limits: AudioLimits,
    found: dict[str, Any],
    warnings: list[str],
) -> None:
    import soundfile

    try:
        stream = open_stream(source)
    except soundfile.LibsndfileError as problem:
        raise Rejected(f"not audio that can be read: {_reason(problem)}") from None
    with closing(stream) as sound:
        name, promised = sound.format, sound.frames if sound.frames < UNKNOWN_FRAMES else 0
        found |= {"format": f"{name.replace('WAVEX', 'WAV')}/{sound.subtype}".lower()}
        found |= {"rate": sound.samplerate, "channels": sound.channels}
        _refuse_by_header(sound, limits, found)
        if path.suffix.lower() not in FORMATS[name]:
            warnings.append(f"its name ends in {path.suffix}, it is {found['format']}")

    hash_large(inspected, found)
    state, sentence = judge_length(inspected, name)
    if state == "rejected":
        raise Rejected(sentence)
    if state == "warned":
        warnings.append(sentence)
    guessed = name == "MP3" and not says_its_length(inspected)
    if guessed:
        promised, whole = walk_frames(inspected)
        if not whole:
            warnings.append("it ends in the middle of an MP3 frame; the end of the recording may be missing")

    source.seek(0)
    with closing(open_stream(source)) as sound:
        levels = _read_all(sound, limits, found)
    found["seconds"] = levels.frames / found["rate"]
    if levels.frames < promised - (MP3_SLACK_FRAMES if name == "MP3" else 0):
        lengths = f"{found['seconds']:.2f} of {promised / found['rate']:.2f} s can be read"
        if guessed:
            raise Rejected(f"an MP3 of variable bit rate without its length: {lengths}; convert it to WAV or FLAC")
        raise Rejected(f"cut off or damaged: {lengths}; copy it again")
    if found["seconds"] < limits.min_seconds:
        found["content_hash"] = ""
        raise Rejected(f"too short: {found['seconds']:.3g} s, at least {limits.min_seconds:g} s are needed")
    if levels.silent:
        raise Rejected("silent from beginning to end: there is nothing to learn from it")
    warnings += levels.warnings()


def _refuse_by_header(sound: Any, limits: AudioLimits, found: dict[str, Any]) -> None:
    """What can be refused before a single sample is unpacked."""
    rate, channels = sound.samplerate, sound.channels
    if sound.format not in FORMATS:
        raise Rejected(f"its format is {found['format']}, which is not read; convert it to WAV or FLAC")
    if not limits.min_rate <= rate <= limits.max_rate:
        raise Rejected(f"its sample rate is {rate:,} Hz, outside {limits.min_rate:,} to {limits.max_rate:,} Hz")
    if channels > limits.max_channels:
        raise Rejected(f"it has {channels} channels, more than {limits.max_channels}")
    if sound.frames < UNKNOWN_FRAMES:
        _refuse_by_length(sound.frames, limits, found)


def _refuse_by_length(frames: int, limits: AudioLimits, found: dict[str, Any]) -> None:
    seconds, unpacked = frames / found["rate"], frames * found["channels"] * 4
    packed = found["bytes"]
    if unpacked > limits.unsuspicious_bytes and unpacked > limits.max_unpacking * packed:
        raise Rejected(f"{packed / 1e6:,.1f} MB would unpack to {unpacked / 1e6:,.0f} MB: no recording packs like that")
    if seconds > limits.max_seconds:
        found["content_hash"] = ""
        raise Rejected(
            f"too long: {seconds / 3600:.1f} h, one file may have {limits.max_seconds / 3600:g} h; cut it into parts"
        )


def _read_all(sound: Any, limits: AudioLimits, found: dict[str, Any]) -> Levels:
    """Decode to the end, whatever length the header gave, and note peak and hash of the sound."""
    import soundfile

    levels = Levels(sound.channels)
    digest = hashlib.sha256(f"{sound.samplerate} Hz, {sound.channels} channels\n".encode())
    length = max(1, BLOCK_SAMPLES // sound.channels)
    while True:
        try:
            block = sound.read(length, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as problem:
            place = levels.frames / sound.samplerate
            raise Rejected(f"damaged: reading fails after {place:.2f} s: {_reason(problem)}") from None
        if not len(block):
            break
        levels.add(block)
        if not levels.finite:
            place = (levels.frames - len(block)) / sound.samplerate
            raise Rejected(f"it holds values that are no numbers (NaN or infinite), from about {place:.2f} s on")
        _refuse_by_length(levels.frames, limits, found)
        digest.update(np.ascontiguousarray(block, dtype="<f4").data)
    if levels.frames:
        found |= {"peak": levels.peak, "sound_hash": digest.hexdigest()}
    return levels


def _reason(problem: Any) -> str:
    """libsndfile's own words, without its address of the file object."""
    return str(problem.error_string).strip().rstrip(".")
