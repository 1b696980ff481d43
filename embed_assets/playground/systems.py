"""The systems of a scored collection side by side: what each finds for a query, with models that are loaded once."""

import logging
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

import polars as pl

from embed_assets.artifacts.secrets import hide_secrets
from embed_assets.artifacts.store import MissingArtifactError
from embed_assets.artifacts.workspace import Workspace
from embed_assets.corpus.spans import language_of
from embed_assets.evaluation.breakdowns import changed_queries
from embed_assets.evaluation.evaluation_set import HUMAN, read_evaluation_set
from embed_assets.evaluation.hybrid_weight import weight_for_search
from embed_assets.evaluation.labels import deciding_source, relevant_units
from embed_assets.evaluation.metrics import HEADLINE
from embed_assets.evaluation.runs import BM25, RerankedSystem, Systems
from embed_assets.evaluation.scoring import read_summaries
from embed_assets.evaluation.settings import LateInteractionSettings, ScoringSettings
from embed_assets.evaluation.statistics import PairedDifference, paired_by_query
from embed_assets.evaluation.systems import LATE, base_and_tuned, late_interaction_of
from embed_assets.lineage import open_published
from embed_assets.models.hardware import Compute
from embed_assets.models.settings import BaseModelSettings
from embed_assets.production.published import without_fine_tuning
from embed_assets.production.published_index import PublishingError
from embed_assets.production.search import IndexSearch
from embed_assets.queries.settings import IDENTIFIERS
from embed_assets.settings import read_settings
from embed_assets.text.near_duplicates import normalize_queries, normalize_query
from embed_assets.text.settings import IdentifierSettings

logger = logging.getLogger(__name__)
BASE, TUNED, HYBRID, PRODUCTION = "base", "tuned", "hybrid", "in production"
SHOWN = (BASE, TUNED, BM25, HYBRID, LATE, PRODUCTION)
DEPTH = 100
EXAMPLES = 6


@dataclass(frozen=True)
class SystemHit:
    """One chunk that a system found.

    Args:
        rank: its place, counted from 1.
        chunk_id, document_id, passage: the chunk.
        moved: how many places it stands higher than in the base model's hits; None where that has it not in its first 100.
        relevant: whether a label of this query says that it is an answer.
    """

    rank: int
    chunk_id: str
    document_id: str
    passage: str
    moved: int | None
    relevant: bool


@dataclass(frozen=True)
class Answer:
    """What one system found for a query.

    Args:
        system: its name.
        about: what it is, in a few words; ``why`` has more, where there is more to say.
        score: its nDCG@10 on the test queries of the deciding source; None where it was not scored.
        hits: best first.
        problem: why it could not be asked, else empty.
    """

    system: str
    about: str
    score: float | None
    hits: list[SystemHit]
    problem: str = ""
    why: str = ""


@dataclass(frozen=True)
class Example:
    """A test query, and its nDCG@10 with the fine-tuned model less that with the base model."""

    query: str
    difference: float


class SideBySide:
    """All systems of a collection over the chunks that they were scored on.

    Args:
        workspace: where data and results lie.
        collection: name of the collection.
        compute: where to encode.

    Raises:
        MissingArtifactError: the collection has no scores yet; the message says what makes them.
    """

    def __init__(self, workspace: Workspace, collection: str, compute: Compute = Compute("cpu")):
        store = workspace.store
        scores = store.current("beir_scores", collection)
        made_of = {
            name: store.find_content(name, collection, scores.manifest["inputs"][name])
            for name in ("corpus_chunks", "evaluation_set", "checkpoint")
        }
        settings = scores.manifest["settings"]
        base_model = BaseModelSettings.model_validate(settings["base_model"])
        self.collection = collection
        self.chunks = pl.read_parquet(made_of["corpus_chunks"].folder / "chunks.parquet")
        self.language = language_of(self.chunks)
        self._passages = dict(self.chunks.select("chunk_id", "passage").iter_rows())
        self.summaries = read_summaries(scores.folder)
        self.source = deciding_source({summary["labels"]: summary["queries"] for summary in self.summaries})
        self._per_query = pl.read_parquet(scores.folder / "per_query.parquet")
        self._queries, self._labels = read_evaluation_set(made_of["evaluation_set"].folder, made_of["corpus_chunks"].folder)
        self._weight, _ = weight_for_search(self.summaries)
        logger.info("%s: encoding %d chunks, as far as they are new to the models", collection, len(self.chunks))
        models = (base_model, made_of["checkpoint"], workspace.memos, compute)
        encoders = base_and_tuned(*models)
        self.patterns = IdentifierSettings.model_validate(settings.get(IDENTIFIERS, {})).all_patterns
        self._systems = Systems(self.chunks, encoders, True, self.patterns)
        for encoder in encoders.values():
            encoder.load()
        self._late: dict[str, RerankedSystem] = {}
        if any(LATE in summary["systems"] for summary in self.summaries):
            late = LateInteractionSettings.model_validate(settings["late_interaction"])
            self._late = {LATE: RerankedSystem(HYBRID, late_interaction_of(*models), late.top_k, late.weight)}
        now = read_settings(workspace, collection)
        self._published = open_published(workspace, collection)
        self._production = IndexSearch(self._published, now.late_interaction, now.reranking)
        with suppress(PublishingError, MissingArtifactError):  # which the page then tells
            self._production.load()
        self._one_at_a_time = threading.Lock()

    @property
    def names(self) -> list[str]:
        """The systems that can be asked."""
        return [name for name in SHOWN if name != LATE or self._late]

    def search(self, query: str, names: list[str], limit: int = 10) -> list[Answer]:
        """The first hits of the systems, in the order of SHOWN.

        Args:
            query: what to look for.
            names: which systems; ``late`` takes some seconds for passages that it has not compared before.
            limit: how many hits of each.
        """
        with self._one_at_a_time:
            asked = pl.DataFrame({"query_id": ["asked"], "query": [query]})
            late = self._late if LATE in names else {}
            runs = self._systems.rank(asked, {"asked": {}}, False, DEPTH, {HYBRID: (TUNED, self._weight)}, late)
            rows = {name: [int(row) for row in runs[name][0][0] if row >= 0] for name in runs}
            place_of = {self.chunks["chunk_id"][row]: place for place, row in enumerate(rows[BASE], start=1)}
            relevant = self._answers(query)
            answers = []
            for name in self.names:
                if name not in names:
                    continue
                if name == PRODUCTION:
                    answers.append(self._from_production(query, limit, place_of, relevant))
                else:
                    found = [self.chunks.row(row, named=True) for row in rows[name][:limit]]
                    hits = self._hits([(it["chunk_id"], it["document_id"], it["passage"]) for it in found], place_of, relevant)
                    answers.append(Answer(name, self._about(name), self._score(name), hits))
            return answers

    def examples(self) -> tuple[list[Example], list[Example]]:
        """The test queries of the deciding source that gained most by fine-tuning, and those that lost most."""
        of_source = self._per_query.filter(pl.col("source") == self.source)
        if of_source.is_empty():
            return [], []
        changed = changed_queries(of_source, BASE, TUNED)
        lost, gained = changed.filter(pl.col("difference") < 0), changed.reverse().filter(pl.col("difference") > 0)
        return tuple(  # type: ignore[return-value]
            [Example(row["query"], row["difference"]) for row in some.head(EXAMPLES).iter_rows(named=True)]
            for some in (gained, lost)
        )

    def spread(self) -> tuple[str, PairedDifference] | None:
        """Between the two hybrids: the label source that decides, and the difference on its queries; None without queries."""
        of_source = self._per_query.filter(pl.col("source") == self.source)
        found = paired_by_query(of_source, HYBRID, "hybrid_base", ScoringSettings(resamples=100))
        return None if found is None or self.source is None else (self.source, found)

    def in_production(self) -> str:
        """What is in production and since when, in words; empty where nothing is."""
        described = self._published.describe()
        model = described.get("model_in_production", "none")
        if model == "none":
            return ""
        name = model if without_fine_tuning(self._published) else f"the checkpoint {model[:12]}"
        return f"{name}, since {described['in_production_since']}"

    def _hits(self, found: list[tuple[str, str, str]], place_of: Mapping[str, int], relevant: set[str]) -> list[SystemHit]:
        hits = []
        for rank, (chunk_id, document_id, passage) in enumerate(found, start=1):
            moved = place_of[chunk_id] - rank if chunk_id in place_of else None
            hits.append(SystemHit(rank, chunk_id, document_id, passage, moved, bool(relevant & {chunk_id, document_id})))
        return hits

    def _from_production(self, query: str, limit: int, place_of: Mapping[str, int], relevant: set[str]) -> Answer:
        try:
            why = without_fine_tuning(self._published)
            found = [
                (hit.chunk_id, hit.document_id, self._passages.get(hit.chunk_id, hit.text))
                for hit in self._production.search(query, limit=limit)
            ]
        except (PublishingError, MissingArtifactError) as error:
            return Answer(PRODUCTION, "", None, [], hide_secrets(error))
        about = "the base model, hybrid" if why else "the fine-tuned model, hybrid"
        return Answer(PRODUCTION, about, None, self._hits(found, place_of, relevant), why=why)

    def _answers(self, query: str) -> set[str]:
        """The documents and chunks that labels of the same query name."""
        normal = normalize_query(query)
        same = self._queries.filter(normalize_queries(self._queries["query"]) == normal)
        found: set[str] = set()
        for (source,), queries in same.group_by("source"):
            units = relevant_units(queries, self._labels, self.chunks, by_document=source == HUMAN)
            found.update(unit for of_query in units.values() for unit in of_query)
        return found

    def _about(self, name: str) -> str:
        return {
            BASE: "the model before fine-tuning",
            TUNED: "the fine-tuned model",
            BM25: "words alone",
            HYBRID: f"{self._weight:g} of tuned, {1 - self._weight:.2g} of BM25",
            LATE: "hybrid, re-ordered token by token",
        }[name]

    def _score(self, name: str) -> float | None:
        for summary in self.summaries:
            if summary["labels"] == self.source and name in summary["systems"]:
                return summary["systems"][name][HEADLINE]
        return None
