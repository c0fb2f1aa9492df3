"""What the features cost: one run, one core, ratios. From the repository root: python -m tests.benchmarks.features

Exit code 1 when a bound is missed. Times are processor seconds of this process and its children, so that a busy
machine does not decide the outcome; every file has been written a moment before, so no disk is waited for.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

Files = list[tuple[str, Path]]

RATE, WINDOW_SECONDS = 48_000, 2.97
TRIALS, EPOCHS, BATCH = 5, 5, 16
SAMPLE = 120
"""Windows of each kind of file on which a cost per window is measured."""
FILE_MINUTES = 2
"""The document's 710 recordings are two minutes long on average."""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=40, help="of WAV and again of FLAC that are built")
    parser.add_argument("--long-minutes", type=float, default=60, help="length of the file whose memory is measured")
    asked = parser.parse_args(arguments)
    on_one_core()
    report = Report()
    with tempfile.TemporaryDirectory() as scratch:
        peak_memory(Path(scratch), asked.long_minutes, report)  # first: torch and librosa are not loaded yet
        extractor_ratio(report)
        building(Path(scratch), asked.minutes, report)
    return report.exit_code


def on_one_core() -> None:
    """Before numpy and torch are imported: one thread each, and one core for all processes where that can be said."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


class Report:
    """Prints one line per figure and remembers whether a bound was missed."""

    def __init__(self) -> None:
        self.exit_code = 0

    def line(self, what: str, figure: float, unit: str, least: float | None = None, most: float | None = None) -> None:
        bound, verdict = "", ""
        if least is not None or most is not None:
            met = figure >= least if least is not None else figure <= (most or 0)
            bound = f">= {least:g} {unit}" if least is not None else f"<= {most:g} {unit}"
            verdict = "met" if met else "NOT MET"
            self.exit_code |= not met
        print(f"{what:<76} {figure:>8.2f} {unit:<3} {bound:<12} {verdict}".rstrip(), flush=True)


def processor_seconds() -> float:
    """Of this process and of its children that have ended; wall clock on Windows, which does not count children."""
    try:
        import resource
    except ImportError:
        return time.perf_counter()
    spent = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in spent)


def spent_on(work: Callable[[], Any]) -> float:
    begun = processor_seconds()
    work()
    return processor_seconds() - begun


@contextmanager
def watched_memory() -> Iterator[Callable[[], tuple[int, int]]]:
    """Calls to what is given say the most bytes so far: (this process and its children, the children alone)."""
    import psutil

    process, done = psutil.Process(), threading.Event()
    most = [0, 0]

    def look() -> None:
        while not done.wait(0.02):
            held = 0
            for child in process.children(recursive=True):
                try:
                    held += child.memory_info().rss
                except psutil.Error:
                    continue
            most[0] = max(most[0], held + process.memory_info().rss)
            most[1] = max(most[1], held)

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield lambda: (most[0], most[1])
    finally:
        done.set()
        watcher.join()


def content_hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def concert(seconds: float, seed: int) -> Any:
    """Stereo int16 (samples, 2) at 48 kHz: notes with overtones that die away, applause between them, a quiet hall."""
    import numpy as np

    rng = np.random.default_rng(seed)
    one = np.zeros((20 * RATE, 2), np.float32)
    note = np.arange(RATE // 2, dtype=np.float32) / RATE
    for number in range(24):  # twelve seconds of music
        pitch = 110 * 2 ** (rng.integers(0, 36) / 12)
        tone = sum(np.sin(2 * np.pi * pitch * partial * note) / partial**1.5 for partial in range(1, 9))
        place = slice(number * len(note), (number + 1) * len(note))
        one[place] += (0.25 * tone * np.exp(-3 * note))[:, None] * rng.uniform(0.5, 1, 2)
    claps = rng.standard_normal((6 * RATE, 2)) * (0.02 + 0.2 * (rng.random((6 * RATE, 1)) < 0.01))
    one[13 * RATE : 19 * RATE] += claps
    one += 0.001 * rng.standard_normal(one.shape)
    whole = np.resize(np.clip(one * 32767, -32768, 32767).astype(np.int16), (round(seconds * RATE), 2))
    return whole


def build(folder: Path, files: Files, tail: int) -> None:
    from ml.data.audio import read_mono
    from ml.data.children import map_in_children
    from ml.features.fbank import FbankConfig
    from ml.features.frames import build_frames

    folder.mkdir()
    stamps = {key: (path.stat().st_size, path.stat().st_mtime_ns) for key, path in files}
    build_frames(
        folder,
        files,
        FbankConfig(),
        decode=read_mono,
        run=map_in_children,
        workers=1,
        min_tail_rows=tail,
        stamps=stamps,
    )


def peak_memory(scratch: Path, minutes: float, report: Report) -> None:
    import soundfile

    path = scratch / "long.wav"
    block = concert(20, 0)
    with soundfile.SoundFile(path, "w", RATE, 2, "PCM_16") as file:
        for _ in range(max(1, round(minutes * 3))):
            file.write(block)
    files = [(content_hash(path), path)]
    with watched_memory() as most:
        build(scratch / "long", files, 295)
    path.unlink()
    (scratch / "long" / "frames.f16").unlink()
    what = f"peak memory of a build, children included, one file of {minutes:g} min"
    report.line(what, most()[0] / 2**30, "GiB", most=1.5)
    report.line("  its child process alone", most()[1] / 2**30, "GiB")


def extractor_ratio(report: Report) -> None:
    """Sixteen decoded windows as a list: frames and normalisation, nothing padded or cut by either."""
    import numpy as np
    import torch
    from transformers import ASTFeatureExtractor

    from ml.features.fbank import Fbank, FbankConfig

    torch.set_num_threads(1)
    fbank = Fbank(FbankConfig())
    for seconds in (WINDOW_SECONDS, 10.0):
        samples = round(seconds * 16_000)
        windows = list(np.random.default_rng(0).normal(0, 0.1, (BATCH, samples)).astype(np.float32))
        extractor = ASTFeatureExtractor(max_length=fbank.frames_of(samples))

        def theirs(windows: Any = windows, extractor: Any = extractor) -> Any:
            return extractor(windows, sampling_rate=16_000, return_tensors="np")["input_values"]

        def ours(windows: Any = windows, extractor: Any = extractor) -> Any:
            frames = np.stack([fbank(window) for window in windows])
            return (frames - extractor.mean) / (2 * extractor.std)

        assert np.allclose(theirs(), ours(), atol=1e-3)
        best = {theirs: float("inf"), ours: float("inf")}
        for _ in range(12):
            for way in best:
                begun = time.process_time()
                way()
                best[way] = min(best[way], time.process_time() - begun)
        what = f"our frames against transformers' extractor, list of {BATCH} windows of {seconds:g} s"
        report.line(what, best[theirs] / best[ours], "x", least=1.0)
        report.line("  ours per window", best[ours] / BATCH * 1000, "ms")


def building(scratch: Path, minutes: float, report: Report) -> None:
    """Recordings to frames, and five trials of five epochs from them, against doing it window by window."""
    import soundfile

    from ml.features.fbank import Fbank, FbankConfig

    count = max(1, round(minutes / FILE_MINUTES))
    seconds = minutes * 60 / count
    files: dict[str, Files] = {"wav": [], "flac": []}
    for number in range(count):
        sound = concert(seconds, number)
        for kind, of_kind in files.items():
            path = scratch / f"{number}.{kind}"
            soundfile.write(path, sound, RATE, subtype="PCM_16")
            of_kind.append((content_hash(path), path))
    tiny = scratch / "tiny.wav"
    soundfile.write(tiny, concert(0.1, count), RATE, subtype="PCM_16")

    length = Fbank(FbankConfig()).frames_of(round(WINDOW_SECONDS * 16_000))
    build(scratch / "warm", [(content_hash(tiny), tiny)], 0)  # what this process imports is not the child's start
    start = spent_on(lambda: build(scratch / "start", [(content_hash(tiny), tiny)], 0))
    ours = {kind: spent_on(lambda kind=kind: build(scratch / kind, files[kind], length)) for kind in files}
    per_file = int(seconds / WINDOW_SECONDS)
    windows = dict.fromkeys(files, count * per_file)
    with_librosa = {kind: windows[kind] * per_window(librosa_window, files[kind], per_file) for kind in files}
    in_the_loop = {kind: windows[kind] * per_window(extractor_window, files[kind], per_file) for kind in files}
    decoding = spent_on(lambda: decode_only(files["flac"]))
    gathering = sum(spent_on(lambda kind=kind: gather_all(scratch / kind, length)) for kind in files)

    print(f"  {count} WAV and {count} FLAC recordings of {seconds:g} s, 48 kHz, stereo, 16 bit.")
    print(
        f"  Costs per window of {WINDOW_SECONDS} s: measured on {SAMPLE} of a kind, multiplied by {count * per_file}."
    )
    print(f"  Starting the child process, {start:.2f} s once per build, is left out of the lines against librosa.")
    for kind in files:
        # Of FLAC both ways spend most of their time in the same decoder: its ratio has a ceiling, printed with it.
        ratio = with_librosa[kind] / (ours[kind] - start)
        what = f"building features of {kind.upper()}, decoding included, against librosa per window"
        report.line(what, ratio, "x", least=2.5 if kind == "wav" else None)
        if kind == "flac":
            report.line("  were ours nothing but the decoder", with_librosa[kind] / decoding, "x")
        report.line("  ours per 10 s of sound", (ours[kind] - start) / minutes / 6 * 1000, "ms")
        report.line("  librosa per 10 s of sound", with_librosa[kind] / minutes / 6 * 1000, "ms")
    together = sum(with_librosa.values()) / sum(ours[kind] - start for kind in files)
    report.line("building features of both together against librosa", together, "x")
    epochs = TRIALS * EPOCHS
    ratio = epochs * sum(in_the_loop.values()) / (sum(ours.values()) + gathering)
    what = f"data work of {TRIALS} trials x {EPOCHS} epochs against extraction in the training loop"
    report.line(what, ratio, "x", least=20)
    report.line("  build, once", sum(ours.values()), "s")
    report.line(f"  gathering every window {epochs} times", gathering, "s")
    report.line("  per window gathered", gathering / epochs / sum(windows.values()) * 1000, "ms")
    report.line(
        "  decoded and extracted in the loop, per window and epoch",
        sum(in_the_loop.values()) / sum(windows.values()) * 1000,
        "ms",
    )


def per_window(work: Callable[[Path, float], Any], files: Files, per_file: int) -> float:
    """Mean processor seconds of `work` on windows spread evenly over the files."""
    places = [(path, number * WINDOW_SECONDS) for _, path in files for number in range(per_file)]
    sample = [places[number * len(places) // SAMPLE] for number in range(SAMPLE)]
    work(*sample[0])
    return spent_on(lambda: [work(path, offset) for path, offset in sample]) / SAMPLE


def decode_only(files: Files) -> None:
    """The least that anyone has to do: all samples out of all files, two seconds at a time."""
    import numpy as np
    import soundfile

    block = np.empty((2 * RATE, 2), np.int16)
    for _, path in files:
        with soundfile.SoundFile(path) as sound:
            while len(sound.read(out=block)):
                pass


def librosa_window(path: Path, offset: float) -> Any:
    import librosa

    samples, _ = librosa.load(path, sr=16_000, offset=offset, duration=WINDOW_SECONDS)
    energies = librosa.feature.melspectrogram(
        y=samples, sr=16_000, n_fft=512, win_length=400, hop_length=160, n_mels=128
    )
    return librosa.power_to_db(energies)


def extractor_window(path: Path, offset: float) -> Any:
    import librosa

    samples, _ = librosa.load(path, sr=16_000, offset=offset, duration=WINDOW_SECONDS)
    return extractor()(samples, sampling_rate=16_000, return_tensors="np")["input_values"]


@cache
def extractor() -> Any:
    from transformers import ASTFeatureExtractor

    return ASTFeatureExtractor(max_length=295)


def gather_all(folder: Path, length: int) -> None:
    """Every window of every epoch of every trial, in batches of random order."""
    import numpy as np

    from ml.features.batches import Gather
    from ml.features.frames import open_frames

    store = open_frames(folder)
    hop = round(WINDOW_SECONDS * store.config.frames_per_second)
    starts = np.concatenate([np.arange(first, first + own - length + 1, hop) for first, own in store.rows.values()])
    gather = Gather(store.frames, length)
    for epoch in range(TRIALS * EPOCHS):
        order = np.random.default_rng(epoch).permutation(starts)
        for first in range(0, len(order), BATCH):
            some = order[first : first + BATCH]
            gather.batch(some, np.full(len(some), length, np.int32))


if __name__ == "__main__":
    sys.exit(main())
