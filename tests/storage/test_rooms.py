from __future__ import annotations

from pathlib import Path

import pytest

STORAGE = Path(__file__).parents[2] / "storage"


@pytest.mark.parametrize(
    "path", sorted(path for path in STORAGE.iterdir() if path.is_file()), ids=lambda path: path.name
)
def test_storage_names_no_study_and_no_class(path: Path) -> None:
    text = path.read_text(encoding="utf-8").lower()
    named = [word for word in ("concert", "emotion", "denoise", "drums", "tuning", "applause") if word in text]
    assert named == []
