"""What several tests share: one small corpus, and no setting of the person who runs the tests."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

for name in [name for name in os.environ if name.startswith(("NOCTURNE_", "DAGSTER_"))]:
    if not name.startswith("NOCTURNE_TEST_"):  # seeds, and how much is tried
        del os.environ[name]
os.environ["DAGSTER_DISABLE_TELEMETRY"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # tests that were started in the background press Ctrl+C too
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small concert corpus that no test changes."""
    from tests.small_lab import small_corpus

    return small_corpus(tmp_path_factory.mktemp("corpus") / "TRAINING DATA! żółć")
