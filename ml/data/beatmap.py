"""Beatmaps: which component is hit when in a song, as `.bsm` and `.bs` files (JSON, version 1.x) say it.

A beatmap may come from anywhere: reading one takes bounded memory, runs nothing, and names the property that is wrong.
"""

from __future__ import annotations

import json
import math
import os
import re
import reprlib
import secrets
import stat
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, FailFast, Field, PrivateAttr, ValidationError
from pydantic_core import from_json

MAP_SUFFIXES = frozenset({".bsm", ".bs"})
"""The endings of beatmaps, in small letters."""
MAX_BYTES = 32 * 1024**2
"""No beatmap of a person is larger."""
MAX_HITS = 200_000
MAX_OBJECTS, MAX_VALUES = 2 * MAX_HITS, 12 * MAX_HITS
"""Objects and lists, and values in them, that a file may hold: what is unknown in it is kept, and takes memory too."""
LONGEST_MS = 7 * 24 * 3600 * 1000
"""A week: a time beyond it is a mistake."""
DEFAULT_VELOCITY = 0.8
"""Of a hit that says none; so the format has it."""

_VERSION = re.compile(r"1(\.\d{1,6}){0,3}([-+][\w.+-]{0,40})?\Z", re.ASCII)


class BeatmapError(ValueError):
    """A beatmap that cannot be used, in one sentence: which property, what is wrong, what is allowed."""


def _whole(value: Any) -> Any:
    """Milliseconds that another program wrote with a fraction, rounded; everything else as it is, to be judged."""
    return round(value) if isinstance(value, float) and math.isfinite(value) else value


Milliseconds = Annotated[int, BeforeValidator(_whole)]
Moment = Annotated[Milliseconds, Field(ge=0, le=LONGEST_MS)]
Text = Annotated[str, Field(max_length=10_000)]
Name = Annotated[str, Field(min_length=1, max_length=100)]


class _Part(BaseModel):
    """A part of a beatmap: known properties are checked, unknown ones are kept and ignored."""

    model_config = ConfigDict(strict=True, extra="allow", allow_inf_nan=False, use_attribute_docstrings=True)


class Metadata(_Part):
    """What the song is called, and who made the map."""

    title: Text
    artist: Text
    creator: Text
    difficulty: float
    """0 to 10 by the format; what other programs write is not judged."""
    beatmapId: Text
    createdAt: Text | None = None
    modifiedAt: Text | None = None
    tags: list[Text] | None = None
    description: Text | None = None


class MapAudio(_Part):
    """The sound that the map was made for."""

    filename: Annotated[str, Field(min_length=1, max_length=1000)]
    """Relative to the folder of the map."""
    hash: Annotated[str, Field(max_length=200)]
    """`sha256:` and 64 hexadecimal digits, of the bytes of the file; empty: nothing is said."""
    duration: Moment
    """Milliseconds; 0: nothing is said."""
    sampleRate: Annotated[int, Field(gt=0, le=10_000_000)]


class TimingPoint(_Part):
    """From when on the tempo is another."""

    time: Annotated[Milliseconds, Field(ge=-LONGEST_MS, le=LONGEST_MS)]
    bpm: Annotated[float, Field(gt=0, le=100_000)]
    timeSignature: Name | None = None


class Timing(_Part):
    """The tempo, and where the first beat lies."""

    bpm: Annotated[float, Field(gt=0, le=100_000)]
    offset: Annotated[Milliseconds, Field(ge=-LONGEST_MS, le=LONGEST_MS)]
    timeSignature: Name
    timingPoints: Annotated[list[TimingPoint] | None, Field(max_length=10_000)] = None


class DrumKit(_Part):
    """What the map is played on."""

    components: Annotated[list[Name], FailFast(), Field(max_length=1000)]
    layout: Text | None = None


class Hit(_Part):
    """One hit."""

    time: Moment
    """Milliseconds from the beginning of the audio."""
    component: Name
    """As the file has it; `ml.data.components.component_named` says what is meant."""
    velocity: Annotated[float, Field(ge=0, le=1)] = DEFAULT_VELOCITY
    lane: Annotated[int, Field(ge=0, le=1000)] | None = None


class Beatmap(_Part):
    """A whole beatmap. Properties have the names of the format."""

    version: Name
    metadata: Metadata
    audio: MapAudio
    timing: Timing
    drumKit: DrumKit
    hitObjects: Annotated[list[Hit], FailFast(), Field(max_length=MAX_HITS)]
    """By time."""
    editor: dict[str, Any] | None = None

    _notes: list[str] = PrivateAttr(default_factory=list)

    @property
    def notes(self) -> list[str]:
        """What was mended while it was read, in sentences."""
        return self._notes


def read_beatmap(path: Path) -> Beatmap:
    """The beatmap in a file; `BeatmapError` when it is none that can be used. Errors of the drive: OSError.

    Never waits on a pipe or a device. Hits come sorted by time, whatever order the file has.
    """
    return parse_beatmap(_content(path))


def parse_beatmap(content: bytes) -> Beatmap:
    """The beatmap that these bytes of a file are."""
    content = content.removeprefix(b"\xef\xbb\xbf")
    # Counted before anything is built of them: 32 MB of `[],` would become ten million lists.
    if content.count(b"{") + content.count(b"[") > MAX_OBJECTS or content.count(b",") > MAX_VALUES:
        raise BeatmapError(f"it holds more than a beatmap of {MAX_HITS:,} hits could; a map may have so many at most")
    try:
        said = from_json(content, allow_inf_nan=True)
    except ValueError as problem:
        raise BeatmapError(f"not a beatmap: its JSON cannot be read ({problem})") from None
    if not isinstance(said, dict):
        raise BeatmapError("not a beatmap: its JSON is no object with properties")
    if "Version" in said and "version" not in said:
        said = _uncapitalized(said)
    _check_version(said)
    try:
        beatmap = Beatmap.model_validate(said)
    except ValidationError as problem:
        raise BeatmapError(_sentence(problem)) from None
    times = [hit.time for hit in beatmap.hitObjects]
    unsorted = sum(later < earlier for earlier, later in pairwise(times))
    if unsorted:
        beatmap.hitObjects.sort(key=lambda hit: hit.time)
        where = "in 1 place" if unsorted == 1 else f"in {unsorted} places"
        beatmap.notes.append(f"its hits are not in the order of time ({where}); they were sorted")
    return beatmap


def write_beatmap(path: Path, beatmap: Beatmap) -> None:
    """Writes `beatmap` in one step, a hit per line, by time: readers see the old file or the new one, whole."""
    text = _text(beatmap)
    parse_beatmap(text)  # what nobody could read again is not written
    beside = path.with_name(f".nocturne-{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        with beside.open("xb") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def _text(beatmap: Beatmap) -> bytes:
    said = beatmap.model_dump(exclude_unset=True)
    hits = sorted(said.pop("hitObjects"), key=lambda hit: hit["time"])
    editor = said.pop("editor", None)
    try:
        head = json.dumps(said, ensure_ascii=False, allow_nan=False, indent=2).removesuffix("\n}")
        lines = ",\n    ".join(json.dumps(hit, ensure_ascii=False, allow_nan=False) for hit in hits)
        text = f'{head},\n  "hitObjects": [\n    {lines}\n  ]' if hits else f'{head},\n  "hitObjects": []'
        if editor is not None:
            written = json.dumps(editor, ensure_ascii=False, allow_nan=False, indent=2).replace("\n", "\n  ")
            text += f',\n  "editor": {written}'
        return f"{text}\n}}\n".encode()
    except ValueError as problem:  # NaN in what is unknown, text that is no Unicode
        raise BeatmapError(f"cannot be written as a beatmap: {problem}") from None


def _content(path: Path) -> bytes:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise BeatmapError("not a regular file")
        # It may have become a named pipe meanwhile: opening one without O_NONBLOCK waits for a writer, for ever.
        number = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except PermissionError:
        raise BeatmapError("not readable: permission denied; give this user the right to read it") from None
    with os.fdopen(number, "rb") as file:
        status = os.fstat(number)
        if not stat.S_ISREG(status.st_mode):
            raise BeatmapError("not a regular file")
        content = file.read(MAX_BYTES + 1) if status.st_size <= MAX_BYTES else b""
    if not content and status.st_size == 0:
        raise BeatmapError("empty: 0 bytes")
    if status.st_size > MAX_BYTES or len(content) > MAX_BYTES:
        raise BeatmapError(f"larger than {MAX_BYTES // 1024**2} MiB: this is no beatmap")
    return content


def _uncapitalized(value: Any) -> Any:
    """Some programs write `HitObjects` for `hitObjects`. Depth is bounded by the parser."""
    if isinstance(value, dict):
        return {name[:1].lower() + name[1:]: _uncapitalized(below) for name, below in value.items()}
    return [_uncapitalized(below) for below in value] if isinstance(value, list) else value


def _check_version(said: dict[str, Any]) -> None:
    version = said.get("version")
    if isinstance(version, str) and not _VERSION.match(version):
        raise BeatmapError(f"version: is {reprlib.repr(version)}; 1.x is what is read")


def _sentence(problem: ValidationError) -> str:
    """The first thing that is wrong, and how much more there is."""
    first = problem.errors(include_url=False, include_context=True)[0]
    place = ".".join(str(part) for part in first["loc"])
    more = problem.error_count() - 1
    if first["type"] == "missing":
        missing = [error for error in problem.errors(include_url=False) if error["type"] == "missing"]
        said = "; ".join(f"{'.'.join(str(part) for part in error['loc'])}: missing" for error in missing[:5])
        more -= min(len(missing), 5) - 1
    elif first["type"] == "too_long":
        said = f"{place}: more than {first['ctx']['max_length']:,} of them"
    else:
        words = first["msg"][0].lower() + first["msg"][1:]
        said = f"{place}: is {reprlib.repr(first['input'])}: {words}"
    return f"{said} (and {more} more)" if more else said
