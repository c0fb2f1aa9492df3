"""`nocturne drums`: collecting hits, counting them, cutting them out. What computes is imported where it is used."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ml.config import ConfigError
from ml.studies.drums.transcribe_command import add_transcribe

if TYPE_CHECKING:
    from ml.studies.drums.collection import Collected
    from ml.studies.drums.counting import Counts
    from ml.studies.surroundings import Surroundings

FAILED, INTERRUPTED = 1, 130


def add(app: typer.Typer, lab: Surroundings) -> None:
    """Adds the study's commands to `app`; `lab` knows where what is collected lies."""
    add_drums(app, lab)
    add_transcribe(app, lab)


def add_drums(app: typer.Typer, lab: Surroundings) -> None:
    """Adds `nocturne drums` to `app`."""
    drums = typer.Typer(no_args_is_help=True)
    app.add_typer(drums, name="drums", help="Collect drum hits, count them, cut them out.")

    @drums.command("add-sample")
    def add_sample(
        audio: Annotated[Path, typer.Argument(metavar="AUDIO", help="The sound file that the hit is in.")],
        time: Annotated[
            str, typer.Argument(metavar="TIME", help="When it begins: seconds (62.5), or minutes too (1:02.5).")
        ],
        component: Annotated[str, typer.Argument(metavar="COMPONENT", help="What is hit, such as kick.")],
    ) -> None:
        """Collect one hit of a sound file."""
        from ml.studies.drums.collection import add_sample as collect

        _tell_of(collect(lab.collection(), audio, _seconds(time), component))

    @drums.command()
    def extract(
        what: Annotated[
            Path, typer.Argument(metavar="BEATMAP|FOLDER", help="A .bsm or .bs file, or a folder of them.")
        ],
        audio: Annotated[
            Path | None, typer.Argument(metavar="[AUDIO]", help="Its sound; without: the one that the beatmap names.")
        ] = None,
        force: Annotated[
            bool, typer.Option("--force", help="Also where the sound is not the one that the beatmap was made for.")
        ] = False,
    ) -> None:
        """Collect the hits of a beatmap or a folder.

        A folder is searched to its bottom; a map that fails is named at the end, and the others are collected.
        """
        from ml.studies.drums.collection import extract as collect
        from ml.studies.drums.collection import extract_folder

        if not what.is_dir():
            _tell_of(collect(lab.collection(), what, audio, force=force))
            return
        if audio is not None:
            raise ConfigError(f"{what}: is a folder, whose beatmaps name their sound themselves; leave out {audio}")
        collected = extract_folder(lab.collection(), what, force=force, tell=_say)
        _tell_of(collected)
        if collected.failed:
            print(f"nocturne: {len(collected.failed)} beatmaps of which nothing was taken:", file=sys.stderr)
            for sentence in collected.failed:
                print(f"  {sentence}", file=sys.stderr)
            raise typer.Exit(FAILED)

    @drums.command()
    def stats() -> None:
        """Count hits and say what is missing."""
        from ml.studies.drums.counting import count_folder, count_source

        collection, source = lab.collection(), lab.source()
        if source is not None and source.resolve() != collection.resolve():
            with _telling_of_source():
                counts, listened = count_source(source, lab.files())
            _tell_counts(f"source {source}", counts)
            if not listened:
                print("Counted by beatmaps and folders alone: the study has not listened to all of it yet.")
            if not collection.is_dir():
                return
            print()
            print("The study learns from its source; what is collected is used where no source is set.")
        if not collection.is_dir():
            raise ConfigError(
                "nothing is collected yet: nocturne drums extract FOLDER takes the hits of all beatmaps in a folder"
            )
        with _telling_of_source():
            counts = count_folder(collection)
        _tell_counts(f"collected in {collection}", counts)

    @drums.command()
    def export(
        out: Annotated[Path, typer.Argument(metavar="DIR", help="A new or empty folder, or an earlier export.")],
    ) -> None:
        """Cut out every hit, with labels.

        DIR gets a folder per part and component, and labels.csv. A song or sample pack lies in one part.
        """
        from ml.studies.drums.exporting import export as cut_out

        source = lab.source()
        if source is None:
            raise ConfigError("nothing is collected and no source is set: nocturne drums extract FOLDER, for instance")
        with _telling_of_source():
            exported = cut_out(source, lab.settings(), out, known=lab.files(), progress=_tell_progress)
        for note in exported.notes:
            _say(note)
        print(f"{exported.hits:,} hits in {out}, named in {out / 'labels.csv'}")


@contextmanager
def _telling_of_source() -> Iterator[None]:
    """Turns what is wrong with a source into a sentence."""
    from ml.data.source import SourceError, SourceVanished
    from ml.data.split import TooFewRecordings

    try:
        yield
    except (SourceError, TooFewRecordings) as problem:
        raise ConfigError(str(problem)) from None
    except SourceVanished as problem:
        raise ConfigError(problem.strerror or str(problem)) from None


def _say(line: str) -> None:
    """Prints what may hold the name of a file, whatever bytes are in it."""
    print(line.encode("utf-8", "replace").decode(), flush=True)


def _seconds(said: str) -> float:
    """Seconds of `62.5` and of `1:02.5`."""
    minutes, _, seconds = said.rpartition(":")
    try:
        found = float(seconds) + 60 * (int(minutes) if minutes else 0)
    except ValueError:
        raise ConfigError(f"{said!r} is no time; say seconds (62.5), or minutes and seconds (1:02.5)") from None
    return found


def _tell_of(collected: Collected) -> None:
    for note in collected.notes:
        _say(note)
    known = (
        f", {collected.known:,} {'was' if collected.known == 1 else 'were'} there already" if collected.known else ""
    )
    print(f"{collected.added:,} {'hit' if collected.added == 1 else 'hits'} added{known}: {collected.folder}")


def _tell_counts(where: str, counts: Counts) -> None:
    from ml.studies.drums.counting import sentences

    _say(f"{where}: {counts.hits.total():,} hits of {len(counts.all_songs())} songs and sample packs")
    for line in sentences(counts):
        print(f"  {line}")
    for note in counts.notes:
        _say(f"  not counted: {note}")


def _tell_progress(share: float, words: str) -> None:
    if sys.stderr.isatty():
        print(f"\r{share:4.0%} {words:.70}\x1b[K", end="" if share < 1 else "\n", file=sys.stderr, flush=True)
