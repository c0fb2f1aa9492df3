"""Asset checks that look across all trials of a study."""

from __future__ import annotations

import dagster as dg

from ml.studies.study import Study
from orchestration.resources import Bench
from orchestration.showing import markdown


def study_checks(study: Study, bench: Bench) -> list[dg.AssetChecksDefinition]:
    """Unreadable files, metrics that are no numbers, a test part that was opened more than once."""

    @dg.asset_check(
        asset=dg.AssetKey([study.name, "source_inventory"]),
        name="readable_files",
        description="Every file can be decoded to its end; the others are named and left out.",
    )
    def readable_files() -> dg.AssetCheckResult:
        inventory = bench.records.noted(study.name, "inventory")
        files = inventory.table("files") if inventory else None
        bad = files[files["state"] == "rejected"][["path", "problem"]] if files is not None else None
        return dg.AssetCheckResult(
            passed=bad is not None and not len(bad),
            severity=dg.AssetCheckSeverity.WARN,
            metadata={"left_out": dg.MetadataValue.md(markdown(bad.head(100)) if bad is not None else "no inventory")},
        )

    @dg.asset_check(
        asset=dg.AssetKey([study.name, "leaderboard"]),
        name="finite_metrics",
        description="No finished trial was chosen by, or reports, an accuracy that is no number.",
    )
    def finite_metrics() -> dg.AssetCheckResult:
        from storage.query import query

        odd = query(
            bench.lab,
            "select trial, part, level, metric from metrics "
            "where study = ? and class is null and (value is null or not isfinite(value))",
            [study.name],
        )
        return dg.AssetCheckResult(
            passed=not len(odd), metadata={"not_finite": dg.MetadataValue.md(markdown(odd) if len(odd) else "none")}
        )

    @dg.asset_check(
        asset=dg.AssetKey([study.name, "leaderboard"]),
        name="test_opened_once",
        description="No trial saw the test part twice with the same settings and data, unless a person forced it.",
    )
    def test_opened_once() -> dg.AssetCheckResult:
        seen: dict[str, list[str]] = {}
        for name in bench.records.trials(study.name):
            for record in bench.records.history(study.name, name):
                if record.account["status"] == "finished" and not record.account.get("forced_by"):
                    seen.setdefault(record.account["fingerprint"], []).append(name)
        twice = [names[0] for names in seen.values() if len(names) != len(set(names))]
        return dg.AssetCheckResult(
            passed=not twice, severity=dg.AssetCheckSeverity.WARN, metadata={"opened_again": ", ".join(twice) or "none"}
        )

    return [readable_files, finite_metrics, test_opened_once]
