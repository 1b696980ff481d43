"""The playground as people use it: the command, and a browser with and without scripts."""

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from playwright.sync_api import Browser, Page, expect

from embed_assets_tests.browsers import BROWSER_PATIENCE, take_screenshot
from embed_assets_tests.ports import free_port
from embed_assets_tests.scored_home import NAME, QUESTION, ScoredHome

pytestmark = [pytest.mark.slow, pytest.mark.ui]
PATIENCE = 300  # seconds: the models are loaded first


class Server:
    """``embed-assets playground``, started and ended as a person does it."""

    def __init__(self, home: ScoredHome, log: Path):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        folders = ["--data", str(home.place.data), "--home", str(home.place.home)]
        options = ["--port", str(self.port), "--queries", str(home.folder / "log.txt"), "--split", "test"]
        self.command = [sys.executable, "-m", "embed_assets.cli", "playground", NAME, *options, *folders]
        with log.open("w") as stream:
            self._process = subprocess.Popen(
                self.command, stdout=stream, stderr=stream, env=os.environ | {"PYTHONUNBUFFERED": "1"}
            )
        deadline = time.monotonic() + PATIENCE
        while not self._answers():
            assert self._process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.5)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(self.url, timeout=10) as answer:
                return answer.status == 200
        except OSError:
            return False

    def stop(self) -> None:
        self._process.send_signal(signal.SIGINT)
        self._process.wait(timeout=60)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, chunks: pl.DataFrame, memos: Path) -> ScoredHome:
    home = ScoredHome(tmp_path_factory.mktemp("playground"), chunks, memos)
    (home.folder / "log.txt").write_text(f"{QUESTION}\nhow do I clean the filter\n")
    return home


@pytest.fixture(scope="module")
def server(home: ScoredHome) -> Iterator[Server]:
    server = Server(home, home.place.home / "server.log")
    yield server
    server.stop()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page without scripts."""
    page = browser.new_page(viewport={"width": 1440, "height": 900}, java_script_enabled=False)
    page.set_default_timeout(BROWSER_PATIENCE * 1000)
    yield page
    page.close()


def test_a_search_needs_no_script_and_no_mouse(server: Server, page: Page):
    page.goto(server.url)
    page.get_by_label("Query", exact=True).press_sequentially(QUESTION)
    page.keyboard.press("Enter")
    for system in ("base", "tuned", "bm25", "hybrid", "in production"):
        expect(page.get_by_role("heading", name=system).first).to_be_visible()
    expect(page.locator("mark", has_text="dough").first).to_be_visible()
    take_screenshot(page, "playground")


def test_an_example_opens_its_hits(server: Server, page: Page):
    page.goto(server.url)
    page.locator(".examples a").first.click()
    expect(page.locator(".systems li.relevant").first).to_be_visible()


def test_a_mark_is_on_disk_when_the_page_comes_back(server: Server, page: Page, home: ScoredHome):
    page.goto(f"{server.url}/labels")
    page.get_by_role("link", name="how do I clean the filter").click()
    entry = page.locator(".pool li", has_text="filter.md")
    entry.get_by_role("button", name="relevant", exact=True).click()
    expect(entry.get_by_role("button", name="relevant", exact=True)).to_have_attribute("aria-pressed", "true")
    assert (home.folder / "qrels" / "test.tsv").read_text().splitlines()[1].endswith("\tfilter.md\t1")
    expect(page.get_by_text("1 test queries")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 1024])
def test_nothing_overflows_and_nothing_is_refused(server: Server, browser: Browser, width: int, scheme: str):
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.set_default_timeout(BROWSER_PATIENCE * 1000)
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("requestfailed", lambda request: complaints.append(request.url))
    for address in ("/", "/?q=E4012+pump", "/labels?q=E4012+pump", "/questions"):
        page.goto(f"{server.url}{address}")
        assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), address
        dark = page.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"
        assert dark == (scheme == "dark")
    page.close()
    assert complaints == []


def test_another_address_of_this_machine_is_not_served(server: Server):
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(urllib.request.Request(server.url, headers={"Host": f"rebound.example:{server.port}"}), timeout=30)


def test_a_port_that_is_taken_is_told_before_anything_is_loaded(server: Server):
    taken = subprocess.run(server.command, capture_output=True, text=True, timeout=PATIENCE)
    assert taken.returncode == 1 and f"port {server.port} cannot be used (Address already in use)" in taken.stderr
    assert "loading" not in taken.stderr
