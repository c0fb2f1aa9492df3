"""One sound file in, the same without its noise out: rate, channels, length and kind of samples stay.

Read, denoised and written block by block: a recording of hours needs no more memory than one of seconds.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from ml.data.audio import SourceFile, open_stream
from ml.data.containers import judge_length
from ml.data.examination import MP3_SLACK_FRAMES, UNKNOWN_FRAMES
from ml.data.mp3 import says_its_length, walk_frames
from ml.inference.denoiser import Denoiser
from ml.inference.passage import Passage
from ml.inference.pieces import PIECE_SAMPLES, Stream, whole_layout
from ml.inference.resampling import PatientResampler

WRITTEN = {".wav": "WAV", ".wave": "WAV", ".rf64": "RF64", ".flac": "FLAC", ".aif": "AIFF", ".aiff": "AIFF"}
"""The format of a file by its ending. Others lose sound each time they are written, and become FLAC."""
KEPT = ("PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW")
"""Kinds of samples (libsndfile's names) that are written as they were read; others become 16 bits."""
BITS = {"PCM_S8": 8, "PCM_U8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32}
BEGINNING = ".nocturne-"
"""How the names of unfinished files begin."""


class Unreadable(Exception):
    """A file that cannot be denoised: why, and what to do."""


class CannotWrite(Exception):
    """No file can be written there: why, and what to do."""


def denoise_file(denoiser: Denoiser, source: Path, target: Path, progress: Callable[[float], None]) -> list[str]:
    """Writes `source` without its noise to `target`, whose ending is one of `WRITTEN`; sentences about what changed.

    `target` appears when it is whole. `progress` hears the share that is done. Raises `Unreadable` or `CannotWrite`.
    """
    with readable(source) as (sound, promised):
        subtype, notes = _subtype(sound, WRITTEN[target.suffix.lower()])
        passage = _passage(denoiser, sound.samplerate, sound.channels)
        unfinished = target.with_name(f"{BEGINNING}{secrets.token_hex(4)}-{target.name}")
        clipped = 0
        with _unfinished(sound, unfinished, target, subtype) as out:
            for block in _blocks(sound):
                said = passage.finish() if block is None else passage.push(block)
                values, beyond = _values(said.T, subtype)
                with _writing(target):
                    out.write(values)
                clipped += beyond
                progress(min(1.0, passage.came / max(1, promised)))
            check_length(passage.came, promised, sound)
    if clipped:
        notes.append(f"{clipped:,} values were beyond full scale and were cut to it")
    return notes


@contextlib.contextmanager
def readable(path: Path) -> Iterator[tuple[Any, int]]:
    """The open sound, and the samples that it promises; 0 when it does not say. A dead drive is an OSError."""
    if not path.is_file():
        raise Unreadable("not a regular file" if path.exists() else "no such file")
    with path.open("rb") as file:
        if not os.fstat(file.fileno()).st_size:
            raise Unreadable("empty: 0 bytes")
        opened = SourceFile(file)
        try:
            try:
                sound = open_stream(opened)
            except soundfile.LibsndfileError as problem:
                raise Unreadable(f"not sound that can be read: {_reason(problem)}") from None
            with closing(sound):
                name, promised = sound.format, sound.frames if sound.frames < UNKNOWN_FRAMES else 0
                with path.open("rb") as beside:
                    state, sentence = judge_length(beside, name)
                    if state == "rejected":
                        raise Unreadable(sentence)
                    if name == "MP3" and not says_its_length(beside):
                        promised, _ = walk_frames(beside)
                yield sound, promised
        finally:
            if opened.problem is not None:
                raise opened.problem


def _blocks(sound: Any) -> Iterator[np.ndarray | None]:
    """The sound as float32 `(channels, samples)`, then None."""
    length, place = max(1, PIECE_SAMPLES // sound.channels), 0
    while True:
        try:
            block = sound.read(length, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as problem:
            where = place / sound.samplerate
            raise Unreadable(f"damaged: reading fails after {where:.2f} s: {_reason(problem)}") from None
        if not len(block):
            yield None
            return
        if not np.isfinite(block).all():
            where = place / sound.samplerate
            raise Unreadable(f"it holds values that are no numbers (NaN or infinite), from about {where:.2f} s on")
        place += len(block)
        yield block.T


def check_length(frames: int, promised: int, sound: Any) -> None:
    """Raises `Unreadable` where fewer frames came out of `sound` than it promised."""
    if frames < promised - (MP3_SLACK_FRAMES if sound.format == "MP3" else 0):
        rate = sound.samplerate
        raise Unreadable(f"cut off or damaged: {frames / rate:.2f} of {promised / rate:.2f} s can be read")


def _passage(denoiser: Denoiser, rate: int, channels: int) -> Passage:
    layout = whole_layout(denoiser.model.config, max(PIECE_SAMPLES // 8, PIECE_SAMPLES // channels))
    around = None
    if rate != denoiser.rate:
        around = (
            PatientResampler(rate, denoiser.rate, channels=channels),
            PatientResampler(denoiser.rate, rate, channels=channels),
        )
    return Passage(Stream(denoiser.model, denoiser.machine, layout, channels=channels), rate, around)


def _subtype(sound: Any, format_name: str) -> tuple[str, list[str]]:
    """The kind of samples to write, and a sentence where it is another than was read."""
    if sound.subtype in KEPT and soundfile.check_format(format_name, sound.subtype):
        return sound.subtype, []
    return "PCM_16", [f"was {sound.format} ({sound.subtype.lower()}): written as {format_name}, 16 bits"]


@contextlib.contextmanager
def _unfinished(sound: Any, unfinished: Path, target: Path, subtype: str) -> Iterator[Any]:
    """A file to write into, as `sound` is; afterwards it is `target`, or gone where something went wrong."""
    name = WRITTEN[target.suffix.lower()]
    if name == "WAV" and sound.format in ("WAVEX", "RF64"):
        name = sound.format
    rate, channels = sound.samplerate, sound.channels
    try:
        with _writing(target):
            out = soundfile.SoundFile(
                str(unfinished), "w", samplerate=rate, channels=channels, format=name, subtype=subtype
            )
        try:
            for tag, said in sound.copy_metadata().items():
                setattr(out, tag, said)
            yield out
        finally:
            with _writing(target):
                out.close()
        with _writing(target):
            with unfinished.open("r+b") as file:
                os.fsync(file.fileno())
            os.replace(unfinished, target)  # noqa: PTH105 - one call for files on every system
    finally:
        unfinished.unlink(missing_ok=True)


def _values(said: np.ndarray, subtype: str) -> tuple[np.ndarray, int]:
    """`said` as it is handed to libsndfile, whose own way from float to PCM is not the way back; how many it cut."""
    bits = BITS.get(subtype)
    if bits is None:
        return np.ascontiguousarray(said), 0
    scale = 2.0 ** (bits - 1)
    rounded = np.rint(said.astype(np.float64) * scale)
    fitting = rounded.clip(-scale, scale - 1)
    width = 16 if bits <= 16 else 32
    values = (fitting * 2.0 ** (width - bits)).astype(np.int16 if width == 16 else np.int32)
    return np.ascontiguousarray(values), int(np.count_nonzero(fitting != rounded))


@contextlib.contextmanager
def _writing(target: Path) -> Iterator[None]:
    """Whatever says that nothing can be written, as a sentence about the place."""
    try:
        yield
    except (soundfile.LibsndfileError, AssertionError, OSError) as problem:
        free = shutil.disk_usage(target.parent).free / 1024**2
        raise CannotWrite(
            f"{target.parent}: cannot be written to ({_reason(problem)}; {free:,.0f} MiB are free there); "
            "free some space or name another folder, then run again: finished files are kept"
        ) from problem


def _reason(problem: BaseException) -> str:
    said = getattr(problem, "error_string", "") or getattr(problem, "strerror", "") or str(problem)
    return str(said).strip().rstrip(".") or type(problem).__name__
