"""A small drums corpus, made up: songs with their beatmaps and packs of one-shots, every one on a kit of its own.

So validation and test hear kits that training never heard, and the song that is transcribed after it is on yet another.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ml.studies.drums.grooves import Played, play
from ml.studies.drums.kits import LAYERS, PLAYED, RATE, Kit
from ml.studies.drums.rendering import record

if TYPE_CHECKING:
    import pandas as pd

    from ml.data.beatmap import Beatmap
    from ml.studies.study import FindModel

SONGS = (
    ("rock", "ride"),
    ("funk", "rock, open"),
    ("half-time", "disco"),
    ("disco", "toms"),
    ("rock, open", "ride, busy"),
    ("funk", "half-time"),
    ("rock", "disco"),
    ("ride", "funk"),
    ("disco", "rock"),
    ("rock, open", "ride, busy"),
    ("half-time", "toms"),
    ("funk", "disco"),
    ("ride, busy", "rock"),
    ("rock, open", "funk"),
)
"""The grooves of each song. Each has a hi-hat, and all have every tom."""

SECONDS = 14.0
"""Of a song, about."""

FEWEST_SONGS = 6

PACKS = 4
STROKES = 3
"""One-shots of each component in a pack."""

FOLDERS = {
    0: {"kick": "Bass Drum", "snare": "Snare", "hihat_closed": "Closed HiHat", "hihat_open": "Open HiHat"},
    1: {"tom_high": "Hi Tom", "tom_mid": "Mid Tom", "tom_low": "Floor Tom", "crash": "Crash", "ride": "Ride Cymbal"},
}
"""Packs whose folders have the names that people give them, and not all the names of the components."""

BROKEN = "przerwana piosenka"
"""A song that is cut off in its middle: the inventory has something to refuse."""
UNSEEN = "unseen song"
UNSEEN_SEED = (0, 301)
UNSEEN_PARTS = ("rock", "disco", "funk")
"""The song that is transcribed by the best model when all trials are done."""

COWBELL = "cowbell"
"""A component that is not learned, in the map of one song: the inventory has something to leave out."""


def write_corpus(folder: Path, *, seed: int = 0, scale: float = 1.0) -> None:
    """Write songs/NAME/NAME.flac with its map, and one-shots/PACK/COMPONENT/file; `scale` multiplies the songs."""
    songs = max(FEWEST_SONGS, round(len(SONGS) * scale))
    for number in range(songs):
        name = f"song {number + 1:02d}"
        suffix = "flac" if number % 3 else "wav"
        write_song(folder / "songs" / name, name, (seed, number), SONGS[number % len(SONGS)], suffix=suffix)
    for number in range(PACKS):
        write_pack(folder / "one-shots" / f"pack {number + 1}", (seed, 100 + number), FOLDERS.get(number, {}))
    broken = folder / "songs" / BROKEN
    write_song(broken, BROKEN, (seed, 200), ("rock",), seconds=6)
    audio = broken / f"{BROKEN}.flac"
    audio.write_bytes(audio.read_bytes()[: audio.stat().st_size // 2])


def after_demo(folder: Path, find_model: FindModel) -> str:
    """A song that no trial met, on a kit that none met, written into `folder` and transcribed there by the best model.

    What became of it, in sentences: where the beatmap lies and how many of the hits that were played are in it.
    """
    from ml.data.beatmap import read_beatmap, write_beatmap
    from ml.inference.transcriber import open_transcriber
    from ml.studies.drums.transcribing import Named, transcribe
    from ml.training.machine import MachineConfig, resolve_machine

    model = find_model(None)
    played = write_song(folder, UNSEEN, UNSEEN_SEED, UNSEEN_PARTS, suffix="wav")
    machine = resolve_machine(MachineConfig(device="cpu", precision="fp32"))
    heard = transcribe(open_transcriber(model, machine), played.with_suffix(".wav"), Named(), model=model.name)
    transcribed = folder / f"{UNSEEN}, transcribed.bsm"
    write_beatmap(transcribed, heard.beatmap)
    scores = compared(read_beatmap(played), read_beatmap(transcribed))
    return "\n".join(
        [
            f"A song that no trial met, on a kit that none met, became a beatmap: {transcribed}",
            f"  {heard.sentence()}",
            f"  held against what was played (F1 within 50 ms): {_in_words(scores)}",
        ]
    )


def compared(played: Beatmap, transcribed: Beatmap) -> pd.DataFrame:
    """How well one beatmap finds the hits of the other: as `ml.metrics.events.event_scores` has it."""
    from ml.metrics.events import event_scores

    return event_scores(_times(played), _times(transcribed))


def _times(beatmap: Beatmap) -> dict[str, np.ndarray]:
    found: dict[str, list[float]] = {}
    for hit in beatmap.hitObjects:
        found.setdefault(hit.component, []).append(hit.time / 1000)
    return {name: np.array(times) for name, times in found.items()}


def _in_words(scores: pd.DataFrame) -> str:
    """F1 of each component that was played, in the order of the network's outputs, and of all together."""
    there = scores[scores["reference"] > 0]
    of_class = {row["class"]: row["f1"] for _, row in there.iterrows() if row["class"] is not None}
    each = [f"{name} {100 * of_class[name]:.0f} %" for name in PLAYED if name in of_class]
    overall = scores[scores["class"].isna()]["f1"].iloc[0]
    return f"{', '.join(each)}; all hits {100 * overall:.0f} %"


def write_song(
    folder: Path,
    name: str,
    seed: tuple[int, ...],
    parts: tuple[str, ...],
    *,
    seconds: float = SECONDS,
    suffix: str = "flac",
) -> Path:
    """Write NAME.SUFFIX and NAME.bsm into `folder`, a song on the kit of this seed; the path of the map."""
    import soundfile

    from ml.data.beatmap import write_beatmap

    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng([5, *seed])
    played = play(rng, seconds, parts)
    audio = folder / f"{name}.{suffix}"
    sound = record(Kit.made(*seed), played, rng, band=seed[-1] % 2 == 0)
    soundfile.write(str(audio), sound, RATE, subtype="PCM_16")
    said = beatmap_of(played, audio, name)
    if seed[-1] == 1:
        said.hitObjects.append(said.hitObjects[-1].model_copy(update={"component": COWBELL}))
    write_beatmap(folder / f"{name}.bsm", said)
    return folder / f"{name}.bsm"


def beatmap_of(played: Played, audio: Path, title: str) -> Beatmap:
    """What was played, as a beatmap of the file that it was recorded in."""
    import hashlib

    from ml.data.beatmap import Beatmap

    return Beatmap.model_validate(
        {
            "version": "1.1.0",
            "metadata": {
                "title": title,
                "artist": "Nocturne",
                "creator": "made up",
                "difficulty": 3.0,
                "beatmapId": f"made-up-{title.replace(' ', '-')}",
            },
            "audio": {
                "filename": audio.name,
                "hash": f"sha256:{hashlib.sha256(audio.read_bytes()).hexdigest()}",
                "duration": round(1000 * played.seconds),
                "sampleRate": RATE,
            },
            "timing": {"bpm": round(played.bpm, 2), "offset": round(1000 * played.offset), "timeSignature": "4/4"},
            "drumKit": {"components": sorted({stroke.component for stroke in played.strokes}, key=PLAYED.index)},
            "hitObjects": [
                {"time": stroke.milliseconds, "component": stroke.component, "velocity": stroke.velocity}
                for stroke in played.strokes
            ],
        }
    )


def write_pack(folder: Path, seed: tuple[int, ...], folders: dict[str, str], *, strokes: int = STROKES) -> None:
    """Write COMPONENT/file into `folder`, one-shots of the kit of this seed; `folders` has other names of some."""
    import soundfile

    kit, rng = Kit.made(*seed), np.random.default_rng([6, *seed])
    for component in PLAYED:
        place = folder / folders.get(component, component)
        place.mkdir(parents=True, exist_ok=True)
        for number in range(strokes):
            sound = kit.strike(component, LAYERS[number % len(LAYERS)], rng)
            silence = np.zeros(int(rng.uniform(0, 0.03) * RATE), np.float32)
            soundfile.write(str(place / f"{component} {number + 1}.flac"), np.concatenate([silence, sound]), RATE)


DEMO_LAB: dict[str, Any] = {
    "trials_per_run": 7,
    "split": {"train": 0.6, "validation": 0.2, "test": 0.2},
    "trial": {
        "model": {"channels": [16, 32, 64, 96]},
        "training": {"epochs": 16, "batch_size": 16, "lr": 2e-3, "scheduler_patience": 1, "early_stop": 6},
        "picture": {"mels": 48, "columns": 32},
    },
}
"""A lab small enough for two cores: small pictures and a narrow network."""
