"""The benchmark of transcription runs and says what it is meant to say; its speeds are for a quiet machine."""

from __future__ import annotations

import pytest

from tests.benchmarks.transcription import main


def test_it_prints_every_part_and_the_whole_with_its_bound(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["--seconds", "6"])
    said = capsys.readouterr().out
    assert code == ("NOT MET" in said)
    for part in ("decoding", "onsets", "bands", "pictures", "network", "tempo"):
        assert f"  {part}" in said
    wholes = [line for line in said.splitlines() if line.startswith("  the whole")]
    assert len(wholes) == 2 and all("at least 20" in line for line in wholes)
    assert "memory of a song of 1 minutes" in said
