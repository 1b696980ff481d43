"""The Dagster UI as people use it: ``dagster dev`` with its daemon, and a browser."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from embed_assets.cli.runs import open_instance
from embed_assets.defs.pools import GPU_POOL
from embed_assets.graph import DEFAULT_STAGES
from embed_assets_tests.browsers import BROWSER_PATIENCE, take_screenshot
from embed_assets_tests.defs.test_rematerialization import BELOW_PAIRS
from embed_assets_tests.ports import free_port
from embed_assets_tests.small_collections import override, write_collection, write_small_collections

pytestmark = [pytest.mark.slow, pytest.mark.ui]

REPOSITORY = Path(__file__).parents[2]
PATIENCE = 900  # seconds: every step of a run is a process of its own, which imports torch

PROMPT = """Each passage comes from a handbook. Below it stands what somebody types into a search box to find it.

Passage: Coffee machine. Descale the machine once a month with citric acid. The red lamp goes out afterwards.
Search: how often does the coffee machine have to be descaled

Passage: {{ passage }}
Search:"""

ASSETS = "{ assetNodes { assetKey { path } partitionKeys pools } }"
RUNS = """{ runsOrError { ... on Runs { results {
    runId status startTime endTime
    tags { key value }
    stepStats { stepKey startTime endTime }
    assetMaterializations { assetKey { path } metadataEntries { label ... on BoolMetadataEntry { boolValue } } }
} } } }"""
RUN_COLLECTION = "/locations/embed_assets/jobs/run_collection"
LAUNCH_BACKFILL = """mutation($parameters: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $parameters) {
    __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message }
} }"""
BACKFILL = "query($id: String!) { partitionBackfillOrError(backfillId: $id) { ... on PartitionBackfill { status } } }"
# A window about the Dagster community opens over the first page ever shown.
CLOSE_FIRST_WINDOW = "mutation { setNuxSeen }"


class Dagster:
    """A running ``dagster dev``, asked over GraphQL, and its data folder."""

    def __init__(self, port: int, data: Path):
        self.url = f"http://localhost:{port}"
        self.data = data

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(f"{self.url}/graphql", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as response:
            answer = json.load(response)
        assert "errors" not in answer, answer["errors"]
        return answer["data"]

    def answers(self) -> bool:
        with suppress(OSError):
            return bool(self.ask(ASSETS)["assetNodes"])
        return False

    def collections(self) -> list[str]:
        """The registered partitions."""
        return self.ask(ASSETS)["assetNodes"][0]["partitionKeys"]

    def gpu_assets(self) -> set[str]:
        return {name_of(node) for node in self.ask(ASSETS)["assetNodes"] if GPU_POOL in node["pools"]}

    def runs(self) -> dict[str, list[dict[str, Any]]]:
        """Collection → its runs, the latest first."""
        runs: dict[str, list[dict[str, Any]]] = {}
        for run in self.ask(RUNS)["runsOrError"]["results"]:
            tags = {tag["key"]: tag["value"] for tag in run["tags"]}
            runs.setdefault(tags["dagster/partition"], []).append(run)
        return runs

    def backfill(self, collections: list[str]) -> str:
        """Materialize all assets of the collections and wait for the end; returns the status of the backfill."""
        backfill = self._launch_backfill(collections)
        return wait_for("the end of the backfill", lambda: self._end_of_backfill(backfill))

    def _launch_backfill(self, collections: list[str]) -> str:
        parameters = {"assetSelection": [{"path": [asset]} for asset in DEFAULT_STAGES], "partitionNames": collections}
        launched = self.ask(LAUNCH_BACKFILL, parameters=parameters)["launchPartitionBackfill"]
        assert launched["__typename"] == "LaunchBackfillSuccess", launched
        return launched["backfillId"]

    def _end_of_backfill(self, backfill: str) -> str | None:
        status = self.ask(BACKFILL, id=backfill)["partitionBackfillOrError"]["status"]
        return status if status.startswith("COMPLETED") else None


def wait_for(what: str, look: Callable[[], Any]) -> Any:
    """Look once a second until there is something; returns it."""
    deadline = time.monotonic() + PATIENCE
    while not (seen := look()):
        assert time.monotonic() < deadline, f"no sign of {what} after {PATIENCE} s"
        time.sleep(1)
    return seen


def name_of(asset: dict[str, Any]) -> str:
    return asset["assetKey"]["path"][-1]


def reused_assets(run: dict[str, Any]) -> dict[str, bool]:
    """Asset → whether its artifact was there already, as the metadata of the run's materializations say."""
    return {
        name_of(event): next(entry["boolValue"] for entry in event["metadataEntries"] if entry["label"] == "reused")
        for event in run["assetMaterializations"]
    }


@pytest.fixture(scope="module")
def dagster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dagster]:
    """``dagster dev`` with an empty history and two collection folders."""
    folder = tmp_path_factory.mktemp("ui")
    port = free_port()
    command = [sys.executable, "-m", "dagster", "dev", "-w", "workspace.yaml", "-p", str(port)]
    with pytest.MonkeyPatch.context() as environment, (folder / "dagster.log").open("w+") as log:
        environment.setenv("EMBED_ASSETS_DATA", str(folder / "data"))
        environment.setenv("EMBED_ASSETS_HOME", str(folder / "home"))
        environment.setenv("DAGSTER_HOME", str(folder / "home"))
        write_small_collections(folder / "data")
        override(folder / "data", "bakery", {"questions": {"max_questions": 4}})
        open_instance(folder / "home").dispose()
        server = subprocess.Popen(command, cwd=REPOSITORY, stdout=log, stderr=log, start_new_session=True)
        dagster = Dagster(port, folder / "data")

        def answers() -> bool:
            assert server.poll() is None, (folder / "dagster.log").read_text()
            return dagster.answers()

        try:
            wait_for("the server", answers)
            dagster.ask(CLOSE_FIRST_WINDOW)
            yield dagster
        finally:
            server.terminate()
            with suppress(subprocess.TimeoutExpired):
                server.wait(timeout=30)
            with suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGKILL)


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    with open_page(browser) as page:
        yield page


@pytest.fixture
def graph(dagster: Dagster, browser: Browser) -> Iterator[Page]:
    """The graph of the job of a whole collection, with all its groups unfolded."""
    with open_page(browser, zoom=0.45) as page:  # the assets show what is in them only if there is space
        page.goto(f"{dagster.url}{RUN_COLLECTION}")
        page.get_by_label("unfold_more").first.wait_for()
        page.get_by_text("Hide navigation").click()
        page.keyboard.press("Alt+e")
        yield page


@contextmanager
def open_page(browser: Browser, zoom: float = 1.0) -> Iterator[Page]:
    """An empty page of 1600 by 1000 pixels."""
    page = browser.new_page(viewport={"width": round(1600 / zoom), "height": round(1000 / zoom)}, device_scale_factor=zoom)
    page.set_default_timeout(BROWSER_PATIENCE * 1000)
    yield page
    page.close()


@pytest.fixture(scope="module")
def registered(dagster: Dagster) -> list[str]:
    """The collections that the sensor registered, without anybody's help."""
    return wait_for("the collections", dagster.collections)


@pytest.fixture(scope="module")
def first_run(dagster: Dagster, browser: Browser, registered: list[str]) -> dict[str, Any]:
    """The run of all assets of ``routers``, launched with the mouse."""
    with open_page(browser) as page:
        page.goto(f"{dagster.url}{RUN_COLLECTION}")
        page.get_by_role("button", name="Materialize all").click()
        page.get_by_text("Select a partition or create one").click()
        page.locator("span").get_by_text("routers", exact=True).click()
        page.keyboard.press("Escape")
        page.get_by_role("button", name="Launch 1 run").click()
        page.get_by_text("Launched run").wait_for()
    return wait_for("the end of the run", lambda: next((run for run in dagster.runs()["routers"] if run["endTime"]), None))


def test_every_collection_folder_becomes_a_partition(registered: list[str]):
    assert registered == ["bakery", "routers"]


def test_the_graph_shows_all_assets(graph: Page):
    for asset in DEFAULT_STAGES:
        expect(graph.get_by_text(asset, exact=True).first).to_be_visible()


def test_a_run_from_the_launch_window_builds_every_asset(first_run: dict[str, Any]):
    assert first_run["status"] == "SUCCESS"
    assert reused_assets(first_run) == dict.fromkeys(DEFAULT_STAGES, False)


def test_the_scores_are_drawn_on_the_page_of_the_partition(dagster: Dagster, page: Page, first_run: dict[str, Any]):
    page.goto(f"{dagster.url}/assets/beir_scores?view=partitions&partition=routers")
    at_once = page.locator("img[src^='data:image/svg+xml']")
    assert at_once.evaluate("async image => { await image.decode(); return image.naturalWidth }") == 460
    page.get_by_role("row").filter(has_text="human_queries").get_by_text("[Show Markdown]").click()
    window = page.get_by_role("dialog")
    chart = window.locator("img[src^='data:image/png']")
    assert chart.evaluate("async image => { await image.decode(); return image.naturalWidth }") > 0
    expect(window.get_by_role("cell", name="hybrid_base")).to_be_visible()
    take_screenshot(page, "ui-scores")


@pytest.fixture(scope="module")
def runs(dagster: Dagster, first_run: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Collection → its runs, after a backfill of both collections."""
    assert dagster.backfill(["bakery", "routers"]) == "COMPLETED_SUCCESS"
    return dagster.runs()


def test_a_backfill_computes_only_what_is_new(runs: dict[str, list[dict[str, Any]]], graph: Page):
    (bakery,), (routers, _) = runs["bakery"], runs["routers"]
    assert bakery["status"] == routers["status"] == "SUCCESS"
    assert reused_assets(bakery) == dict.fromkeys(DEFAULT_STAGES, False)
    assert reused_assets(routers) == dict.fromkeys(DEFAULT_STAGES, True)
    expect(graph.get_by_text("100% filled")).to_have_count(len(DEFAULT_STAGES))
    take_screenshot(graph, "ui-graph")


def test_one_step_at_a_time_uses_the_gpu(dagster: Dagster, runs: dict[str, list[dict[str, Any]]]):
    (bakery,), (routers, _) = runs["bakery"], runs["routers"]
    overlap = min(bakery["endTime"], routers["endTime"]) - max(bakery["startTime"], routers["startTime"])
    assert overlap > 0, "the runs of the backfill came one after the other"
    gpu_assets = dagster.gpu_assets() & DEFAULT_STAGES.keys()
    steps = [step for run in chain(*runs.values()) for step in run["stepStats"] if step["stepKey"] in gpu_assets]
    assert len(steps) == 3 * len(gpu_assets) > 0
    for step, following in pairwise(sorted(steps, key=lambda step: step["startTime"])):
        assert step["endTime"] <= following["startTime"], (step, following)


@pytest.fixture(scope="module")
def later_runs(dagster: Dagster, runs: dict[str, list[dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """Collection → its latest run, after an edit of the prompt of ``bakery``, a new collection without text, and a backfill."""
    prompts = dagster.data / "collections" / "bakery" / "prompts"
    prompts.mkdir()
    (prompts / "question.jinja").write_text(PROMPT)
    write_collection(dagster.data / "collections" / "attic", {"empty.md": ""})
    wait_for("the new collection", lambda: "attic" in dagster.collections())
    assert dagster.backfill(["attic", "bakery", "routers"]) == "COMPLETED_FAILED"
    return {collection: latest for collection, (latest, *_) in dagster.runs().items()}


def test_a_prompt_edit_computes_what_is_below_it_for_its_collection_alone(later_runs: dict[str, dict[str, Any]]):
    computed = {asset for asset, reused in reused_assets(later_runs["bakery"]).items() if not reused}
    # A question more or less is in the triplets; where the examples of the training are the same, what comes after it is, too.
    assert {"qa_pairs", "triplets", "checkpoint"} <= computed <= {"qa_pairs"} | BELOW_PAIRS
    assert reused_assets(later_runs["routers"]) == dict.fromkeys(DEFAULT_STAGES, True)


def test_a_failing_collection_does_not_stop_the_others(later_runs: dict[str, dict[str, Any]]):
    assert {collection: run["status"] for collection, run in later_runs.items()} == {
        "attic": "FAILURE",
        "bakery": "SUCCESS",
        "routers": "SUCCESS",
    }
    assert not later_runs["attic"]["assetMaterializations"]
