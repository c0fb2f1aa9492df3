"""What tests of Dagster share: an instance as the house sets one up, with books of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from orchestration.instance_home import prepare_instance


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    monkeypatch.setenv("DAGSTER_HOME", "is set by prepare_instance")
    monkeypatch.setenv("DAGSTER_DISABLE_TELEMETRY", "is set by prepare_instance")
    prepare_instance(tmp_path / "dagster")
    with dg.DagsterInstance.get() as made:
        yield made
