"""From a song to its beatmap on one core: how much faster than it sounds. python -m tests.benchmarks.transcription

A song of five minutes on a made-up kit, transcribed by the usual network (its weights are drawn: speed does not ask
what was learned) and by heuristics. Every part for itself, then the whole, and what an hour takes of memory. Processor
time. Prints a table with bounds and ends with exit code 1 when one is missed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import soundfile
import torch

from ml.features.hits import HitPictures
from ml.inference.folded import AT_ONCE, FoldedDrumCNN
from ml.inference.heuristics import bands_of
from ml.inference.onsets import find_onsets
from ml.inference.songs import read_song
from ml.inference.tempo import tempo_of
from ml.inference.transcriber import RATE, Transcriber
from ml.models.drumcnn import build_drumcnn
from ml.models.drumcnn_config import DrumCNNConfig
from ml.studies.drums.grooves import play
from ml.studies.drums.kits import Kit
from ml.studies.drums.rendering import record
from ml.studies.drums.transcribing import Named, transcribe
from ml.training.machine import Machine
from tests.benchmarks.features import watched_memory
from tests.benchmarks.table import Table

ONE_CORE = Machine(device="cpu", precision="fp32", threads=1, name="one core", bf16=False)
SECONDS, PIECE = 300.0, 30.0
LEAST = 20.0
"""Times faster than real time."""
LONGER, MORE_MEMORY = 12, 500.0
"""Times as long; MiB that an hour may take beyond what a short song took, of which the sound itself is 303."""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of the song")
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    table = Table()
    with tempfile.TemporaryDirectory() as scratch:
        song = Path(scratch) / "song.flac"
        hits = written(song, asked.seconds)
        ours = Transcriber(build_drumcnn(DrumCNNConfig(), seed=0).eval(), ONE_CORE)
        heard = ours.hear(read_song(song, RATE).samples[: 2 * RATE], RATE)  # loads what it needs
        assert len(heard.onsets)
        print(f"a song of {asked.seconds:.0f} s with {hits:,} hits, FLAC, stereo, {RATE:,} Hz")
        parts(song, ours, asked.seconds, table)
        for name, transcriber in (("the usual network", ours), ("heuristics", Transcriber(None, None))):
            spent, said = timed(lambda how=transcriber: transcribe(how, song, Named(), model="any"))
            assert said.beatmap.audio.duration > 0
            what = f"the whole, with {name}: times faster than real time"
            table.row(what, asked.seconds / spent, "times", LEAST)
        memory(song, asked.seconds, Path(scratch) / "long.wav", table)
    return 1 if table.missed else 0


def written(path: Path, seconds: float) -> int:
    """A song in stereo, made of one piece again and again; how many hits it has."""
    rng = np.random.default_rng(0)
    played = play(rng, min(PIECE, seconds), ("rock", "funk"))
    piece = record(Kit.made(0, 1), played, rng, band=True)
    times = max(1, round(seconds * RATE / len(piece)))
    sound = np.tile(piece, times)
    soundfile.write(str(path), np.stack([sound, sound], axis=1), RATE)
    return times * len(played.strokes)


def parts(song: Path, ours: Transcriber, seconds: float, table: Table) -> None:
    """Each part as the whole does it."""
    spent, sound = timed(lambda: read_song(song, RATE))
    row(table, "decoding, mixing, hashing", spent, seconds)
    spent, onsets = timed(lambda: find_onsets(sound.samples, RATE))
    row(table, f"onsets ({len(onsets) / seconds:.1f} a second)", spent, seconds)
    spent, _ = timed(lambda: bands_of(sound.samples, RATE, onsets))
    row(table, "bands of the spectrum, for velocities", spent, seconds)
    pictures = HitPictures(ours.picture, RATE)
    clips = pictures.clips(sound.samples)
    start = np.rint(onsets * RATE).astype(np.int64)
    first, last = np.zeros_like(start), np.full_like(start, len(sound.samples))
    batches = [slice(begin, begin + AT_ONCE["cpu"]) for begin in range(0, len(start), AT_ONCE["cpu"])]
    with torch.inference_mode():
        spent, seen = timed(
            lambda: [pictures.pictures(clips.batch(start[own], first[own], last[own])) for own in batches]
        )
        row(table, "pictures", spent, seconds)
        assert ours.network is not None
        network = FoldedDrumCNN(ours.network)
        spent, _ = timed(lambda: [network(batch) for batch in seen])
        row(table, f"network ({1000 * spent / len(onsets):.1f} ms a picture)", spent, seconds)
    spent, _ = timed(lambda: tempo_of({"kick": onsets}))
    row(table, "tempo", spent, seconds)


def memory(song: Path, seconds: float, longer: Path, table: Table) -> None:
    """What a long song takes beyond a short one, by heuristics: the network sees few pictures at once."""
    sound, rate = soundfile.read(str(song), dtype="int16")
    with soundfile.SoundFile(str(longer), "w", rate, 2) as file:
        for _ in range(LONGER):
            file.write(sound)
    del sound
    before = psutil.Process().memory_info().rss
    with watched_memory() as most:
        transcribe(Transcriber(None, None), longer, Named(), model="any")
        held = (most()[0] - before) / 2**20
    minutes = LONGER * seconds / 60
    table.row(f"memory of a song of {minutes:.0f} minutes", held, "MiB", MORE_MEMORY * max(0.1, minutes / 60), False)


def row(table: Table, what: str, spent: float, seconds: float) -> None:
    table.row(f"{what}: times faster than real time", seconds / max(spent, 1e-6), "times", None)


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Processor seconds, and what came out."""
    begun = time.process_time()
    found = work()
    return time.process_time() - begun, found


if __name__ == "__main__":
    sys.exit(main())
