"""Hits out of a song: how many per second, and how often it is decoded. python -m tests.benchmarks.extraction

From the repository root; exit code 1 when a bound is missed. A song of 5 minutes with 2,000 hits, on one core, as WAV,
FLAC and MP3; times are processor seconds of all processes. Also: by how much a click comes later out of a compressed
file than it went in.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks.features import Report, on_one_core, processor_seconds

if TYPE_CHECKING:
    import numpy as np

RATE = 44_100
MOST_SECONDS = 3.0


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=300.0, help="length of the song")
    parser.add_argument("--hits", type=int, default=2000, help="in it")
    asked = parser.parse_args(arguments)
    on_one_core()
    report = Report()
    with tempfile.TemporaryDirectory() as scratch:
        for kind in ("wav", "flac", "mp3"):
            extraction(Path(scratch) / kind, kind, asked.seconds, asked.hits, report)
        lateness(Path(scratch), report)
    return report.exit_code


def extraction(folder: Path, kind: str, seconds: float, count: int, report: Report) -> None:
    """Collecting the hits of a song, and cutting them out of it."""
    import numpy as np
    import pandas as pd

    from ml.data import audio
    from ml.studies.drums import cutting, exporting
    from ml.studies.drums.collection import extract
    from ml.studies.drums.config import DrumsSettings
    from tests.ml.data.maps import clicks, song

    times = np.linspace(0, seconds * 1000 - 100, count).astype(int).tolist()
    beatmap = song(folder, [(ms, "kick") for ms in times], seconds=1.0, duration=0, hash="")
    beatmap.with_suffix(".wav").unlink()
    sound = beatmap.with_suffix(f".{kind}")
    _write(sound, np.repeat(clicks(seconds, times, RATE), 2, axis=1))

    began = processor_seconds()
    came = extract(folder / "collection", beatmap, None)
    collecting = processor_seconds() - began
    assert came.added == count, came

    opened = []
    real = cutting.read_mono
    cutting.read_mono = lambda *given: opened.append(1) or audio.read_mono(*given)  # type: ignore[assignment,func-returns-value]
    rows = {"content_hash": "0" * 64, "label": "kick", "part": "train", "group": "a", "audio": "a", "overlaps": None}
    hits = pd.DataFrame([rows | {"seconds": ms / 1000} for ms in times])
    (folder / "out" / "train" / "kick").mkdir(parents=True)
    began = processor_seconds()
    written = exporting.write_hits(folder / "out", sound, hits, DrumsSettings())
    cut = processor_seconds() - began
    cutting.read_mono = real
    assert len(written) == count and len(list((folder / "out" / "train" / "kick").iterdir())) == count

    what = f"{kind}, {seconds / 60:g} min, {count:,} hits"
    report.line(f"{what}: collected", collecting, "s")
    report.line(f"{what}: cut out and written as files", cut, "s")
    report.line(f"{what}: both together", collecting + cut, "s", most=MOST_SECONDS)
    report.line(f"{what}: hits per second, both together", count / (collecting + cut), "/s")
    report.line(f"{what}: times that it is decoded to cut", len(opened), "", most=1)


def lateness(folder: Path, report: Report) -> None:
    """By how much clicks come later out of a compressed file than they went in."""
    for kind in ("flac", "ogg", "mp3"):
        for rate in (RATE, 48_000, 22_050):
            samples = sounding(rate)
            path = folder / f"clicks{rate}.{kind}"
            _write(path, samples, rate)
            report.line(f"{kind} at {rate:,} Hz: later than what it was made of", late_ms(path, samples, rate), "ms")
            if kind == "mp3":
                bare = _without_account(path)
                report.line("  without the frame that tells the delay", late_ms(bare, samples, rate), "ms")


def sounding(rate: int) -> np.ndarray:
    """Four seconds of faint noise with seven clicks."""
    import numpy as np

    samples = np.random.default_rng(7).normal(0, 0.001, (rate * 4, 2))
    for place in np.arange(1, 8) * rate // 2:
        samples[place : place + 32] = 0.8
    return samples


def late_ms(path: Path, samples: np.ndarray, rate: int) -> float:
    """By how much what is read of `path` lies behind `samples`."""
    import numpy as np

    from ml.data.audio import read_mono

    heard = np.concatenate(list(read_mono(path, rate)))
    length = 2 * max(len(heard), len(samples))
    spectrum = np.fft.rfft(heard, length) * np.conj(np.fft.rfft(samples[:, 0], length))
    return float(np.fft.irfft(spectrum)[: rate // 4].argmax()) / rate * 1000


def _without_account(path: Path) -> Path:
    """The MP3 as an encoder writes it that does not tell how many samples it put in front."""
    from ml.data.mp3 import _frame

    content = path.read_bytes()
    length, _ = _frame(content[:4])
    assert b"Xing" in content[:length] or b"Info" in content[:length]
    bare = path.with_name(f"bare {path.name}")
    bare.write_bytes(content[length:])
    return bare


def _write(path: Path, samples: object, rate: int = RATE) -> None:
    import soundfile

    soundfile.write(str(path), samples, rate)


if __name__ == "__main__":
    sys.exit(main())
