"""A page in a real Chromium without a window, where this machine has one."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PLACES = ("/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome")


def chromium() -> str | None:
    """The browser of this machine; none is downloaded."""
    found = (shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome"))
    return next((place for place in [*PLACES, *found] if place and Path(place).is_file()), None)


@contextmanager
def chromium_page() -> Iterator[Any]:
    """A page of its own; None where there is no browser, or nothing that drives one."""
    place = chromium()
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        place = None
    if place is None:
        yield None
        return
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=place, args=["--no-sandbox"])
        try:
            yield browser.new_page(viewport={"width": 1500, "height": 1000})
        finally:
            browser.close()
