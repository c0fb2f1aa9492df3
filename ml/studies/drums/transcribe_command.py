"""`nocturne transcribe`: songs in, beatmaps out. What computes is imported where it is used."""

from __future__ import annotations

import hashlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ml.config import ConfigError

if TYPE_CHECKING:
    from ml.inference.transcriber import Transcriber
    from ml.studies.drums.transcribing import Named
    from ml.studies.study import FindModel
    from ml.studies.surroundings import Surroundings

FAILED, INTERRUPTED = 1, 130
MODEL_VARIABLE, USE_VARIABLE = "BEATSIGHT_ML_MODEL_PATH", "BEATSIGHT_USE_ML_CLASSIFIER"
NO = ("0", "false", "no", "off")
MAPS = (".bsm", ".bs")
WEIGHTS = (".pth", ".pt", ".safetensors")
HEURISTICS = "heuristics"


@dataclass(frozen=True)
class Choice:
    """Which model is used, if any, what it is called in a beatmap, and what a person should know of the choice."""

    model: Path | None
    name: str
    note: str | None = None


def add_transcribe(app: typer.Typer, lab: Surroundings) -> None:
    """Adds `nocturne transcribe` to `app`; `lab` knows where models lie."""

    @app.command()
    def transcribe(
        songs: Annotated[list[Path], typer.Argument(metavar="SONG...", help="Sound files.")],
        out: Annotated[
            Path, typer.Option("--out", "-o", metavar="MAP|DIR", help="A .bsm, or a folder (made if missing).")
        ],
        model: Annotated[
            str | None,
            typer.Option(metavar="NAME|DIR|FILE", help="A trial, a model's folder or a .pth; without: the best one."),
        ] = None,
        device: Annotated[str, typer.Option(metavar="auto|cpu|cuda", help="What computes.")] = "auto",
        overwrite: Annotated[bool, typer.Option("--overwrite", help="Write maps again that are there.")] = False,
        title: Annotated[str | None, typer.Option(help="Of the song; without: as its file says.")] = None,
        artist: Annotated[str | None, typer.Option(help="Of the song; without: as its file says.")] = None,
        creator: Annotated[str | None, typer.Option(help="Of the beatmap.")] = None,
    ) -> None:
        """Write the beatmap of a song: what is hit on the drums when, and how hard.

        The model is --model, else the one that BEATSIGHT_ML_MODEL_PATH names, else the best one of the lab; without
        any, and with BEATSIGHT_USE_ML_CLASSIFIER=0, rules about the spectrum tell the drums apart.
        """
        from ml.studies.drums.transcribing import Named

        plan = plan_maps(songs, out, overwrite=overwrite)
        if title is not None and len(songs) > 1:
            raise ConfigError("--title is of one song; transcribe it alone")
        raise typer.Exit(_transcribe_all(plan, lab.find_model, model, device, Named(title, artist, creator)))


@dataclass
class MapPlan:
    """What is to be written where, and what is not, in sentences."""

    songs: list[tuple[Path, Path]]
    there: list[Path]
    failed: list[str]


def plan_maps(songs: list[Path], out: Path, *, overwrite: bool) -> MapPlan:
    """Every song and its map: the map that `out` names, or NAME.bsm in the folder that it names."""
    folders = [song for song in songs if song.is_dir()]
    if folders:
        raise ConfigError(f"{folders[0]}: is a folder; name the songs themselves, such as {folders[0] / '*.flac'}")
    plan = MapPlan([], [], [])
    if out.suffix.lower() in MAPS and not out.is_dir():
        if len(songs) > 1:
            raise ConfigError(f"-o {out}: is one beatmap, and there are {len(songs)} songs; name a folder")
        if out.exists() and not overwrite:
            raise ConfigError(f"-o {out}: is there already and stays as it is; --overwrite writes it again")
        plan.songs.append((songs[0], out))
        return plan
    if out.exists() and not out.is_dir():
        raise ConfigError(f"-o {out}: is a file; name a folder, or a beatmap ({' or '.join(MAPS)})")
    taken: dict[Path, Path] = {}
    for song in songs:
        target = out / f"{song.stem}{MAPS[0]}"
        if target in taken:
            plan.failed.append(f"{song}: would be written to {target}, as {taken[target]} is; transcribe it apart")
        elif target.exists() and not overwrite:
            plan.there.append(target)
        else:
            plan.songs.append((song, target))
        taken.setdefault(target, song)
    return plan


def chosen_model(find_model: FindModel, said: str | None) -> Choice:
    """What `--model` says, else the two variables of the environment, else the best model of the lab, else none."""
    unwanted = os.environ.get(USE_VARIABLE, "").strip().lower() in NO
    if said is not None:
        wins = f"--model {said} is used, although {USE_VARIABLE}=0 asks for {HEURISTICS}" if unwanted else None
        place = Path(said).expanduser()
        if place.exists() or said.startswith(("/", ".", "~")) or place.suffix.lower() in WEIGHTS:
            return Choice(place, place.name, wins)
        return Choice(find_model(said), said, wins)
    if unwanted:
        return Choice(None, HEURISTICS, f"{USE_VARIABLE}=0: drums are told apart by rules, without a model")
    named = os.environ.get(MODEL_VARIABLE, "").strip()
    if named:
        place = Path(named).expanduser()
        if not place.exists():
            raise ConfigError(f"{MODEL_VARIABLE}={named}: is not there; name a .pth or a model's folder, or unset it")
        return Choice(place, place.name, f"the model is {place} ({MODEL_VARIABLE})")
    try:
        folder = find_model(None)
    except ConfigError:
        raise
    except (RuntimeError, ValueError) as problem:  # whoever knows the lab says so where it holds no model
        return Choice(None, HEURISTICS, f"{problem}; until then drums are told apart by rules, without a model")
    return Choice(folder, "best model")


def _transcribe_all(plan: MapPlan, find_model: FindModel, model: str | None, device: str, named: Named) -> int:
    from ml.data.beatmap import BeatmapError, write_beatmap
    from ml.inference.batch import shown
    from ml.inference.files import Unreadable
    from ml.studies.drums.transcribing import transcribe

    for target in plan.there:
        print(f"{shown(target)}: is there already and stays as it is (--overwrite writes it again)")
    failed = list(plan.failed)
    if plan.songs:
        choice = chosen_model(find_model, model)
        if choice.note:
            _tell(choice.note)
        transcriber, name = _open(choice, device), _with_its_weights(choice)
        for song, target in plan.songs:
            try:
                found = transcribe(transcriber, song, named, model=name)
                target.parent.mkdir(parents=True, exist_ok=True)
                write_beatmap(target, found.beatmap)
            except (Unreadable, BeatmapError) as problem:
                failed.append(f"{shown(song)}: {problem}")
            except OSError as problem:
                failed.append(f"{shown(song)}: {shown(target)}: {problem.strerror or problem}")
            except KeyboardInterrupt:
                _tell("interrupted; the maps that were told of are written")
                return INTERRUPTED
            else:
                print(f"{shown(target)}: {found.sentence()}", flush=True)
                if choice.model and found.onsets and not found.hits:
                    print(f"  the model may know other drums than these; {USE_VARIABLE}=0 tells them apart by rules")
                if song.resolve().parent != target.resolve().parent:
                    print(f"  put {song.name} beside it: a beatmap names its song by file name alone")
    if failed:
        _tell(f"{len(failed)} not transcribed{'; the others are' if len(failed) < len(plan.songs) else ''}:")
        for sentence in failed:
            print(f"  {sentence}", file=sys.stderr)
    return FAILED if failed else 0


def _open(choice: Choice, device: str) -> Transcriber:
    """The model that is meant, on the device that is meant."""
    from pydantic import ValidationError

    from ml.training.machine import MachineConfig, resolve_machine

    try:
        config = MachineConfig(device=device, precision="fp32", threads="auto" if choice.model else 1)
    except ValidationError:
        raise ConfigError(f"--device {device}: there are auto, cpu, cuda, and cuda:1 for a second card") from None
    from ml.inference.transcriber import open_transcriber
    from ml.models.hub import ModelUnavailable

    if choice.model is None:
        return open_transcriber(None, None)
    import torch

    machine = resolve_machine(config)
    torch.set_num_threads(machine.threads)
    torch.backends.cudnn.allow_tf32 = False
    try:
        return open_transcriber(choice.model, machine)
    except ModelUnavailable as problem:
        raise ConfigError(str(problem)) from None


def _with_its_weights(choice: Choice) -> str:
    """What the model is called, and which weights those are: names stay when a model is trained again."""
    if choice.model is None:
        return choice.name
    weights = choice.model / "model.safetensors" if choice.model.is_dir() else choice.model
    with weights.open("rb") as file:
        return f"{choice.name} ({hashlib.file_digest(file, 'sha256').hexdigest()[:8]})"


def _tell(sentence: str) -> None:
    print(f"nocturne: {sentence}", file=sys.stderr, flush=True)
