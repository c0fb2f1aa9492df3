"""Whether nights begin by themselves: somebody is up, and nobody has turned off on the page what begins them."""

from __future__ import annotations

import dagster as dg
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.scheduler.instigation import InstigatorStatus
from filelock import FileLock, Timeout

from ml.studies.study import Study
from orchestration.nights import marks
from storage.lab import Lab


def nobody_is_up(lab: Lab) -> FileLock:
    """While it is held, nobody is up nor begins to be. Raises `Timeout` where somebody is."""
    return FileLock(lab.locks / "up.lock", timeout=0)


def turned_off(instance: dg.DagsterInstance, kind: InstigatorType = InstigatorType.SCHEDULE) -> set[str]:
    """Schedules (or sensors): whoever turns one off wants no night, and not one that begins a minute later."""
    states = instance.all_instigator_state(instigator_type=kind, instigator_statuses={InstigatorStatus.STOPPED})
    return {state.instigator_name for state in states}


class Sleep:
    """Why nights of a lab do not begin by themselves now; empty words where they do."""

    def __init__(self, lab: Lab) -> None:
        self._schedules, sensors = _turned_off_on_the_page(lab)
        self.of_all = ""
        if marks.SENSOR in sensors:
            self.of_all = (
                f"the sensor `{marks.SENSOR}` is turned off on the page (Automation): no night begins until it is on"
            )
        try:
            with nobody_is_up(lab):
                self.of_all = "`nocturne up` does not run on this lab: until it does, no night begins by itself"
        except Timeout:
            pass

    def of(self, study: Study) -> str:
        schedule = marks.schedule_name(study.name)
        if schedule not in self._schedules:
            return ""
        return f"its schedule {schedule} is turned off on the page (Automation): nothing of it begins until it is on"


def _turned_off_on_the_page(lab: Lab) -> tuple[set[str], set[str]]:
    """Schedules and sensors."""
    home = lab.dagster_home
    if not (home / "dagster.yaml").is_file():  # nobody was ever up
        return set(), set()
    with dg.DagsterInstance.from_config(str(home)) as instance:
        return turned_off(instance), turned_off(instance, InstigatorType.SENSOR)
