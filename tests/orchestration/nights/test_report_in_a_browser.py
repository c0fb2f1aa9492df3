"""The morning's page as it is seen: by day and by night, on a desk and in a hand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ml.studies.concert.study import CONCERT
from orchestration import trials
from orchestration.nights import clock
from orchestration.nights.report_written import write_report
from tests.orchestration.browser import chromium_page
from tests.orchestration.nights.made_up import attempt, look
from tests.small_lab import small_lab

WIDTHS = {"desk": 1280, "hand": 360}

WEAKEST = """() => {
  const light = said => {
    const parts = said.match(/[\\d.]+/g).map(Number).slice(0, 3).map(part => part / 255);
    const linear = parts.map(part => part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  };
  const behind = element => {
    for (let one = element; one; one = one.parentElement) {
      const said = getComputedStyle(one).backgroundColor;
      if (said !== "rgba(0, 0, 0, 0)") return said;
    }
  };
  let weakest = [99, ""];
  for (const element of document.querySelectorAll("main *")) {
    const own = [...element.childNodes].some(node => node.nodeType === 3 && node.textContent.trim());
    if (!own || !element.checkVisibility()) continue;
    const ends = [light(getComputedStyle(element).color), light(behind(element))].sort((a, b) => b - a);
    const ratio = (ends[0] + 0.05) / (ends[1] + 0.05);
    if (ratio < weakest[0]) weakest = [ratio, element.outerHTML.slice(0, 200)];
  }
  return weakest;
}"""
"""The least contrast between a text and what is behind it, and whose that is."""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory, corpus: Path) -> Path:
    bench = small_lab(tmp_path_factory.mktemp("seen") / "lab", corpus)
    look(bench, CONCERT)
    trials.run_trial(bench, CONCERT, "balance_0.50", run_id="by hand", forced_by=None, say=lambda words: None)
    for name, status in (("balance_0.00", "failed"), ("balance_0.25", "diverged"), ("balance_0.75", "paused")):
        attempt(bench, CONCERT, name, status, error="a long word: " + "nocturne" * 30, epochs_done=1, epochs_planned=2)
    attempt(bench, CONCERT, "balance_1.00", None)
    _, path = write_report(bench, None, clock.now())
    return path


@pytest.fixture(scope="module")
def page() -> Iterator[Any]:
    with chromium_page() as found:
        if found is None:
            pytest.skip("no Chromium here, or nothing that drives it")
        yield found


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("where", WIDTHS)
def test_it_fits_and_can_be_read(page: Any, report: Path, where: str, scheme: str) -> None:
    asked: list[str] = []
    said: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": WIDTHS[where], "height": 800})
    page.goto(report.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= WIDTHS[where], "nothing is cut off at the side"
    contrast, whose = page.evaluate(WEAKEST)
    assert contrast >= 4.5, whose
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).every(part => part < 60)")
    assert dark == (scheme == "dark")
    assert [url for url in asked if not url.startswith("data:")] == [report.as_uri()] and said == []
    assert page.locator(".block").count() == 5 and page.locator("figure img").count() >= 1
