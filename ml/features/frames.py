"""The frames of all recordings in one memory-mapped array: every file is decoded once, for all trials of a study.

On disk a store is a folder with two files: `frames.f16`, little-endian float16 of (rows, mels) without a header, and
`index.json`, which says whose rows are whose. The index is written last: a folder without it is no store.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, NamedTuple, Protocol, cast

import numpy as np

from ml.features.fbank import FbankConfig
from ml.features.recording import ROW, Decode, Extracted, Recording, extract

FRAMES, INDEX = "frames.f16", "index.json"
FORMAT = 1
TRIES = 2
"""A crash of the process that decodes a file may be the machine's fault; a second one is the file's."""


class FramesDamaged(ValueError):
    """A folder that is no whole frame store."""


class FileChanged(ValueError):
    """A recording that is not what the inventory saw: only a new inventory helps."""


class ExtractionFailed(RuntimeError):
    """A recording whose decoding crashes or hangs each time it is tried."""


@dataclass(frozen=True)
class FrameStore:
    """All frames (rows, mels), mapped and not read; where each recording's are: content hash to (first row, frames)."""

    frames: np.memmap[Any, np.dtype[np.float16]]
    rows: dict[str, tuple[int, int]]
    config: FbankConfig


class Run(Protocol):
    """Computes a function of every item in child processes; an answer that is no result has `kind` and `reason`."""

    def __call__(
        self, function: Any, items: Any, /, *, workers: int, seconds_allowed: Callable[[Any], float]
    ) -> Iterator[tuple[Any, Any]]: ...


def open_frames(folder: Path) -> FrameStore:
    """The store in `folder`; FramesDamaged when it is not whole."""
    try:
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        size = (folder / FRAMES).stat().st_size
    except (OSError, ValueError) as problem:
        raise FramesDamaged(f"{folder}: no complete frame store ({problem}); build it again") from problem
    if index["format"] != FORMAT:
        raise FramesDamaged(f"{folder}: format {index['format']} instead of {FORMAT}; build it again")
    config = FbankConfig(**index["config"])
    if size != index["rows"] * _row_bytes(config):
        raise FramesDamaged(f"{folder / FRAMES}: {size} bytes do not make {index['rows']} rows; build it again")
    frames = np.memmap(folder / FRAMES, dtype=ROW, mode="r", shape=(index["rows"], config.mels))
    return FrameStore(frames, {key: (start, count) for key, start, count in index["files"]}, config)


def build_frames(
    folder: Path,
    files: Sequence[tuple[str, Path]],
    config: FbankConfig,
    *,
    decode: Decode,
    run: Run,
    workers: int,
    min_tail_rows: int,
    reuse: Sequence[Path] = (),
    stamps: Mapping[str, tuple[int, int]] | None = None,
    progress: Callable[[float, str], None] | None = None,
) -> dict[str, Any]:
    """Write a frame store of all `files` (content hash, path) into the empty `folder`; return an account of it.

    Recordings that a store in `reuse` has are copied from there; every other is decoded once, in a child process, block
    by block. Rows lie in the order of the content hashes, whatever finishes first. `min_tail_rows` rows of zeros follow
    the last recording, so that a window of that many frames may begin at any row of any recording.

    A file that still has the (bytes, modified_ns) that `stamps` gives for its hash is taken for unchanged, as the
    inventory itself does; any other is hashed before it is decoded. Whatever is raised, the folder is left empty:
    FileChanged, ExtractionFailed, or the OSError of a drive.
    """
    if not files:
        raise ValueError("there is no recording to make features of")
    paths = dict(files)
    at_hand = _at_hand(reuse, config, set(paths))
    to_decode = [
        Recording(key, paths[key], paths[key].stat().st_size, (stamps or {}).get(key))
        for key in sorted(paths)
        if key not in at_hand
    ]
    say = _Progress(progress, len(paths), to_decode)
    rows: dict[str, tuple[int, int]] = {}
    end = 0
    try:
        extracting = _extract_all(
            to_decode, partial(extract, folder=folder, config=config, decode=decode), run, workers
        )
        early: dict[str, Extracted] = {}
        with contextlib.closing(extracting), (folder / FRAMES).open("wb") as target:
            for key in sorted(paths):
                while key not in at_hand and key not in early:
                    recording, result = next(extracting)
                    early[recording.content_hash] = result
                    say.one_more(recording)
                if key in at_hand:
                    piece = at_hand[key]
                    _copy(piece, target, config)
                else:
                    piece = _Piece(folder / early[key].part, 0, early[key].frames)
                    _copy(piece, target, config)
                    piece.file.unlink()
                rows[key] = (end, piece.frames)
                end += piece.frames
            target.write(bytes(min_tail_rows * _row_bytes(config)))
        for leftover in folder.glob("*.part"):  # of a child that crashed and whose file was then tried again
            leftover.unlink()
        _write_index(folder, config, end + min_tail_rows, rows)
    except BaseException:
        for leftover in folder.iterdir():
            with contextlib.suppress(OSError):
                leftover.unlink()
        raise
    return {
        "files": len(rows),
        "decoded": len(to_decode),
        "reused": len(at_hand),
        "frames": end,
        "minutes": end / config.frames_per_second / 60,
        "bytes": (end + min_tail_rows) * _row_bytes(config),
    }


def _extract_all(
    recordings: Sequence[Recording], function: Any, run: Run, workers: int
) -> Generator[tuple[Recording, Extracted]]:
    """Recordings and what was extracted, as they finish; after a crash or a hang one is tried again at the end."""
    for attempt in range(1, TRIES + 1):
        again: list[Recording] = []
        children = run(
            function, recordings, workers=max(1, min(workers, len(recordings))), seconds_allowed=_seconds_allowed
        )
        with contextlib.closing(cast("Generator[tuple[Recording, Any]]", children)) as answers:
            for recording, answer in answers:
                if isinstance(answer, Extracted):
                    _raise_its_problem(recording, answer)
                    yield recording, answer
                elif answer.kind == "raised" or attempt == TRIES:
                    raise ExtractionFailed(
                        f"{recording}: no features: {answer.reason}; replace the file or take it out"
                    )
                else:
                    again.append(recording)
        if not again:
            return
        recordings = again


def _raise_its_problem(recording: Recording, extracted: Extracted) -> None:
    number = extracted.write_error
    if number:
        raise OSError(number, f"{os.strerror(number)} while the features of {recording} were written")
    if extracted.problem:
        raise FileChanged(f"{recording}: not as the inventory saw it: {extracted.problem}; take the inventory again")


def _seconds_allowed(recording: Recording) -> float:
    """Two minutes and what a slow network needs for so many bytes: far more than any decoder takes."""
    return 120 + recording.bytes / 200_000


class _Piece(NamedTuple):
    """Consecutive rows in a file of rows."""

    file: Path
    first: int
    frames: int


def _at_hand(reuse: Sequence[Path], config: FbankConfig, wanted: set[str]) -> dict[str, _Piece]:
    """Where the rows of recordings lie that earlier stores have already."""
    found: dict[str, _Piece] = {}
    for folder in reuse:
        store = open_frames(folder)
        if store.config != config:
            raise ValueError(f"{folder}: made with other feature settings; nothing of it can be used here")
        found |= {key: _Piece(folder / FRAMES, *store.rows[key]) for key in wanted & store.rows.keys()}
    return found


def _copy(piece: _Piece, target: IO[bytes], config: FbankConfig) -> None:
    """The rows of `piece` at the end of `target`, a megabyte at a time."""
    left = piece.frames * _row_bytes(config)
    with piece.file.open("rb") as source:
        source.seek(piece.first * _row_bytes(config))
        while left:
            chunk = source.read(min(left, 1 << 20))
            if not chunk:
                raise FramesDamaged(f"{piece.file}: ends {left} bytes early; build it again")
            target.write(chunk)
            left -= len(chunk)


def _write_index(folder: Path, config: FbankConfig, rows: int, files: dict[str, tuple[int, int]]) -> None:
    index = {
        "format": FORMAT,
        "config": config.model_dump(mode="json"),
        "rows": rows,
        "files": [[key, start, count] for key, (start, count) in files.items()],
    }
    beside = folder / f"{INDEX}.part"
    beside.write_text(json.dumps(index), encoding="utf-8")
    beside.replace(folder / INDEX)


def _row_bytes(config: FbankConfig) -> int:
    return config.mels * ROW.itemsize


class _Progress:
    """Tells how many files are done and, from the bytes read so far, how long the rest will take."""

    def __init__(self, tell: Callable[[float, str], None] | None, files: int, to_decode: Sequence[Recording]) -> None:
        self._tell = tell
        self._files = files
        self._done = files - len(to_decode)
        self._bytes = max(1, sum(recording.bytes for recording in to_decode))
        self._read = 0
        self._begun = time.monotonic()
        if tell:
            tell(0.0 if to_decode else 1.0, f"{self._done} of {files} files")

    def one_more(self, recording: Recording) -> None:
        self._done += 1
        self._read += recording.bytes
        if not self._tell:
            return
        share = self._read / self._bytes
        seconds = (time.monotonic() - self._begun) * (1 - share) / share if share else 0.0
        left = f"{seconds / 60:.0f} min left" if seconds >= 90 else f"{seconds:.0f} s left"
        self._tell(share, f"{self._done} of {self._files} files, {left}")
