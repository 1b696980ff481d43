"""A browser for the tests."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, expect, sync_playwright

BROWSER_PATIENCE = 120
BROWSER_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@contextmanager
def open_browser() -> Iterator[Browser]:
    """Chromium without a window, patient with a slow machine."""
    chromium = shutil.which("chromium")
    assert chromium, "chromium is not installed: 'make test-all' as root installs it"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=BROWSER_FLAGS)
        expect.set_options(timeout=BROWSER_PATIENCE * 1000)
        yield browser
        browser.close()


def take_screenshot(page: Page, name: str) -> None:
    """Save a picture of the page in $EMBED_ASSETS_SCREENSHOTS, if that is set."""
    if folder := os.environ.get("EMBED_ASSETS_SCREENSHOTS"):
        page.screenshot(path=Path(folder, f"{name}.png"), animations="disabled")
