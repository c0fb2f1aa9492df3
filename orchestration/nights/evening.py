"""What the first run of a night finds out for those who drive and read it: the plan, with what nobody had measured."""

from __future__ import annotations

from collections.abc import Callable

import dagster as dg

from ml.studies.study import Study
from orchestration.failures import sentence
from orchestration.nights import clock
from orchestration.nights.confounds import confounds
from orchestration.nights.marks import night_of
from orchestration.nights.planning import plan_nights
from orchestration.nights.telling_plan import as_markdown
from orchestration.resources import Bench


def plan_of(
    bench: Bench, study: Study, run: dg.DagsterRun, say: Callable[[str], None]
) -> dict[str, dg.MarkdownMetadataValue]:
    """The plan of the night that the run belongs to, for the page; nothing where it belongs to none.

    Foresees what nobody has: this process ends soon, and gives back what it took of memory and GPU. Whatever goes wrong
    is said; a night does without.
    """
    if night_of(run.tags) is None:
        return {}
    try:
        plans = plan_nights(bench, clock.now(), foresee=True)
        own = next(one for one in plans if one.study is study)
        notes = confounds(bench, study, [entry.trial for entry in own.tonight]) if own.tonight else []
    except Exception as problem:
        say(f"the night could not be planned: {sentence(problem)}")
        return {}
    say(own.sentence)
    return {"plan": dg.MetadataValue.md(as_markdown(own, notes))}
