"""Which names belong to one recording."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest

from ml.data.grouping import group_of


@pytest.mark.parametrize(
    ("path", "group"),
    [
        ("MUSIC/evening.wav", "evening"),
        ("MUSIC/evening_part2.wav", "evening"),
        ("MUSIC/evening-003.wav", "evening"),
        ("MUSIC/evening (4).wav", "evening"),
        ("MUSIC/evening(4).wav", "evening"),
        ("MUSIC/evening 07.wav", "evening"),
        ("MUSIC/wieczór cz. 2.wav", "wieczór"),
        ("MUSIC/deep/er/evening_part_12.wav", "evening"),
        ("MUSIC/Symphony No. 5 - 2.wav", "Symphony No. 5"),
        ("MUSIC/evening_20251006.wav", "evening_20251006"),
        ("MUSIC/evening 2025-10-06.wav", "evening 2025-10-06"),
        ("MUSIC/evening_2025_10_06_part3.wav", "evening_2025_10_06"),
        ("MUSIC/evening2.wav", "evening2"),
        ("MUSIC/evening_170530.wav", "evening_170530"),
        ("MUSIC/001.wav", "MUSIC/001"),
        ("MUSIC/a/001.wav", "MUSIC/a/001"),
        ("MUSIC/music 12.wav", "MUSIC/music 12"),
        ("MUSIC/Track 03.wav", "MUSIC/Track 03"),
        ("MUSIC/_1.wav", "MUSIC/_1"),
        ("MUSIC/1-91359-A-2.ogg", "1-91359-A"),
    ],
)
def test_names(path: str, group: str) -> None:
    assert group_of(PurePosixPath(path), None) == group
