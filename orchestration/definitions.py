"""Everything that Dagster loads, at a glance: each study's assets and checks; the database; what follows by itself;
the nights."""

from __future__ import annotations

import dagster as dg

from ml.studies.registry import ALL_STUDIES
from orchestration.checks import study_checks
from orchestration.database import results_database
from orchestration.nights.report_asset import morning_report
from orchestration.nights.schedule import night_schedule, nights_sensor
from orchestration.noticing import source_sensor
from orchestration.resources import Bench, open_bench
from orchestration.study_assets import study_assets
from orchestration.warm_start import fork_runs_from_a_warm_process


def build_definitions(bench: Bench) -> dg.Definitions:
    """The definitions of one lab."""
    report = morning_report(ALL_STUDIES, bench)
    return dg.Definitions(
        assets=[
            *(asset for study in ALL_STUDIES for asset in study_assets(study, bench)),
            results_database(ALL_STUDIES, bench),
            report,
        ],
        asset_checks=[check for study in ALL_STUDIES for check in study_checks(study, bench)],
        sensors=[
            dg.AutomationConditionSensorDefinition(
                "after_trials",
                target=dg.AssetSelection.all(),
                default_status=dg.DefaultSensorStatus.RUNNING,
                minimum_interval_seconds=30,
                description="Brings leaderboard, best model and database up to date when trials have been answered.",
            ),
            *(source_sensor(study, bench) for study in ALL_STUDIES),
            nights_sensor(ALL_STUDIES, bench, report),
        ],
        schedules=[night_schedule(study, bench) for study in ALL_STUDIES],
        # A run and its steps are one process: nothing lives on, holds the GPU or writes when it is killed.
        executor=dg.in_process_executor,
    )


fork_runs_from_a_warm_process()
defs = build_definitions(open_bench())
