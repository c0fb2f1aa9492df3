"""Records like those of a study of hits in songs: judged by single hits and by whole songs."""

from __future__ import annotations

import pandas as pd

from storage.lab import Lab
from storage.records import Records
from tests.storage.night import account, files_table

STUDY = "drums"
SONGS = {"a": "train", "b": "train", "c": "validation", "d": "test", "e": "test"}
TRIALS = {"default": (0.90, 0.95), "softmax": (0.93, 0.80)}
"""Trial to what it reaches on single hits and in whole songs."""


def hits_table() -> pd.DataFrame:
    """Five songs: in each a kick with a crash, a kick alone and three hats; and a one-shot in a pack of its own."""
    one = files_table().iloc[[5]].assign(state="ok", problem="")
    played = [(0.5, "kick", "crash"), (0.5, "crash", "kick"), (1.0, "kick", None)]
    played += [(second, "hihat_closed", None) for second in (1.5, 2.0, 2.5)]
    rows = [
        one.assign(
            path=f"{song}.flac#{second:.3f} {name}", label=name, group=song, at_seconds=second, overlaps=beside,
            content_hash=song, sound_hash=song,
        )
        for song in SONGS
        for second, name, beside in played
    ]  # fmt: skip
    shot = one.assign(path="pack/kick/1.flac", label="kick", group="pack", content_hash="p", sound_hash="p")
    return pd.concat([*rows, shot], ignore_index=True)


def write_songs(lab: Lab) -> Records:
    """Two trials: one is better at naming single hits, the other at finding them in songs."""
    records = Records(lab)
    files = hits_table()
    records.note(STUDY, "inventory", {"fingerprint": "i1"}, {"files": files})
    parts = files["group"].map(SONGS).fillna("train")
    splits = files[["path", "label", "group", "content_hash"]].assign(part=parts)
    records.note(STUDY, "split", {"fingerprint": "s1", "data_fingerprint": "d1"}, {"splits": splits})
    for trial, (hits, songs) in TRIALS.items():
        said = {"selection_metric": "validation_event_f1", "selection_value": songs, "remarks": []}
        with records.begin(STUDY, trial, "run-3") as attempt:
            attempt.commit(account(0.5, **said), {"metrics": _metrics(hits, songs), "scores": _scores(songs),
                                                  "predictions": _predictions(files[parts == "test"])})  # fmt: skip
    return records


def _metrics(hits: float, songs: float) -> pd.DataFrame:
    rows = [
        (part, level, metric, None, value, value - 0.1, min(1.0, value + 0.1))
        for part in ("validation", "test")
        for level, metric, value in (
            ("window", "accuracy", hits),
            ("window", "macro_f1", hits),
            ("window", "macro_f1_alone", hits + 0.02),
            ("recording", "event_f1", songs),
            ("recording", "event_f1_heuristics", 0.6),
        )
    ]
    rows += [
        ("test", "recording", f"event_{metric}", name, value, None, None)
        for name, value in (("kick", songs), ("crash", songs - 0.2), ("hihat_closed", songs - 0.05))
        for metric in ("f1", "precision", "recall")
    ]
    return pd.DataFrame(rows, columns=["part", "level", "metric", "class", "value", "low", "high"])


def _scores(songs: float) -> pd.DataFrame:
    rows = [
        (part, song, f"{song}.flac", metric, value - (song == "e") * 0.3)
        for song, part in SONGS.items()
        if part != "train"
        for metric, value in (("event_f1", songs), ("event_f1_heuristics", 0.6))
    ]
    return pd.DataFrame(rows, columns=["part", "recording", "path", "metric", "value"])


def _predictions(hits: pd.DataFrame) -> pd.DataFrame:
    taken = hits["label"].where(hits["label"] != "crash", "hihat_closed")
    return pd.DataFrame(
        {
            "part": "test",
            "level": "recording",
            "recording": hits["group"],
            "path": hits["path"],
            "window": -1,
            "start_seconds": hits["at_seconds"],
            "actual": hits["label"],
            "predicted": taken,
            "confidence": 0.9,
            "probabilities": [[0.9, 0.1]] * len(hits),
        }
    )
