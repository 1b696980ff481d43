"""The playground's pages over a really scored collection: what they show, what they write, and whom they answer."""

import errno
import html
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import polars as pl
import pytest
from click.testing import CliRunner
from starlette.testclient import TestClient

from embed_assets.artifacts.store import ArtifactStore, MissingArtifactError
from embed_assets.cli.main import main
from embed_assets.evaluation.human_labels import read_human_labels
from embed_assets.lineage import open_published, resolve
from embed_assets.playground.opening import open_playground
from embed_assets.playground.pages import make_app
from embed_assets.playground.pooling import pool
from embed_assets.playground.systems import SHOWN
from embed_assets.production.gate import Verdict
from embed_assets.production.publishing import Judged, publish
from embed_assets.production.stages import IN_PRODUCTION, PUBLISHED_INDEX
from embed_assets.queries.reviews import read_reviews
from embed_assets_tests.sample_documents import DOCUMENTS
from embed_assets_tests.scored_home import ASKED, CPU, NAME, QUESTION, ScoredHome
from embed_assets_tests.small_collections import BAKERY, write_collection

PORT = 8123
URL = f"http://127.0.0.1:{PORT}"
SCRIPT = "<script>alert(1)</script>"
HIT = re.compile(r'class="rank">(\d+).*?class="id">([^<]+)<.*?class="moved[^>]*>([^<]+)', re.DOTALL)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, chunks: pl.DataFrame, memos: Path) -> ScoredHome:
    """A scored collection, one passage of which is markup, with the base model in production and a log of two queries."""
    passage = pl.when(pl.col("document_id") == "pump.md").then(pl.lit(f"The pump {SCRIPT} runs dry. E4012.")).otherwise("passage")
    home = ScoredHome(tmp_path_factory.mktemp("playground"), chunks.with_columns(passage=passage), memos)
    inputs = resolve(home.place, PUBLISHED_INDEX, NAME)
    compared_with = inputs.sources[IN_PRODUCTION].digest
    publish(open_published(home.place, NAME), inputs, Judged(Verdict(False, "not better"), ()), compared_with, CPU)
    (home.folder / "log.txt").write_text("pump runs dry\nhow warm must the water be\n")
    return home


@pytest.fixture(scope="module")
def client(home: ScoredHome) -> Iterator[TestClient]:
    app = make_app(open_playground(home.place, NAME, home.folder / "log.txt", "dev"), PORT)
    with TestClient(app, base_url=URL, follow_redirects=False) as client:
        yield client


def page(client: TestClient, address: str, **parameters: object) -> str:
    answer = client.get(address, params=parameters)
    assert answer.status_code == 200, answer.text
    return answer.text


def token(text: str) -> str:
    return re.search(r'name="token" value="([^"]+)"', text)[1]


def column(text: str, system: str) -> str:
    """The part of the page with the hits of one system."""
    return re.search(rf'<h2 id="system-\d">{system}\b.*?</section>', text, re.DOTALL)[0]


def test_every_system_stands_beside_the_others(client: TestClient):
    text = page(client, "/", q=QUESTION, system=list(SHOWN))
    assert re.findall(r'<h2 id="system-\d">([a-z0-9 ]+?)(?: <|<)', text) == list(SHOWN)
    for system in SHOWN:
        assert "bread.md" in column(text, system) and "labelled as an answer" in column(text, system)
    assert "base model: the fine-tuned one was not shown to be better: not better" in column(text, "in production")
    assert '<mark class="word">dough</mark>' in text
    base = re.findall(r'class="id">([^<]+)', column(text, "base"))
    for system in ("tuned", "bm25", "hybrid"):
        hits = HIT.findall(column(text, system))
        assert hits
        for rank, document, moved in hits:
            places = base.index(document) + 1 - int(rank) if document in base else None
            assert places is None or moved == ("=" if not places else f"{'▲' if places > 0 else '▼'}{abs(places)}")


def test_without_a_choice_the_slow_system_is_not_asked(client: TestClient):
    text = page(client, "/", q="comet")
    assert 'value="late"> late' in text and ">late<" not in text
    assert len(re.findall(r'<h2 id="system', text)) == len(SHOWN) - 1


def test_the_first_page_links_queries_that_gained_and_lost(client: TestClient):
    text = page(client, "/")
    links = [html.unescape(address) for address in re.findall(r'<li><a href="([^"]+)"', text)]
    assert links and all(client.get(address).status_code == 200 for address in links)
    assert "In production: base model package:" in text


def test_text_of_documents_and_of_queries_is_inert(client: TestClient):
    text = page(client, "/", q=f"E4012 {SCRIPT}", system=list(SHOWN))
    assert "<script" not in text.lower() and "alert" in text
    assert '<mark class="identifier">E4012</mark>' in text
    assert "&lt;b&gt;" in page(client, "/questions") and "<b>" not in page(client, "/questions")
    headers = client.get("/").headers
    assert headers["content-security-policy"].startswith("default-src 'none'; style-src 'self'")
    assert "script-src" not in headers["content-security-policy"] and headers["x-content-type-options"] == "nosniff"
    assert not re.search(r"""(?:src|href)=["']?(?:https?:)?//""", text)
    assert client.get("/style.css").headers["content-type"].startswith("text/css")


def test_marks_of_pooled_hits_are_labels_at_once(client: TestClient, home: ScoredHome):
    text = page(client, "/labels", q="pump runs dry")
    documents = re.findall(r'name="document" value="([^"]+)"', text)
    assert "pump.md" in documents and len(documents) == len(set(documents))
    assert "qrels/dev.tsv" in text
    for document, said in (("pump.md", "relevant"), ("filter.md", "not relevant")):
        form = {"token": token(text), "query": "pump runs dry", "document": document, "mark": said, "place": "d1"}
        answer = client.post("/labels", data=form)
        assert (answer.status_code, answer.headers["location"]) == (303, "/labels?q=pump+runs+dry#d1")
    queries, labels, _ = read_human_labels(home.folder, [it.document_id for it in DOCUMENTS])
    assert queries.select("query", "split").rows() == [("pump runs dry", "dev")]
    assert labels["document_id"].to_list() == ["pump.md"]
    text = page(client, "/labels", q="pump runs dry")
    assert text.count('aria-pressed="true"') == 2
    assert "0 test queries and 1 dev queries have a relevant document" in text
    assert "Waiting: 1 of 2" in text and "how warm must the water be</a>" in text


def test_how_many_queries_are_enough_comes_from_the_scores(client: TestClient):
    text = page(client, "/labels")
    needed = [int(count.replace(",", "")) for count in re.findall(r"<td>([\d,]+)</td>", text)]
    assert len(needed) == 4 and needed == sorted(needed, reverse=True) and needed[-1] >= 2
    assert f"on {len(ASKED)} human queries" in text


def test_reviews_in_two_playgrounds_at_once_are_all_kept(home: ScoredHome, tmp_path: Path):
    queries = [f"what is part {number}" for number in range(40)]
    pairs = pl.DataFrame({"query": queries, "writer": "model", "text": "", "style": ""})
    opened = open_playground(home.place, NAME)
    places = [replace(opened, folder=tmp_path, pairs=pairs) for _ in range(2)]
    clients = [TestClient(make_app(it, PORT), base_url=URL, follow_redirects=False) for it in places]

    def review(number: int) -> int:
        form = {"token": opened.token, "query": queries[number], "verdict": "refused"}
        return clients[number % 2].post("/questions", data=form).status_code

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(review, range(40))) == {303}
    assert len(read_reviews(tmp_path)) == 40


def test_questions_are_approved_and_refused(client: TestClient, home: ScoredHome):
    text = page(client, "/questions")
    assert "why does the loaf brown" in text and "PRT-7719" not in text
    assert "PRT-7719" in page(client, "/questions", source="look-up")
    for query, verdict in (("why does the loaf brown", "approved"), ("who greases <b>the pump</b>", "refused")):
        form = {"token": token(text), "query": query, "verdict": verdict, "source": "synthetic", "page": "1", "place": "q1"}
        assert client.post("/questions", data=form).status_code == 303
    assert [verdict for _, verdict in read_reviews(home.folder).values()] == ["approved", "refused"]
    assert "1 approved, 1 refused" in page(client, "/questions")


@pytest.mark.parametrize("address", ["/", "/labels", "/questions", "/style.css"])
@pytest.mark.parametrize("host", ["evil.example", f"evil.example:{PORT}", "127.0.0.1", f"127.0.0.1:{PORT + 1}", ""])
def test_another_name_for_this_machine_gets_nothing(client: TestClient, address: str, host: str):
    answer = client.get(address, headers={"host": host})
    assert answer.status_code == 403 and "collection" not in answer.text


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": f"http://localhost.evil.example:{PORT}"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_a_form_of_another_page_writes_nothing(client: TestClient, home: ScoredHome, headers: dict[str, str]):
    before = {path: path.read_bytes() for path in home.folder.rglob("*") if path.is_file()}
    form = {"token": token(page(client, "/questions")), "query": "PRT-7719", "verdict": "refused"}
    assert client.post("/questions", data=form, headers=headers).status_code == 403
    label = {"token": form["token"], "query": "x", "document": "pump.md", "mark": "relevant"}
    assert client.post("/labels", data=label, headers=headers).status_code == 403
    assert {path: path.read_bytes() for path in home.folder.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("change", [{"token": "guess"}, {"document": "../x"}, {"mark": "5"}, {"query": "x" * 2000}])
def test_a_form_with_something_else_in_it_writes_nothing(client: TestClient, home: ScoredHome, change: dict[str, str]):
    before = {path: path.read_bytes() for path in home.folder.rglob("*") if path.is_file()}
    form = {"token": token(page(client, "/questions")), "query": "x", "document": "pump.md", "mark": "relevant"}
    assert client.post("/labels", data=form | change).status_code == 403
    assert {path: path.read_bytes() for path in home.folder.rglob("*") if path.is_file()} == before


def test_nothing_of_another_page_loads_what_is_here(client: TestClient):
    elsewhere = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}
    assert client.get("/", headers=elsewhere).status_code == 403
    assert client.get("/", headers=elsewhere | {"sec-fetch-mode": "navigate"}).status_code == 200


def test_a_label_file_that_is_damaged_is_named(client: TestClient, home: ScoredHome):
    path = home.folder / "qrels" / "test.tsv"
    path.parent.mkdir(exist_ok=True)
    path.write_text("one two\n")
    try:
        answer = client.get("/labels", params={"q": "pump"})
    finally:
        path.unlink()
    assert answer.status_code == 500 and "test.tsv:1: expected query-id" in html.unescape(answer.text)


def test_the_pool_has_the_first_documents_of_all_and_what_was_marked(home: ScoredHome):
    systems = open_playground(home.place, NAME).systems
    answers = systems.search(QUESTION, ["base", "bm25"])
    pooled = pool(QUESTION, answers, {"tax.md": 0}, depth=2)
    first = {hit.document_id for answer in answers for hit in answer.hits[:2]}
    assert {it.document_id for it in pooled} == first | {"tax.md"}
    assert {it.document_id: it.mark for it in pooled}["tax.md"] == 0
    assert [it.document_id for it in pooled] == [it.document_id for it in pool(QUESTION, answers[::-1], {"tax.md": 0}, depth=2)]


def test_a_collection_without_scores_says_what_makes_them(tmp_path: Path):
    write_collection(tmp_path / "data" / "collections" / "bakery", BAKERY)
    folders = ["--data", str(tmp_path / "data"), "--home", str(tmp_path / "home")]
    for arguments in ([], ["bakery"]):
        done = CliRunner().invoke(main, ["playground", *arguments, *folders])
        words = " ".join(["embed-assets run", *arguments, "--until beir_scores"])
        assert done.exit_code == 1 and words in done.output


def test_a_checkpoint_that_is_gone_is_named(home: ScoredHome, monkeypatch: pytest.MonkeyPatch):
    there = ArtifactStore.artifacts
    monkeypatch.setattr(
        ArtifactStore, "artifacts", lambda store, asset, place: [] if asset == "checkpoint" else there(store, asset, place)
    )
    with pytest.raises(MissingArtifactError, match="checkpoint of collection 'house'"):
        open_playground(home.place, NAME)


def test_a_folder_that_takes_no_label_is_told(client: TestClient, home: ScoredHome, monkeypatch: pytest.MonkeyPatch):
    form = {"token": token(page(client, "/labels", q="pump")), "query": "pump", "document": "pump.md", "mark": "relevant"}
    before = {path: path.read_bytes() for path in home.folder.rglob("*") if path.is_file()}
    monkeypatch.setattr(Path, "mkdir", Mock(side_effect=OSError(errno.EROFS, "Read-only file system", "qrels")))
    answer = client.post("/labels", data=form)
    assert answer.status_code == 500 and "Read-only file system" in answer.text and "Nothing was changed" in answer.text
    assert {path: path.read_bytes() for path in home.folder.rglob("*") if path.is_file()} == before
