"""Only what saw the same data is compared."""

from __future__ import annotations

from pathlib import Path

from ml.studies.concert.study import CONCERT
from orchestration import answers
from orchestration.resources import Bench
from storage.lab import Lab
from storage.results import publish
from tests.storage import night


def test_a_trial_of_older_data_is_not_compared_with_the_leader(tmp_path: Path) -> None:
    bench = Bench(Lab.open(tmp_path / "lab"))
    for strength, data, hour in ((0.0, "d0", 1), (0.5, "d1", 2), (1.0, "d1", 3)):
        with bench.records.begin("concert", f"balance_{strength:.2f}", "run") as attempt:
            ended = f"2026-01-02T0{hour}:00:00+00:00"
            attempt.commit(night.account(strength, data_fingerprint=data, ended=ended), night.tables(strength))
    publish(bench.lab)
    now = answers.compare(bench, CONCERT)
    assert list(now.leaderboard["current_data"]) == [True, True, False]
    leader = now.leaderboard.iloc[0]["trial"]
    assert {leader, *now.comparisons["trial"]} == {"balance_0.50", "balance_1.00"}
    assert len(now.comparisons) == 1 and now.comparisons.iloc[0]["recordings"] == 20
    assert answers.standing(bench, CONCERT).comparisons.equals(now.comparisons)
