"""A song in, its beatmap out: what a transcriber heard, in the format that games read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ml.data.beatmap import Beatmap, BeatmapError
from ml.data.beatmap_rules import is_beside
from ml.data.components import COMPONENTS
from ml.inference.onsets import SILENT, loudest
from ml.inference.songs import SongSound, read_song
from ml.inference.tempo import Tempo, tempo_of
from ml.inference.transcriber import Hit, Transcriber, times_of

VERSION = "1.1.0"
LANES = {
    "crash": 0,
    "hihat_closed": 1,
    "hihat_open": 1,
    "snare": 2,
    "kick": 3,
    "tom_high": 4,
    "tom_mid": 4,
    "tom_low": 4,
    "ride": 5,
    "ride_bell": 5,
    "crash2": 6,
    "china": 6,
}
"""Where a component is shown, from left to right, in seven lanes."""
LONGEST_TEXT = 500
"""Characters of a title or a name."""
DIFFICULTY_PER_HIT = 0.4
"""Of one hit per second on average; 10 is the most difficult there is."""


@dataclass(frozen=True)
class Named:
    """What a person says of a song; what is None is told by the file, or else by its name."""

    title: str | None = None
    artist: str | None = None
    creator: str | None = None


@dataclass(frozen=True)
class Transcribed:
    """A beatmap and what there is to say of it."""

    beatmap: Beatmap
    hits: tuple[Hit, ...]
    silent: bool
    onsets: int
    """Moments at which something begins, a drum or not."""

    def sentence(self) -> str:
        """What was heard, in one line."""
        if self.silent:
            return "silent from beginning to end: its beatmap is empty"
        if not self.hits and self.onsets:
            return f"something begins at {self.onsets:,} moments, but no drum was heard in it: its beatmap is empty"
        if not self.hits:
            return "no hit of a drum was heard: its beatmap is empty"
        counts = Counter(hit.component for hit in self.hits)
        each = ", ".join(f"{counts[name]} {name}" for name in COMPONENTS if counts[name])
        return f"{len(self.hits):,} hits at {self.beatmap.timing.bpm:g} beats per minute: {each}"


def transcribe(transcriber: Transcriber, song: Path, named: Named, *, model: str) -> Transcribed:
    """The beatmap of the sound file `song`; `model` names the transcriber in it.

    Raises `Unreadable`, and `BeatmapError` for a file that no beatmap can name.
    """
    try:
        song.name.encode()
    except UnicodeEncodeError:
        raise BeatmapError("its file name is no text, so no beatmap can name it; rename it") from None
    if not is_beside(song.name):
        raise BeatmapError(
            "its file name holds a backslash or begins as a drive does, as in C:, so no beatmap can name it; rename it"
        )
    sound = read_song(song, transcriber.rate)
    heard = transcriber.hear(sound.samples, sound.rate)
    hits = transcriber.decide(heard)
    silent = not len(heard.onsets) and loudest(sound.samples, sound.rate) < SILENT
    sound = sound.forgotten()  # to tell the tempo takes memory too
    return Transcribed(beatmap_of(hits, sound, song.name, named, model=model), tuple(hits), silent, len(heard.onsets))


def beatmap_of(hits: Sequence[Hit], sound: SongSound, filename: str, named: Named, *, model: str) -> Beatmap:
    """The `hits` of the song in the file `filename` as a beatmap that lies beside it."""
    times = times_of(hits)
    tempo = tempo_of(times)
    return Beatmap.model_validate(
        {
            "version": VERSION,
            "metadata": {
                "title": _said(named.title, sound.tags.get("title"), Path(filename).stem),
                "artist": _said(named.artist, sound.tags.get("artist"), "unknown"),
                "creator": _said(named.creator, "Nocturne"),
                "difficulty": difficulty(hits),
                "beatmapId": f"nocturne-{sound.content_hash[:16]}",
            },
            "audio": {
                "filename": filename,
                "hash": f"sha256:{sound.content_hash}",
                "duration": round(1000 * sound.seconds),
                "sampleRate": sound.own_rate,
            },
            "timing": _timing(tempo),
            "drumKit": {"components": [name for name in COMPONENTS if len(times[name])], "layout": "standard_5piece"},
            "hitObjects": [_hit_object(hit) for hit in hits],
            "editor": {
                "snapDivisor": 4,
                "visualLanes": 1 + max(LANES.values()),
                "aiGenerationMetadata": {"modelVersion": model, "confidence": _confidence(hits), "manualEdits": False},
            },
        }
    )


def difficulty(hits: Sequence[Hit]) -> float:
    """0 to 10, by how many hits a second there are from the first to the last."""
    if len(hits) < 2:
        return 0.0
    seconds = max(1.0, hits[-1].seconds - hits[0].seconds)
    return min(10.0, round(DIFFICULTY_PER_HIT * len(hits) / seconds, 1))


def _timing(tempo: Tempo) -> dict[str, Any]:
    bpm, offset = round(tempo.bpm, 2), round(1000 * tempo.offset)
    point = {"time": offset, "bpm": bpm, "timeSignature": "4/4"}
    return {"bpm": bpm, "offset": offset, "timeSignature": "4/4", "timingPoints": [point]}


def _hit_object(hit: Hit) -> dict[str, Any]:
    return {
        "time": round(1000 * hit.seconds),
        "component": hit.component,
        "velocity": round(hit.velocity, 2),
        "lane": LANES[hit.component],
    }


def _confidence(hits: Sequence[Hit]) -> float:
    return round(float(np.mean([hit.probability for hit in hits])), 3) if hits else 0.0


def _said(*candidates: str | None) -> str:
    """The first that says something, and not more of it than a title holds: a file may say anything of itself."""
    return next((text.strip()[:LONGEST_TEXT] for text in candidates if text is not None and text.strip()), "unknown")
