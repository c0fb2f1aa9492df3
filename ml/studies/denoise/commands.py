"""`nocturne denoise`: files and streams through a model of the study. What computes is imported where it is used."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ml.config import ConfigError

if TYPE_CHECKING:
    from ml.inference.denoiser import Denoiser
    from ml.studies.study import FindModel
    from ml.studies.surroundings import Surroundings

FAILED, INTERRUPTED = 1, 130
RATES = (4_000, 384_000)
CHANNELS = 32
LONGEST_BLOCK = 2**20


def add(app: typer.Typer, lab: Surroundings) -> None:
    """Adds `nocturne denoise` to `app`; `lab` knows where models lie."""

    @app.command()
    def denoise(
        inputs: Annotated[
            list[Path] | None, typer.Argument(metavar="[IN]...", help="Sound files, and folders of them.")
        ] = None,
        out: Annotated[
            Path | None, typer.Option("--out", "-o", metavar="DIR", help="Where denoised files go; made if missing.")
        ] = None,
        model: Annotated[
            str | None, typer.Option(metavar="NAME|DIR", help="A trial, a model or its folder; without: the best one.")
        ] = None,
        device: Annotated[str, typer.Option(metavar="auto|cpu|cuda", help="What computes.")] = "auto",
        overwrite: Annotated[bool, typer.Option("--overwrite", help="Write denoised files again.")] = False,
        stream: Annotated[
            bool, typer.Option("--stream", help="Raw sound from standard input to standard output, as it comes.")
        ] = False,
        rate: Annotated[
            int | None, typer.Option(metavar="HZ", help="Of the stream; without: the rate that the model learned.")
        ] = None,
        channels: Annotated[int | None, typer.Option(metavar="N", help="Of the stream, in turns; without: 1.")] = None,
        format: Annotated[
            str | None, typer.Option(metavar="s16le|f32le", help="Of the stream; without: s16le.")
        ] = None,
        block: Annotated[
            int | None,
            typer.Option(metavar="SAMPLES", help="Of the stream, answered at a time; fewer are sooner and cost more."),
        ] = None,
        bypass: Annotated[
            bool, typer.Option("--bypass", help="Send the stream on as it came, to hear the difference.")
        ] = False,
    ) -> None:
        """Take the noise out of sound files, or of a live stream.

        Files: nocturne denoise IN... -o DIR. They keep rate, channels and length; nothing is written over a source.
        Live: rtl_fm ... | nocturne denoise --stream --rate 48000 | aplay ...
        """
        if not stream:
            said = {"--rate": rate, "--channels": channels, "--format": format, "--block": block, "--bypass": bypass}
            idle = [name for name, value in said.items() if value]
            if idle:
                raise ConfigError(f"{', '.join(idle)}: for --stream only; a file says itself what is in it")
            if not inputs or out is None:
                raise ConfigError("say what and where to: nocturne denoise IN... -o DIR; or --stream for a live stream")
            raise typer.Exit(
                _denoise_files(inputs, out, overwrite, lambda: _open(lab.find_model, model, device, "auto"))
            )
        if inputs or out is not None or overwrite:
            raise ConfigError("--stream goes from standard input to standard output: leave out IN, -o and --overwrite")
        _check_stream(rate, channels, format, block)
        if bypass and (model is not None or device != "auto" or block is not None):
            raise ConfigError("--bypass sends on what comes: leave out --model, --device and --block")
        raise typer.Exit(_stream(lab.find_model, model, device, rate, channels or 1, format or "s16le", block, bypass))


def _denoise_files(inputs: list[Path], out: Path, overwrite: bool, opened: Callable[[], Denoiser]) -> int:
    from ml.inference.batch import denoise_files, plan_files, shown

    if out.exists() and not out.is_dir():
        raise ConfigError(f"-o {shown(out)}: is a file; name a folder")
    if any(source.is_dir() and source.resolve() == out.resolve() for source in inputs):
        raise ConfigError(f"-o {shown(out)}: is where the files to denoise lie; name another folder")
    plan = plan_files(inputs, out, overwrite=overwrite)
    if plan.there:
        said = "1 file is" if len(plan.there) == 1 else f"{len(plan.there)} files are"
        print(f"{said} in {shown(out)} already and stay as they are (--overwrite writes them again)")
    failed = list(plan.failed)
    if plan.files:
        denoiser = opened()
        machine = denoiser.machine
        where = machine.name if machine.device_type == "cuda" else f"{machine.name}, threads: {machine.threads}"
        print(f"{len(plan.files)} to denoise, on {where}", flush=True)
        try:
            failed += denoise_files(denoiser, plan, lambda sentence: print(sentence, flush=True))
        except KeyboardInterrupt:
            _tell("interrupted; what was told of is done and kept, and the same command goes on after it")
            return INTERRUPTED
    if failed:
        _tell(f"{len(failed)} not denoised{'; the others are' if len(failed) < len(plan.files) else ''}:")
        for sentence in failed:
            print(f"  {sentence}", file=sys.stderr)
    return FAILED if failed else 0


def _check_stream(rate: int | None, channels: int | None, format: str | None, block: int | None) -> None:
    from ml.inference.pcm import FORMATS

    if rate is not None and not RATES[0] <= rate <= RATES[1]:
        raise ConfigError(f"--rate {rate}: {RATES[0]:,} to {RATES[1]:,} Hz are understood")
    if channels is not None and not 1 <= channels <= CHANNELS:
        raise ConfigError(f"--channels {channels}: 1 to {CHANNELS} are understood")
    if format is not None and format not in FORMATS:
        raise ConfigError(f"--format {format}: there are {' and '.join(FORMATS)}")
    if block is not None and not 1 <= block <= LONGEST_BLOCK:
        raise ConfigError(f"--block {block}: 1 to {LONGEST_BLOCK:,} samples are answered at a time")


def _stream(
    find_model: FindModel,
    model: str | None,
    device: str,
    rate: int | None,
    channels: int,
    format: str,
    block: int | None,
    bypass: bool,
) -> int:
    from ml.inference.pcm import Samples
    from ml.inference.piping import pass_on, refuse_terminals

    source, sink = sys.stdin.fileno(), sys.stdout.fileno()
    refusal = refuse_terminals(source, sink)
    if refusal is not None:
        raise ConfigError(refusal)
    live = None
    if not bypass:
        from ml.inference.live import Live

        # One thread: a block is too short for more, and who plays the sound needs processors too.
        denoiser = _open(find_model, model, device, 1)
        live = Live(denoiser, rate or denoiser.rate, channels=channels, block=block)
        _tell(f"{live.describe()}; {rate or denoiser.rate:,} Hz, {format}")
    else:
        _tell("bypass: what comes goes out as it came, at once")
    samples = Samples(format, channels)
    try:
        pass_on(source, sink, samples, live, _tell)
    except BrokenPipeError:
        _tell("stopped: whoever took the sound has gone")
    except KeyboardInterrupt:
        _tell("interrupted")
        return INTERRUPTED
    finally:
        if live is not None and live.sound_seconds:
            share = live.computing_seconds / live.sound_seconds
            _tell(f"{live.sound_seconds:.1f} s of sound, computed in {share:.2f} of its time")
    return 0


def _open(find_model: FindModel, model: str | None, device: str, threads: int | str) -> Denoiser:
    """The model that is meant, on the device that is meant."""
    from pydantic import ValidationError

    from ml.training.machine import MachineConfig, resolve_machine

    try:
        # Not rounded to bf16: the error would lie beneath the noise, but it could be heard when that is gone.
        config = MachineConfig(device=device, precision="fp32", threads=threads)  # type: ignore[arg-type]
    except ValidationError:
        raise ConfigError(f"--device {device}: there are auto, cpu, cuda, and cuda:1 for a second card") from None
    folder = _folder(find_model, model)

    import torch

    from ml.inference.denoiser import open_denoiser
    from ml.models.hub import ModelUnavailable

    machine = resolve_machine(config)
    torch.set_num_threads(machine.threads)
    torch.backends.cudnn.allow_tf32 = False
    try:
        return open_denoiser(folder, machine)
    except ModelUnavailable as problem:
        raise ConfigError(str(problem)) from None


def _folder(find_model: FindModel, model: str | None) -> Path:
    """A folder is used as it is, without any lab; everything else is known by `find_model`."""
    if model is not None and (model.startswith(("/", ".", "~")) or (Path(model) / "config.json").is_file()):
        return Path(model).expanduser()
    return find_model(model)


def _tell(sentence: str) -> None:
    print(f"nocturne: {sentence}", file=sys.stderr, flush=True)
