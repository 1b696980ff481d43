"""The pages of the playground: search side by side, labels, and questions to approve or refuse.

Plain HTML with forms, no script: starlette and uvicorn are there for Dagster's own server, and nothing is built or loaded from
elsewhere.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

import jinja2
import polars as pl
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from embed_assets.artifacts.files import lock
from embed_assets.artifacts.secrets import hide_secrets
from embed_assets.artifacts.workspace import CollectionError
from embed_assets.corpus.encodings import composed
from embed_assets.evaluation.statistics import queries_needed, smallest_difference, spread_of
from embed_assets.playground.guard import Guard, is_token, new_token
from embed_assets.playground.labels import SPLITS, Labels
from embed_assets.playground.marking import excerpt, mark
from embed_assets.playground.pooling import pool
from embed_assets.playground.systems import LATE, SideBySide
from embed_assets.queries.pairs import OWN, PAIR_SOURCES, source_of
from embed_assets.queries.reviews import VERDICTS, read_reviews, write_review
from embed_assets.text.near_duplicates import normalize_query

LONGEST_QUERY = 1000  # characters
QUESTIONS_ON_A_PAGE = 20
DIFFERENCES = (0.02, 0.03, 0.05, 0.1)
MARKS = {"relevant": 1, "not relevant": 0, "no mark": None}


@dataclass(frozen=True)
class Playground:
    """What the pages show.

    Args:
        systems: the systems of the collection.
        labels: its human labels.
        folder: its folder.
        pairs: the kept QA pairs with the ``text`` of their chunk; no row where there are none.
        queue: queries of a log that wait for labels.
    """

    systems: SideBySide
    labels: Labels
    folder: Path
    pairs: pl.DataFrame
    queue: Sequence[str] = ()
    token: str = field(default_factory=new_token)


def make_app(playground: Playground, port: int) -> Starlette:
    """The application, which answers to this machine's names at one port only."""
    pages = _Pages(playground)
    routes = [
        Route("/", pages.search),
        Route("/labels", pages.labels),
        Route("/labels", pages.mark, methods=["POST"]),
        Route("/questions", pages.questions),
        Route("/questions", pages.review, methods=["POST"]),
        Route("/style.css", _style),
    ]
    handlers: Mapping[Any, Any] = {CollectionError: pages.problem, OSError: pages.problem}
    return Starlette(routes=routes, middleware=[Middleware(Guard, port=port)], exception_handlers=handlers)


def _style(request: Request) -> Response:
    style = (Path(__file__).parent / "templates" / "style.css").read_text(encoding="utf-8")
    return PlainTextResponse(style, media_type="text/css")


class _Pages:
    def __init__(self, playground: Playground):
        self._of = playground
        loader = jinja2.PackageLoader("embed_assets.playground", "templates")
        self._environment = jinja2.Environment(
            loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
        )
        self._environment.filters["query"] = urlencode
        self._queue = [(normalize_query(text), text) for text in playground.queue]
        self._documents = set(playground.systems.chunks["document_id"])
        self._queries = set(playground.pairs["query"])
        self._sources = playground.pairs["writer"].map_elements(source_of, return_dtype=pl.String)

    def search(self, request: Request) -> Response:
        """One query, all systems side by side; without a query, examples."""
        query = _query(request)
        systems = self._of.systems
        names = [name for name in request.query_params.getlist("system") if name in systems.names]
        names = names or [name for name in systems.names if name != LATE]
        answers = systems.search(query, names) if normalize_query(query) else []
        gained, lost = systems.examples() if not answers else ([], [])
        shown = [
            {"answer": answer, "hits": [(hit, *self._marked(hit.passage, query)) for hit in answer.hits]} for answer in answers
        ]
        about = {"names": names, "answers": shown, "gained": gained, "lost": lost, "production": systems.in_production()}
        return self._page("search", query=query, late=LATE, **about)

    def labels(self, request: Request) -> Response:
        """The pooled documents of a query, each with two buttons; without a query, those that wait."""
        query, labels = _query(request), self._of.labels
        pooled, split = [], ""
        if normalize_query(query):
            systems = self._of.systems
            answers = systems.search(query, systems.names)
            pooled = [
                (it, [self._marked(passage, query) for passage in it.passages]) for it in pool(query, answers, labels.of(query))
            ]
            split = labels.split_of(query)
        judged = labels.judged()
        waiting = [text for normal, text in self._queue if normal not in judged and text != query]
        counts = {name: sum(found == name for found in judged.values()) for name in SPLITS}
        about = {"pooled": pooled, "split": split, "waiting": waiting, "counts": counts, "power": self._power(counts["test"])}
        return self._page("labels", query=query, marks=MARKS, queue=len(self._of.queue), **about)

    async def mark(self, request: Request) -> Response:
        """Keeps one mark and goes back to the page."""
        form = await _form(request)
        query, document_id, said = (form.get(name) for name in ("query", "document", "mark"))
        if not is_token(form.get("token"), self._of.token):
            return _refuse("this page is of an earlier start of the playground: load it again")
        known = isinstance(document_id, str) and document_id in self._documents
        if not isinstance(query, str) or len(query) > LONGEST_QUERY or not known or said not in MARKS:
            return _refuse("the form does not name a query, a document of the collection and a mark")
        await run_in_threadpool(self._of.labels.mark, query, str(document_id), MARKS[str(said)])
        return RedirectResponse(f"/labels?{urlencode({'q': query})}#{form.get('place', '')}", status_code=303)

    def questions(self, request: Request) -> Response:
        """Kept questions with their chunk, each to be approved or refused."""
        source, page = request.query_params.get("source", ""), request.query_params.get("page", "1")
        there = [name for name in PAIR_SOURCES if name != OWN and name in set(self._sources)]
        source = source if source in there else next(iter(there), "")
        of_source = self._of.pairs.filter(self._sources == source)
        pages = max(1, -(-len(of_source) // QUESTIONS_ON_A_PAGE))
        number = min(max(int(page), 1), pages) if page.isdecimal() and len(page) < 10 else 1
        reviews = read_reviews(self._of.folder)
        rows = of_source.slice((number - 1) * QUESTIONS_ON_A_PAGE, QUESTIONS_ON_A_PAGE)
        systems = self._of.systems
        shown = [
            (
                row,
                mark(row["text"], row["query"], systems.language, systems.patterns),
                reviews.get(normalize_query(row["query"]), ("", ""))[1],
            )
            for row in rows.iter_rows(named=True)
        ]
        counts = {verdict: sum(said == verdict for _, said in reviews.values()) for verdict in VERDICTS}
        about = {"source": source, "sources": there, "number": number, "pages": pages, "counts": counts, "total": len(of_source)}
        return self._page("questions", shown=shown, verdicts=VERDICTS, query="", **about)

    async def review(self, request: Request) -> Response:
        """Keeps what a person thinks of one question and goes back to the page."""
        form = await _form(request)
        query, said = form.get("query"), form.get("verdict")
        if not is_token(form.get("token"), self._of.token):
            return _refuse("this page is of an earlier start of the playground: load it again")
        if not isinstance(query, str) or query not in self._queries or said not in (*VERDICTS, "no verdict"):
            return _refuse("the form does not name a question of the collection and a verdict")
        await run_in_threadpool(self._write_review, query, None if said == "no verdict" else str(said))
        back = {"source": str(form.get("source", "")), "page": str(form.get("page", "1"))}
        return RedirectResponse(f"/questions?{urlencode(back)}#{form.get('place', '')}", status_code=303)

    def _write_review(self, query: str, verdict: str | None) -> None:
        with lock(self._of.labels.lock):  # the file is read and written as a whole, by other playgrounds as well
            write_review(self._of.folder, query, verdict)

    def problem(self, request: Request, error: Exception) -> Response:
        """A file in the collection's folder that cannot be used, or written, in words."""
        return HTMLResponse(self._render("problem", words=hide_secrets(error), query=""), status_code=500)

    def _marked(self, passage: str, query: str) -> tuple[list, list]:
        """The passage as an excerpt and whole, with its matches."""
        systems = self._of.systems
        segments = mark(passage, query, systems.language, systems.patterns)
        return excerpt(segments), segments

    def _power(self, judged: int) -> dict[str, Any] | None:
        """How many judged queries show which difference, by what the scores have at hand."""
        measured = self._of.systems.spread()
        if measured is None or not 0 < (spread := spread_of(measured[1])) < float("inf"):
            return None
        needed = [(difference, queries_needed(spread, difference)) for difference in DIFFERENCES]
        least = smallest_difference(spread, judged)
        return {
            "source": measured[0],
            "queries": measured[1].queries,
            "spread": spread,
            "needed": needed,
            "least": least if least < 1 else None,
        }

    def _page(self, name: str, **about: Any) -> Response:
        return HTMLResponse(self._render(name, **about))

    def _render(self, name: str, **about: Any) -> str:
        template = self._environment.get_template(f"{name}.html.jinja")
        systems = self._of.systems
        return template.render(here=name, collection=systems.collection, systems=systems.names, token=self._of.token, **about)


def _query(request: Request) -> str:
    return " ".join(composed(request.query_params.get("q", "")).split())[:LONGEST_QUERY]


async def _form(request: Request) -> dict[str, str]:
    return dict(parse_qsl((await request.body()).decode("utf-8", "replace"), keep_blank_values=True))


def _refuse(words: str) -> Response:
    return PlainTextResponse(words, status_code=403)
