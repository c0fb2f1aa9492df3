"""MP3 files without a length tag, whose length the decoder only guesses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ml.data.examination import AudioLimits, examine
from ml.data.mp3 import says_its_length, walk_frames
from tests.ml.data.sounds import noise, write

ID3 = b"ID3\x04\x00\x00\x00\x00\x10\x00" + bytes(2048)


def tagless(path: Path, samples: np.ndarray, rate: int, **how: object) -> Path:
    """An MP3 whose first frame, the one with the tag, has been taken out."""
    content = write(path, samples, rate, **how).read_bytes()
    tag = min(content.index(name) for name in (b"Xing", b"Info") if name in content)
    path.write_bytes(content[content.index(content[:2], tag) :])
    return path


@pytest.mark.parametrize(("rate", "held"), [(48_000, 1152), (44_100, 1152), (22_050, 576), (8_000, 576)])
@pytest.mark.parametrize("front", [b"", ID3])
def test_the_chain_of_frames_is_as_long_as_the_sound(tmp_path: Path, rate: int, held: int, front: bytes) -> None:
    path = tagless(tmp_path / "a.mp3", noise(5.0, rate, 2), rate)
    path.write_bytes(front + path.read_bytes() + b"TAG" + bytes(125))
    with path.open("rb") as file:
        assert not says_its_length(file)
        samples, whole = walk_frames(file)
    assert whole and samples % held == 0 and 0 <= samples - 5 * rate <= 4 * held


def test_a_tag_is_seen_behind_id3(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp3", noise(1.0))
    path.write_bytes(ID3 + path.read_bytes())
    with path.open("rb") as file:
        assert says_its_length(file)
    assert examine(path, AudioLimits()).state == "ok"


def test_sound_that_the_decoder_would_leave_out_is_noticed(tmp_path: Path) -> None:
    """Loud after quiet: the guess from the quiet frames, which are small, is wrong."""
    samples = np.concatenate([noise(0.05, 48_000, 2), noise(5.0, 48_000, 2) * 0.001, noise(5.0, 48_000, 2)])
    path = tagless(tmp_path / "a.mp3", samples[::-1], 48_000, bitrate_mode="VARIABLE", compression_level=0.5)
    facts = examine(path, AudioLimits())
    assert facts.state == "rejected" and "without its length" in facts.problem and "of 10." in facts.problem


def test_a_constant_bit_rate_needs_no_tag(tmp_path: Path) -> None:
    path = tagless(tmp_path / "a.mp3", noise(5.0, 48_000, 2), 48_000, bitrate_mode="CONSTANT", compression_level=0.5)
    facts = examine(path, AudioLimits())
    assert (facts.state, facts.problem) == ("ok", "")
    assert facts.seconds == pytest.approx(5.0, abs=0.1)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2 + 7])
    facts = examine(path, AudioLimits())
    assert facts.state == "warned" and "middle of an MP3 frame" in facts.problem
