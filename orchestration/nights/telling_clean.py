"""`nocturne clean`: what nobody needs, how much that is and why; and that it is gone."""

from __future__ import annotations

import datetime as dt
import sys
from collections.abc import Sequence

from ml.studies.words import counted
from orchestration.asking import size
from orchestration.nights import clock
from orchestration.nights.cleaning import (
    COUNTED,
    AlreadyCleaning,
    Cleaned,
    clean,
    make_room,
    oldest_first,
    used_bytes,
)
from orchestration.nights.house import rules_problem
from orchestration.nights.lab_nights import GB
from orchestration.nights.unneeded import Found, Leftover, unneeded
from orchestration.plan import free_bytes
from orchestration.resources import Bench


def print_cleaning(bench: Bench, *, yes: bool, budget_gb: float | None) -> int:
    """Show what nobody needs, and remove it where `yes`; the exit code."""
    found = unneeded(bench, clock.now())
    used = ", ".join(f"{kind} {size(taken)}" for kind, taken in used_bytes(bench).items())
    print(f"{bench.lab.root}: {used}; {size(free_bytes(bench.lab.root))} free on its disk\n")
    for note in found.notes:
        print(f"note: {note}")
    if problem := rules_problem(bench):
        print(f"note: {problem}; until that is corrected no budget is kept to, and no night begins anything")
    _print_table(found)
    if found.spared:
        said = f"{counted(len(found.spared), 'state')} ({size(_bytes(found.spared))})"
        print(f"kept: {said} from which finished trials would go on, were they given more epochs; --budget takes some")
    if budget_gb is not None:
        _say_budget(bench, found, int(budget_gb * GB))
    if not yes:
        if found.leftovers or (budget_gb is not None and found.spared):
            print("\nnothing was removed: `nocturne clean --yes` removes it. Records and sources are never touched.")
        return 0
    try:
        done = clean(bench, found.leftovers)
    except AlreadyCleaning as problem:
        print(f"nocturne: {problem}", file=sys.stderr)
        return 1
    _say_done(done)
    if budget_gb is not None:
        make_room(bench, clock.now(), print, int(budget_gb * GB))
    return 1 if done.problems else 0


def _print_table(found: Found) -> None:
    groups: dict[tuple[str, str, str], list[Leftover]] = {}
    for one in found.leftovers:
        groups.setdefault((one.kind, one.study, one.why), []).append(one)
    if not groups:
        print(f"nothing {'else ' if found.notes else ''}lies here that nobody needs")
        return
    print(f"{'what':<24}{'number':>8}{'size':>10}  {'since':<12}why")
    for (kind, study, why), ones in groups.items():
        what = f"{kind} of {study}" if study else kind
        since = dt.datetime.fromtimestamp(min(one.since for one in ones)).date()
        print(f"{what:<24}{sum(one.number for one in ones):>8,}{size(_bytes(ones)):>10}  {since!s:<12}{why}")
    print(f"{'together':<24}{'':>8}{size(found.bytes):>10}")


def _say_budget(bench: Bench, found: Found, budget: int) -> None:
    """What of the states that are kept goes for a budget, beside what nobody needs."""
    gone = sum(one.bytes for one in found.leftovers if one.kind in COUNTED)
    over = sum(bench.shelf(kind).bytes() for kind in COUNTED) - gone - budget
    taken = []
    for one in oldest_first(found.spared):
        if over <= 0:
            break
        taken.append(one)
        over -= one.bytes
    left = f"; still {size(over)} above it then: all else is needed" if over > 0 else ""
    print(f"for --budget {size(budget)}: {counted(len(taken), 'state')} of these ({size(_bytes(taken))}) go too{left}")


def _say_done(done: Cleaned) -> None:
    print(f"\nremoved {done.number:,}, {size(done.bytes)}")
    if done.busy:
        print(f"{done.busy:,} are in use by now and stay")
    for problem in done.problems:
        print(f"nocturne: {problem}", file=sys.stderr)


def _bytes(ones: Sequence[Leftover]) -> int:
    return sum(one.bytes for one in ones)
