"""Wherever a lab lies, the sockets of what runs are forked from have names that the system takes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestration.up import _socket_folder

LISTEN = """
from multiprocessing.connection import Listener

with Listener(family="AF_UNIX") as made:
    print(len(made.address))
"""

pytestmark = pytest.mark.skipif(os.name != "posix", reason="sockets of POSIX")


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder with a short path: that of a test is as long as its name."""
    folder = Path(tempfile.mkdtemp(prefix="n-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("length", [30, 67, 68, 75, 76, 79, 80, 110])
def test_a_socket_can_be_made_in_it(short: Path, length: int) -> None:
    home = short / ("x" * (length - len(f"{short}//tmp")))
    assert len(str(home / "tmp")) == length
    folder = _socket_folder(home)
    try:
        assert (folder == home / "tmp") == (length < 68), "in the lab, where that can be"
        told = subprocess.run(
            [sys.executable, "-c", LISTEN],
            env={**os.environ, "TMPDIR": str(folder)},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert told.returncode == 0, told.stderr
        assert int(told.stdout) == len(str(folder)) + 32
    finally:
        shutil.rmtree(folder)
