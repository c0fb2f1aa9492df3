"""What publishing costs beside many trials: `python -m tests.benchmarks.results [TRIALS]`."""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

from storage.lab import Lab
from storage.records import Records
from storage.results import publish, query, rebuild
from tests.storage import night


def measure(root: Path, trials: int, publishes: int = 5) -> dict[str, float]:
    """Seconds: a rebuild from `trials` records, publishes of one more trial and of none (medians), one question."""
    lab = Lab.open(root)
    records = Records(lab)
    begun = time.perf_counter()
    for number in range(trials):
        night.finish(records, f"trial_{number:04d}", number / trials)
    written = time.perf_counter() - begun
    rebuilt = rebuild(lab)
    seconds = []
    for number in range(publishes):
        night.finish(records, f"more_{number}", 0.5)
        report = publish(lab)
        assert report.published and not report.rebuilt and report.changed == 1, report
        seconds.append(report.seconds)
    idle = [publish(lab) for _ in range(publishes)]
    assert all(report.message == "nothing new" for report in idle), idle
    begun = time.perf_counter()
    shown = len(query(lab, "SELECT * FROM leaderboard"))
    asked = time.perf_counter() - begun
    assert shown == trials + publishes
    return {
        "commit of one record": written / trials,
        "rebuild": rebuilt.seconds,
        "publish of one trial": statistics.median(seconds),
        "publish of nothing new": statistics.median(report.seconds for report in idle),
        "leaderboard": asked,
        "megabytes": lab.results.stat().st_size / 1e6,
    }


if __name__ == "__main__":
    trials = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000
    with tempfile.TemporaryDirectory() as folder:
        for name, value in measure(Path(folder) / "lab", trials).items():
            print(f"{name:24}{value:10.3f}{'' if name == 'megabytes' else ' s'}   beside {trials} trials")
