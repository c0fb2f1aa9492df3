"""A live stream on one core: how late, how much computing, how far from the whole. python -m tests.benchmarks.streaming

From the repository root; exit code 1 when a bound is missed. Networks of the demo's and of the usual size whose weights
are drawn (speed does not ask what was learned), or with `--model DIR` one that was trained. Files too: what they cost.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
import torch

from ml.config import read_config
from ml.inference.denoiser import Denoiser, open_denoiser
from ml.inference.files import denoise_file
from ml.inference.live import LATENCY_SECONDS, Live
from ml.inference.pieces import denoise_signal
from ml.models.saved import save_model
from ml.models.unet1d_config import UNet1DConfig
from ml.studies.denoise.study import DENOISE
from tests.benchmarks.features import Report, watched_memory
from tests.ml.inference.small import PROCESSOR, small_denoiser, sounding

RATE, OTHER = 44_100, 48_000
"""Hz: what networks learn by default, and what many sound cards speak."""
ENDS_SECONDS = 0.1
REAL_TIME = 0.5
DECIBELS = -60.0
MORE_MEMORY = 64.0
"""MiB: what memory may be off by, however long a file is."""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, help="folder of a trained model")
    parser.add_argument("--seconds", type=float, default=10.0, help="of sound")
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    report = Report()
    demo = read_config(UNet1DConfig, DENOISE.demo_settings()["trial"]["model"], "demo")
    with tempfile.TemporaryDirectory() as scratch:
        models = {"demo": demo, "usual": UNet1DConfig()}
        for name, config in {} if asked.model else models.items():
            (Path(scratch) / name).mkdir()
            save_model(small_denoiser(config), Path(scratch) / name, {"sample_rate": RATE})
        for folder in [asked.model] if asked.model else [Path(scratch) / name for name in models]:
            ours = open_denoiser(folder, PROCESSOR)
            weights = sum(weight.numel() for weight in ours.model.parameters())
            print(f"{folder.name}: {ours.model.config.channels}, {weights:,} weights, fp32, one thread")
            streams(ours, asked.seconds, report)
            commands(folder, ours.rate, asked.seconds, report)
            files(ours, Path(scratch), asked.seconds, report)
    return report.exit_code


def streams(ours: Denoiser, seconds: float, report: Report) -> None:
    """At the network's rate and at another one."""
    for rate in (ours.rate, OTHER if ours.rate != OTHER else RATE):
        live, sound = Live(ours, rate), sounding(round(seconds * rate))
        live.push(sound[:, : rate // 4])  # warms up
        began, parts = time.process_time(), []
        for begin in range(rate // 4, sound.shape[1], 441):
            parts.append(live.push(sound[:, begin : begin + 441]))
        spent = time.process_time() - began
        print(f"  {live.describe()}")
        limit = 1000 * LATENCY_SECONDS
        report.line(f"  latency of a stream at {rate:,} Hz", 1000 * live.latency_seconds, "ms", most=limit)
        report.line("  processor seconds per second of sound", spent / (seconds - 0.25), "s", most=REAL_TIME)
        for begin in (512, 1024):
            short = Live(ours, rate, block=begin)
            short.push(sound[:, :rate])
            began = time.process_time()
            short.push(sound[:, : 2 * rate])
            what = f"  the same with --block {begin}, {1000 * short.latency_seconds:.0f} ms late"
            report.line(what, (time.process_time() - began) / 2, "s")
    live, sound = Live(ours, ours.rate), sounding(round(seconds * ours.rate))
    pieces = [live.push(sound[:, begin : begin + 997]) for begin in range(0, sound.shape[1], 997)]
    said = np.concatenate([*pieces, live.finish()], axis=1)
    whole = denoise_signal(ours.model, sound, ours.machine)
    with torch.inference_mode():
        at_once = ours.model(torch.from_numpy(sound)).numpy()
    middle = slice(round(ENDS_SECONDS * ours.rate), -round(ENDS_SECONDS * ours.rate))
    for what, other in (("the file in pieces", whole), ("one pass over all of it", at_once)):
        for where, part in (("away from the ends", middle), ("ends and all", slice(None))):
            off = decibels((said - other)[:, part], other[:, part])
            report.line(f"  stream against {what}, {where}", off, "dB", most=DECIBELS)


def commands(folder: Path, rate: int, seconds: float, report: Report) -> None:
    """The command itself in a process of its own, between two pipes."""
    sine = np.rint(2**15 * 0.9 * np.sin(np.arange(round(seconds * rate)) / 16)).astype("<i2").tobytes()
    same = ran(sine, "--bypass")
    report.line("  a sine through --bypass: share of the bytes that are equal", share_equal(same, sine), "", least=1.0)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    said = ran(sine, "--model", str(folder))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    report.line(
        "  bytes that went out of the command, by those that came in", len(said) / len(sine), "", least=1.0, most=None
    )
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    report.line("  processor seconds of the command, loading and all, per second of sound", spent / seconds, "s")


def ran(said: bytes, *arguments: str) -> bytes:
    command = [sys.executable, "-m", "tests.ml.inference.command", "denoise", "--stream", *arguments]
    return subprocess.run(command, input=said, capture_output=True, check=True).stdout


def share_equal(said: bytes, expected: bytes) -> float:
    if len(said) != len(expected):
        return 0.0
    return float(np.mean(np.frombuffer(said, np.uint8) == np.frombuffer(expected, np.uint8)))


def files(ours: Denoiser, scratch: Path, seconds: float, report: Report) -> None:
    """A file of that length, and one that is ten times as long: memory does not follow."""
    held, block = [], sounding(ours.rate, channels=2).T
    for longer in (1, 10):
        source, target = scratch / "noisy.wav", scratch / "denoised.wav"
        with soundfile.SoundFile(source, "w", ours.rate, 2) as file:
            for _ in range(round(longer * seconds)):
                file.write(block)
        with watched_memory() as most:
            began = time.process_time()
            denoise_file(ours, source, target, lambda share: None)
            spent = time.process_time() - began
            held.append(most()[0] / 2**20)
    report.line("  a stereo file: processor seconds per second of it", spent / (10 * seconds), "s", most=REAL_TIME)
    what = f"  a file of {10 * seconds:.0f} s: memory beyond that for {seconds:.0f} s"
    report.line(what, held[1] - held[0], "MiB", most=MORE_MEMORY)


def decibels(rest: np.ndarray, sound: np.ndarray) -> float:
    return 10 * float(np.log10(max(1e-30, np.mean(np.square(rest, dtype=np.float64))) / np.mean(np.square(sound))))


if __name__ == "__main__":
    sys.exit(main())
