"""A small drums corpus, made up: songs with their beatmaps and packs of one-shots, every one on a kit of its own.

So validation and test hear kits that training never heard.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ml.studies.drums.grooves import Played, play
from ml.studies.drums.kits import LAYERS, PLAYED, RATE, Kit
from ml.studies.drums.rendering import record

if TYPE_CHECKING:
    from ml.data.beatmap import Beatmap

SONGS = (
    ("rock", "ride"),
    ("funk", "rock, open"),
    ("half-time", "ride, busy"),
    ("disco", "toms"),
    ("rock, open", "ride"),
    ("funk", "ride, busy"),
    ("rock", "disco"),
    ("rock, open", "toms"),
    ("disco", "half-time"),
    ("ride, busy", "rock, open"),
)
"""The grooves of each song. Each has a hi-hat, and all have every tom."""

SECONDS = 18.0
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
        _write_pack(folder / "one-shots" / f"pack {number + 1}", (seed, 100 + number), FOLDERS.get(number, {}))
    broken = folder / "songs" / BROKEN
    write_song(broken, BROKEN, (seed, 200), ("rock",), seconds=6)
    audio = broken / f"{BROKEN}.flac"
    audio.write_bytes(audio.read_bytes()[: audio.stat().st_size // 2])


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


def _write_pack(folder: Path, seed: tuple[int, ...], folders: dict[str, str]) -> None:
    import soundfile

    kit, rng = Kit.made(*seed), np.random.default_rng([6, *seed])
    for component in PLAYED:
        place = folder / folders.get(component, component)
        place.mkdir(parents=True, exist_ok=True)
        for number in range(STROKES):
            sound = kit.strike(component, LAYERS[number % len(LAYERS)], rng)
            silence = np.zeros(int(rng.uniform(0, 0.03) * RATE), np.float32)
            soundfile.write(str(place / f"{component} {number + 1}.flac"), np.concatenate([silence, sound]), RATE)


DEMO_LAB: dict[str, Any] = {
    "trials_per_run": 7,
    "split": {"train": 0.6, "validation": 0.2, "test": 0.2},
    "trial": {
        "model": {"channels": [16, 32, 64, 96]},
        "training": {"epochs": 12, "batch_size": 32, "lr": 1e-3, "early_stop": 6},
        "picture": {"mels": 64, "columns": 64},
    },
}
"""A lab small enough for two cores: small pictures and a narrow network."""
