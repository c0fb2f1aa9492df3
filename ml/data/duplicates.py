"""The same recording or picture met twice: under two labels it cannot be learnt, under one it must stay together."""

from __future__ import annotations

import re
from collections import defaultdict

import pandas as pd

SAME = re.compile("the same (recording|picture) as ")
"""How the sentence begins, always the last of a problem, so that it can be taken back when the other file is gone."""


def own_verdict(state: str, problem: str) -> tuple[str, str]:
    """State and problem of a file by itself, from a row in which duplicates were marked."""
    marked = SAME.search(problem)
    if marked is None:
        return state, problem
    own = problem[: marked.start()].removesuffix("; ")
    return ("warned" if own else "ok"), own


def mark_duplicates(files: pd.DataFrame) -> pd.DataFrame:
    """Rows (in the order of their paths) that share bytes or sound with another usable row, marked with its name."""
    rows = files.to_dict("list")
    sharing: dict[str, list[int]] = defaultdict(list)
    for place, (state, content, sound) in enumerate(
        zip(rows["state"], rows["content_hash"], rows["sound_hash"], strict=True)
    ):
        if state != "rejected":
            for value in {content, sound} - {""}:
                sharing[value].append(place)
    states, problems = list(rows["state"]), list(rows["problem"])
    for places in sharing.values():
        for place in places:
            if SAME.search(problems[place]):
                continue
            word = "recording" if rows["seconds"][place] > 0 else "picture"
            label = rows["label"][place]
            stranger = next((other for other in places if rows["label"][other] != label), None)
            if stranger is not None:
                states[place] = "rejected"
                other = rows["path"][stranger]
                sentence = f"the same {word} as {other!r}: one {word} cannot have two labels; keep one of them"
            elif place != places[0]:
                states[place] = "warned"
                sentence = f"the same {word} as {rows['path'][places[0]]!r}"
            else:
                continue
            problems[place] = f"{problems[place]}; {sentence}" if problems[place] else sentence
    return files.assign(state=states, problem=problems)
