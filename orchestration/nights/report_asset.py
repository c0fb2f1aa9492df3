"""The asset that stands for the morning's report; the sensor `nights` asks for it when the last night has ended."""

# No `from __future__ import annotations` here: Dagster reads the annotations of the body.
from collections.abc import Sequence

import dagster as dg

from ml.studies.study import Study
from orchestration import showing
from orchestration.failures import may_be_tried_again
from orchestration.nights import clock, marks
from orchestration.nights.hook import on_morning
from orchestration.nights.house import REPORT
from orchestration.nights.report_served import PREFIX
from orchestration.resources import Bench


def morning_report(studies: Sequence[Study], bench: Bench) -> dg.AssetsDefinition:
    """One page about everything that the nights of an evening came to; by hand, about the newest evening."""

    @dg.asset(
        name=REPORT,
        group_name="results",
        deps=[dg.AssetKey([study.name, "leaderboard"]) for study in studies],
        description="One page to read in the morning: what ran, what failed and why, what was learned, what runs next.",
        kinds={"html"},
        owners=["team:nocturne"],
        retry_policy=dg.RetryPolicy(max_retries=2, delay=20),
    )
    def report(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        from orchestration.nights.report_written import write_report

        with may_be_tried_again():
            asked = context.run.tags.get(marks.NIGHT, "").rpartition(" ")[2] or None
            found, path = write_report(bench, context.instance, clock.now(), asked, studies)
            say = showing.say(context)
            say(found.headline)
            hook = on_morning(bench.lab, path)
            if hook:
                say(hook)
        return dg.MaterializeResult(
            metadata={
                "report": dg.MetadataValue.md(f"[**{found.headline}**]({PREFIX}{path.name})"),
                "file": dg.MetadataValue.path(str(path)),
                "evening": found.evening.name,
                "trials": len(found.tried),
                **{f"trials_{outcome}": number for outcome, number in found.outcomes.items()},
                "waits_for_you": showing.bullets([one.what for one in found.advice], "nothing"),
                **({"on_morning": hook} if hook else {}),
            }
        )

    return report
