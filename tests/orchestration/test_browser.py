"""The path of a person through the pages, in a real Chromium: open, materialize, backfill, see curves, retry one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestration.resources import Bench
from tests.orchestration.browser import chromium, chromium_page
from tests.orchestration.servers import answers, free_port, press_ctrl_c, runs, start_python, wait_until
from tests.small_lab import environment, small_lab

pytest.importorskip("playwright.sync_api", reason="playwright drives the browser: it comes with the extra `dev`")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(chromium() is None, reason="no Chromium here, such as Debian's package `chromium`"),
]

TRIALS = ["balance_0.00", "balance_0.25", "balance_0.50", "balance_0.75", "balance_1.00"]
RETRIED = "balance_0.50"
PATIENCE_MS = 90_000
"""For a page to have what it shows: on a busy machine the first one takes long."""


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, corpus: Path) -> Iterator[tuple[Bench, int]]:
    """`nocturne up` on a small lab."""
    folder = tmp_path_factory.mktemp("pages")
    bench = small_lab(folder / "lab", corpus, trials_per_run=5)
    port, output = free_port(), folder / "up.log"
    up = start_python(["-m", "orchestration.cli", "up", "--port", str(port)], output, environment(bench))
    wait_until(lambda: up.poll() is not None or answers(port), 120, "the page answers")
    assert up.poll() is None, output.read_text()
    yield bench, port
    press_ctrl_c(up)
    assert up.wait(60) == 0, output.read_text()


@pytest.fixture
def page(house: tuple[Bench, int]) -> Iterator[Any]:
    with chromium_page() as opened:
        opened.set_default_timeout(PATIENCE_MS)
        yield opened


def test_the_path_of_a_person_through_the_pages(house: tuple[Bench, int], page: Any) -> None:
    bench, port = house
    pages = f"http://127.0.0.1:{port}"
    broken: list[str] = []
    page.on("pageerror", lambda error: broken.append(str(error)))

    def succeeded() -> int:
        return sum(run["status"] == "SUCCESS" for run in runs(port))

    page.goto(pages)
    page.get_by_role("link", name="Catalog").first.wait_for()

    for noun in ("source_inventory", "split", "features"):
        before = succeeded()
        page.goto(f"{pages}/assets/concert/{noun}")
        page.get_by_role("button", name="Materialize").first.click()
        wait_until(lambda: succeeded() > before, 180, f"{noun} is materialized")  # noqa: B023

    page.goto(f"{pages}/assets/concert/evaluation")
    _ask_for_trials(page)
    page.get_by_role("button", name="Missing", exact=True).click()
    page.get_by_role("button", name="Launch backfill").click()

    def recorded() -> list[str]:
        return [name for name in TRIALS if (record := bench.records.latest("concert", name)) and _is_done(record)]

    wait_until(lambda: recorded() == TRIALS, 300, "five trials are done")

    page.goto(f"{pages}/assets/concert/trained_model?view=partitions&partition={RETRIED}")
    page.get_by_text("Materialized", exact=True).first.wait_for()
    page.locator("tr", has_text="curves").get_by_text("Show Markdown").click()
    curves = page.locator("img[alt=picture]")
    curves.wait_for()
    width, height = curves.evaluate("one => [one.naturalWidth, one.naturalHeight]")
    assert width > 200 and height > 100, "a picture that the browser could read"
    page.keyboard.press("Escape")

    wait_until(lambda: not [run for run in runs(port) if run["status"] in ("STARTED", "STARTING")], 120, "all is quiet")
    asked, history = len(runs(port)), len(bench.records.history("concert", RETRIED))
    _ask_for_trials(page)
    page.get_by_role("button", name="Launch 1 run").click()  # the partition of the page is chosen already
    wait_until(lambda: len(runs(port)) > asked and _retried(port) == "SUCCESS", 180, "the one is answered again")
    assert len(bench.records.history("concert", RETRIED)) == history, "found, not trained again"
    assert not broken, broken


def _ask_for_trials(page: Any) -> None:
    """To the dialog that asks for partitions; it comes after one that says what else is materialized."""
    page.get_by_role("button", name="Materialize…").first.click()
    page.get_by_role("button", name="Confirm").click()


def _is_done(record: Any) -> bool:
    return bool(record.account["status"] == "finished")


def _retried(port: int) -> str | None:
    """How the newest run of the one trial alone stands."""
    for run in runs(port):
        if {"key": "dagster/partition", "value": RETRIED} in run["tags"]:
            return str(run["status"])
    return None
