"""Dagster runs executed in this terminal, on the lab's own instance: the UI shows them like any other."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
from dagster._core.definitions.reconstruct import ReconstructableJob, ReconstructableRepository
from dagster._core.execution.plan.active import ActiveExecution
from dagster._core.storage.noop_compute_log_manager import NoOpComputeLogManager
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG

from orchestration.instance_home import prepare_instance
from orchestration.reaper import pid_tags, reap
from orchestration.resources import Bench

ROOT = Path(__file__).resolve().parent.parent
QUIET, LOUD = ({"loggers": {"console": {"config": {"log_level": level}}}} for level in ("CRITICAL", "DEBUG"))
"""The run's log goes to the instance; the terminal gets sentences instead, unless NOCTURNE_DEBUG is set."""
OWN = ("ml.", "storage.", "orchestration.")
"""How the message of one of our own exceptions begins."""


class Terminal:
    """Executes selections of assets one after the other, in this process."""

    def __init__(self, bench: Bench) -> None:
        os.environ["NOCTURNE_LAB"] = str(bench.lab.root)  # the definitions that are loaded here are those of this lab
        prepare_instance(bench.lab.dagster_home)
        self.instance = dg.DagsterInstance.get()
        # What is printed belongs into this terminal. Dagster would send it through files and four processes per step,
        # which Ctrl+C ends first.
        self.instance._compute_log_manager = NoOpComputeLogManager()
        self.instance._compute_log_manager.register_instance(self.instance)
        self.reaped = reap(self.instance)
        self._repository = ReconstructableRepository.for_module(
            "orchestration.definitions", "defs", working_directory=str(ROOT)
        )

    def materialize(
        self, keys: Sequence[dg.AssetKey], partitions: tuple[str, str] | None, tags: Mapping[str, str]
    ) -> tuple[bool, list[str]]:
        """Materialize `keys` in one run; `partitions` is the first and last of a range. Success, and what failed.

        Ctrl+C ends it with a `KeyboardInterrupt`, after the run has noted its end.
        """
        repository = self._repository.get_definition()
        job = repository.get_implicit_job_def_for_assets(keys)
        if job is None:
            raise RuntimeError(f"these assets cannot share a run: {', '.join(key.to_user_string() for key in keys)}")
        tags = {**tags, **pid_tags()}
        if partitions is not None:
            first, last = partitions
            if first == last:
                tags |= job.get_tags_for_partition_key(first, selected_asset_keys=keys)
            else:
                tags |= {ASSET_PARTITION_RANGE_START_TAG: first, ASSET_PARTITION_RANGE_END_TAG: last}
        with _interrupts_counted():
            result = dg.execute_job(
                ReconstructableJob(self._repository, job.name),
                instance=self.instance,
                asset_selection=list(keys),
                tags=tags,
                run_config=LOUD if os.environ.get("NOCTURNE_DEBUG") else QUIET,
            )
        failures = [event for event in result.all_events if event.is_step_failure]
        return result.success, [sentence for event in failures for sentence in _sentences(event)]


_wait_for_retry = ActiveExecution.sleep_til_ready


def _wait_for_retry_or_interrupt(execution: ActiveExecution) -> None:
    """Dagster waits for the next try of a step, up to minutes, without hearing Ctrl+C."""
    with dg.raise_execution_interrupts():
        _wait_for_retry(execution)


ActiveExecution.sleep_til_ready = _wait_for_retry_or_interrupt


@contextmanager
def _interrupts_counted() -> Iterator[None]:
    """Ctrl+C inside becomes a `KeyboardInterrupt` at the end; Dagster makes a failed run of it, or drops it."""
    here, there = socket.socketpair()
    with here, there:
        here.setblocking(False)
        there.setblocking(False)
        before = signal.set_wakeup_fd(there.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(before)
        try:
            seen = here.recv(4096)
        except BlockingIOError:
            return
    if signal.SIGINT in seen or signal.SIGTERM in seen:
        raise KeyboardInterrupt


def _sentences(event: dg.DagsterEvent) -> list[str]:
    """What failed in a step: one sentence per trial, where it was trials."""
    data = event.step_failure_data
    said = data.user_failure_data
    if said and said.metadata:
        return [f"{name}: {value.value}" for name, value in said.metadata.items()]
    if said and said.description:
        return [said.description]
    causes = []
    cause = data.error
    while cause is not None:
        causes.append(cause.message.strip())
        cause = cause.cause
    # Our own sentence says what to do; what is below it says which call of which library failed.
    own = next((message for message in causes if message.startswith(OWN)), None)
    if own is not None:
        return [f"{event.step_key}: {own.partition(': ')[2] or own}"]
    return [f"{event.step_key}: {causes[-1] if causes else 'failed without a word'}"]
