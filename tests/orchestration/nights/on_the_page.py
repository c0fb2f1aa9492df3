"""Schedules and sensors as Dagster's books have them once somebody has turned them on or off on the page."""

from __future__ import annotations

import dagster as dg
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.remote_origin import (
    ManagedGrpcPythonEnvCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import InstigatorState, InstigatorStatus, ScheduleInstigatorData
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin


def known(instance: dg.DagsterInstance, name: str, kind: InstigatorType) -> InstigatorState:
    """A schedule or a sensor that runs because the definitions say so; the state of it in the books."""
    place = ManagedGrpcPythonEnvCodeLocationOrigin(LoadableTargetOrigin(module_name="nowhere"), "nowhere")
    origin = RemoteInstigatorOrigin(RemoteRepositoryOrigin(place, "all"), name)
    times = ScheduleInstigatorData("0 17 * * *") if kind == InstigatorType.SCHEDULE else None
    state = InstigatorState(origin, kind, InstigatorStatus.DECLARED_IN_CODE, times)
    instance.add_instigator_state(state)
    return state


def turn_off(instance: dg.DagsterInstance, state: InstigatorState) -> None:
    instance.update_instigator_state(state.with_status(InstigatorStatus.STOPPED))


def turn_on(instance: dg.DagsterInstance, state: InstigatorState) -> None:
    instance.update_instigator_state(state.with_status(InstigatorStatus.DECLARED_IN_CODE))
