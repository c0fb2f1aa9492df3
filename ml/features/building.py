"""Files in, a store out: each is read once, in a child process, whatever crashes, hangs or has changed meanwhile."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import IO, Any, NamedTuple, Protocol, cast

from ml.features.extraction import Extracted, KnownFile, RowsOf, extract
from ml.features.store import ConfigT, Places, StoreDamaged, StoreKind, open_store, write_index

TRIES = 2
"""A crash of the process that decodes a file may be the machine's fault; a second one is the file's."""


class FileChanged(ValueError):
    """A file that is not what the inventory saw: only a new inventory helps."""


class ExtractionFailed(RuntimeError):
    """A file whose decoding crashes or hangs each time it is tried."""


class Run(Protocol):
    """Computes a function of every item in child processes; an answer that is no result has `kind` and `reason`."""

    def __call__(
        self, function: Any, items: Any, /, *, workers: int, seconds_allowed: Callable[[Any], float]
    ) -> Iterator[tuple[Any, Any]]: ...


class Built(NamedTuple):
    """What went into a store: files, how many of them were read and how many copied, and their rows."""

    files: int
    decoded: int
    reused: int
    rows: int


def build_store(
    folder: Path,
    files: Sequence[KnownFile],
    kind: StoreKind[ConfigT],
    config: ConfigT,
    *,
    rows_of: RowsOf,
    run: Run,
    workers: int,
    spare_rows: int = 0,
    reuse: Sequence[Path] = (),
    progress: Callable[[float, str], None] | None = None,
) -> Built:
    """Write a store of all `files` into the empty `folder`; of several with the same content the last is read.

    Files that a store in `reuse` has are copied from there; every other is read once, in a child process, block by
    block. Rows lie in the order of the content hashes, whatever finishes first; `spare_rows` rows of zeros follow.

    A file that still has its `stamp` is taken for unchanged, as the inventory itself does; any other is hashed before
    it is read. Whatever is raised, the folder is left empty: FileChanged, ExtractionFailed, or the OSError of a drive.
    """
    if not files:
        raise ValueError("there is no file to make features of")
    known = {file.content_hash: file for file in files}
    at_hand = _at_hand(reuse, kind, config, set(known))
    bytes_of = {key: known[key].path.stat().st_size for key in sorted(known) if key not in at_hand}
    say = _Progress(progress, len(known), bytes_of)
    row_bytes = kind.row_bytes(config)
    places: Places = {}
    end = 0
    try:
        extracting = _extract_all(
            [known[key] for key in bytes_of], partial(extract, folder=folder, rows_of=rows_of), run, workers, bytes_of
        )
        early: dict[str, Extracted] = {}
        with contextlib.closing(extracting), (folder / kind.rows_file).open("wb") as target:
            for key in sorted(known):
                while key not in at_hand and key not in early:
                    file, result = next(extracting)
                    early[file.content_hash] = result
                    say.one_more(file.content_hash)
                if key in at_hand:
                    piece = at_hand[key]
                    _copy(piece, target, row_bytes)
                else:
                    result = early.pop(key)
                    piece = _Piece(folder / result.part, 0, result.rows)
                    _copy(piece, target, row_bytes)
                    piece.file.unlink()
                places[key] = (end, piece.rows)
                end += piece.rows
            target.write(bytes(spare_rows * row_bytes))
        for leftover in folder.glob("*.part"):  # of a child that crashed and whose file was then tried again
            leftover.unlink()
        write_index(folder, kind, config, end + spare_rows, places)
    except BaseException:
        for leftover in folder.iterdir():
            with contextlib.suppress(OSError):
                leftover.unlink()
        raise
    return Built(len(places), len(bytes_of), len(at_hand), end)


def _extract_all(
    files: Sequence[KnownFile], function: Any, run: Run, workers: int, bytes_of: Mapping[str, int]
) -> Generator[tuple[KnownFile, Extracted]]:
    """Files and what was extracted, as they finish; after a crash or a hang one is tried again at the end."""

    def seconds_allowed(file: KnownFile) -> float:
        """Two minutes and what a slow network needs for so many bytes: far more than any decoder takes."""
        return 120 + bytes_of[file.content_hash] / 200_000

    for attempt in range(1, TRIES + 1):
        again: list[KnownFile] = []
        children = run(function, files, workers=max(1, min(workers, len(files))), seconds_allowed=seconds_allowed)
        with contextlib.closing(cast("Generator[tuple[KnownFile, Any]]", children)) as answers:
            for file, answer in answers:
                if isinstance(answer, Extracted):
                    _raise_its_problem(file, answer)
                    yield file, answer
                elif answer.kind == "raised" or attempt == TRIES:
                    raise ExtractionFailed(f"{file}: no features: {answer.reason}; replace the file or take it out")
                else:
                    again.append(file)
        if not again:
            return
        files = again


def _raise_its_problem(file: KnownFile, extracted: Extracted) -> None:
    number = extracted.write_error
    if number:
        raise OSError(number, f"{os.strerror(number)} while the features of {file} were written")
    if extracted.problem:
        raise FileChanged(f"{file}: not as the inventory saw it: {extracted.problem}; take the inventory again")


class _Piece(NamedTuple):
    """Consecutive rows in a file of rows."""

    file: Path
    first: int
    rows: int


def _at_hand(reuse: Sequence[Path], kind: StoreKind[ConfigT], config: ConfigT, wanted: set[str]) -> dict[str, _Piece]:
    """Where the rows of files lie that earlier stores have already."""
    found: dict[str, _Piece] = {}
    for folder in reuse:
        store = open_store(folder, kind)
        if store.config != config:
            raise ValueError(f"{folder}: made with other feature settings; nothing of it can be used here")
        found |= {key: _Piece(folder / kind.rows_file, *store.places[key]) for key in wanted & store.places.keys()}
    return found


def _copy(piece: _Piece, target: IO[bytes], row_bytes: int) -> None:
    """The rows of `piece` at the end of `target`, a megabyte at a time."""
    left = piece.rows * row_bytes
    with piece.file.open("rb") as source:
        source.seek(piece.first * row_bytes)
        while left:
            chunk = source.read(min(left, 1 << 20))
            if not chunk:
                raise StoreDamaged(f"{piece.file}: ends {left} bytes early; build it again")
            target.write(chunk)
            left -= len(chunk)


class _Progress:
    """Tells how many files are done and, from the bytes read so far, how long the rest will take."""

    def __init__(self, tell: Callable[[float, str], None] | None, files: int, to_read: Mapping[str, int]) -> None:
        self._tell = tell
        self._files = files
        self._done = files - len(to_read)
        self._to_read = to_read
        self._bytes = max(1, sum(to_read.values()))
        self._read = 0
        self._begun = time.monotonic()
        if tell:
            tell(0.0 if to_read else 1.0, f"{self._done} of {files} files")

    def one_more(self, content_hash: str) -> None:
        self._done += 1
        self._read += self._to_read[content_hash]
        if not self._tell:
            return
        share = self._read / self._bytes
        seconds = (time.monotonic() - self._begun) * (1 - share) / share if share else 0.0
        left = f"{seconds / 60:.0f} min left" if seconds >= 90 else f"{seconds:.0f} s left"
        self._tell(share, f"{self._done} of {self._files} files, {left}")
