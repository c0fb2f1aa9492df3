"""The asset that stands for `results.duckdb`: what every question in SQL is asked of."""

from __future__ import annotations

from collections.abc import Sequence

import dagster as dg

from ml.studies.study import Study
from orchestration.following import follows
from orchestration.resources import Bench
from orchestration.showing import markdown


def results_database(studies: Sequence[Study], bench: Bench) -> dg.AssetsDefinition:
    """Published from the records after every trial; materialized, it is checked against them."""

    @dg.asset(
        name="results_database",
        group_name="results",
        deps=[dg.AssetKey([study.name, "leaderboard"]) for study in studies],
        description="Every finished, failed and paused trial in DuckDB: made from the records, replaced as a whole.",
        kinds={"duckdb"},
        owners=["team:nocturne"],
        automation_condition=follows(),
    )
    def results() -> dg.MaterializeResult:
        from storage.query import query
        from storage.results import publish

        publish(bench.lab)
        counts = query(bench.lab, "select study, status, count(*) as trials from trials group by all order by all")
        return dg.MaterializeResult(
            metadata={
                "file": dg.MetadataValue.path(str(bench.lab.results)),
                "trials": dg.MetadataValue.md(markdown(counts) if len(counts) else "none yet"),
                "megabytes": bench.lab.results.stat().st_size / 1e6,
            }
        )

    return results
