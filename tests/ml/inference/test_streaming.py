"""`nocturne denoise --stream` as it is used: real processes, real pipes."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from ml.inference.denoiser import open_denoiser
from ml.inference.live import Live
from ml.inference.pcm import Samples
from ml.inference.pieces import denoise_signal
from ml.inference.piping import pass_on, refuse_terminals
from ml.models.saved import save_model
from tests.ml.inference.asked import asked
from tests.ml.inference.small import PROCESSOR, small_denoiser, sounding

ROOT = Path(__file__).parents[3]
COMMAND = [sys.executable, "-m", "tests.ml.inference.command", "denoise", "--stream"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("a small model")
    save_model(small_denoiser(), place, {"sample_rate": 44_100})
    return place


def started(*arguments: str) -> subprocess.Popen[bytes]:
    pipe = subprocess.PIPE
    return subprocess.Popen([*COMMAND, *arguments], cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe)


def ran(said: bytes, *arguments: str) -> tuple[int, bytes, str]:
    process = started(*arguments)
    out, err = process.communicate(said, timeout=120)
    assert b"Traceback" not in err
    return process.returncode, out, err.decode()


def shorts(numbers: np.ndarray) -> np.ndarray:
    return np.rint(numbers * 2**15).clip(-(2**15), 2**15 - 1).astype("<i2")


@pytest.mark.parametrize("name", ["s16le", "f32le"])
def test_a_sine_passes_the_bypass_bit_for_bit_and_without_a_model(name: str) -> None:
    sine = (0.999 * np.sin(np.arange(100_001) / 7)).astype("<f4")
    said = sine.tobytes() if name == "f32le" else shorts(sine).tobytes()
    code, out, err = ran(said, "--bypass", "--format", name, "--rate", "48000")
    assert (code, out) == (0, said)
    assert "bypass" in err


def test_a_stream_is_as_long_as_what_came_and_agrees_with_the_whole(folder: Path) -> None:
    sound = shorts(sounding(60_001, channels=2))
    code, out, err = ran(sound.T.tobytes() + b"\x01", "--model", str(folder), "--channels", "2")
    assert code == 0
    said = np.frombuffer(out, "<i2").reshape(-1, 2).T
    whole = denoise_signal(small_denoiser(), sound.astype(np.float32) / 2**15, PROCESSOR)
    assert said.shape == whole.shape
    off = said / 2**15 - whole.clip(-1, 1 - 2**-15)
    assert 10 * np.log10(np.mean(off**2) / np.mean(whole**2)) < -60
    assert "its last byte was dropped" in err
    latency = re.search(r"latency (\d+) ms: .*44,100 Hz, s16le", err)
    assert latency is not None and 0 < int(latency[1]) <= 100
    assert "1.4 s of sound, computed in" in err


def test_sound_goes_out_while_it_comes_in_and_ctrl_c_ends_it(folder: Path) -> None:
    process = started("--model", str(folder), "--format", "f32le", "--block", "512")
    assert process.stdin is not None and process.stdout is not None and process.stderr is not None
    try:
        assert b"latency" in process.stderr.readline()
        for _ in range(8):  # less than a tenth of a second of sound, byte counts that cut samples in two
            os.write(process.stdin.fileno(), bytes(1_023))
            os.write(process.stdin.fileno(), bytes(1_025))
        answered = os.read(process.stdout.fileno(), 2**16)
        assert answered and len(answered) % (512 * 4) == 0
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 130
        assert b"interrupted" in err and b" s of sound, computed in" in err and b"Traceback" not in err
    finally:
        process.kill()


@pytest.mark.parametrize("bypass", [True, False])
def test_when_nobody_reads_any_more_it_ends_and_says_so(folder: Path, bypass: bool) -> None:
    process = started("--bypass") if bypass else started("--model", str(folder))
    assert process.stdin is not None and process.stdout is not None and process.stderr is not None
    process.stdout.close()
    with pytest.raises(BrokenPipeError):
        for _ in range(1_000):
            os.write(process.stdin.fileno(), bytes(2**16))
    err = process.stderr.read()
    assert process.wait(timeout=60) == 0
    assert b"whoever took the sound has gone" in err and b"Traceback" not in err


def passed(folder: Path, said: bytes, name: str = "s16le") -> tuple[bytes, list[str]]:
    """What comes out of a stream in this process, and what is told of it."""
    told: list[str] = []
    live = Live(open_denoiser(folder, PROCESSOR), 44_100)
    with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as sink:
        source.write(said)
        source.seek(0)
        pass_on(source.fileno(), sink.fileno(), Samples(name), live, told.append)
        sink.seek(0)
        return sink.read(), told


def test_no_sound_at_all_is_no_sound_out(folder: Path) -> None:
    assert passed(folder, b"") == (b"", [])
    out, told = passed(folder, b"\x01")
    assert out == b"" and "its last byte was dropped" in told[0]


def test_a_file_in_the_pipe_and_values_that_are_no_numbers_are_said(folder: Path) -> None:
    values = np.array([0.1, np.nan, np.inf, 0.2] * 500, "<f4")
    out, told = passed(folder, b"RIFF" + values.tobytes(), "f32le")
    assert len(out) == 4 + values.nbytes and np.isfinite(np.frombuffer(out, "<f4")).all()
    assert "begins like a file" in told[0] and "1,000 values were no numbers" in told[1]


def test_a_processor_that_is_too_slow_is_said_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    twice = property(lambda live: 2 * live.sound_seconds, lambda live, seconds: None)
    monkeypatch.setattr(Live, "computing_seconds", twice, raising=False)
    _, told = passed(folder, bytes(2 * 44_100 * 7))
    assert len(told) == 1 and told[0].startswith("too slow: a second of sound takes 2.0 s to compute")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--format", "mp3"], "--format mp3: there are s16le and f32le"),
        (["--rate", "12"], "--rate 12: 4,000 to 384,000 Hz"),
        (["--channels", "0"], "--channels 0: 1 to 32"),
        (["--block", "0"], "--block 0: 1 to 1,048,576 samples"),
        (["--bypass", "--block", "9"], "leave out --model, --device and --block"),
        (["a.wav"], "leave out IN, -o and --overwrite"),
    ],
)
def test_a_wrong_request_is_a_sentence(arguments: Sequence[str], sentence: str) -> None:
    said = asked("--stream", *arguments)
    assert said.code == 2 and sentence in said.err


def test_a_terminal_is_no_source_of_raw_sound() -> None:
    keyboard, screen = pty.openpty()
    reading, writing = os.pipe()
    try:
        assert "not from the keyboard" in str(refuse_terminals(screen, writing))
        assert "nothing to read" in str(refuse_terminals(reading, screen))
        assert refuse_terminals(reading, writing) is None
    finally:
        for end in (keyboard, screen, reading, writing):
            os.close(end)
