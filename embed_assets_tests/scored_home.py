"""A home with a scored collection, made in a second: real chunks, a tiny model as the checkpoint, and the real base model."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import polars as pl

from embed_assets.artifacts.blocks import content_of
from embed_assets.artifacts.store import Artifact
from embed_assets.artifacts.workspace import Workspace
from embed_assets.evaluation.evaluation_set import LABEL_SCHEMA, QUERY_SCHEMA
from embed_assets.evaluation.runs import RerankedSystem
from embed_assets.evaluation.scoring import Contest, LabelledCollection, score_systems, write_scored
from embed_assets.evaluation.systems import base_and_tuned, late_interaction_of
from embed_assets.models.hardware import Compute
from embed_assets.settings import Settings, read_settings
from embed_assets_tests.sample_documents import DOCUMENTS, ask
from embed_assets_tests.small_collections import write_collection
from embed_assets_tests.tiny_models import write_model

NAME = "house"
CPU = Compute("cpu")
QUESTION = "how does the dough rise"
ASKED = {
    QUESTION: "bread.md",
    "when does the orchestra tune to the oboe": "orchestra.md",
    "E4012": "pump.md",
    "brewed drink": "coffee.md",
    "astronomy": "comet.md",
    "flowers": "garden.md",
}


class ScoredHome:
    """The collection ``house``: its chunks, labels, checkpoint and scores; nothing is in production.

    Args:
        folder: gets data/ and home/.
        chunks: of the twelve documents.
        memos: where embeddings are kept.
        write_scores: writes beir_scores; None: it is really scored.
    """

    def __init__(self, folder: Path, chunks: pl.DataFrame, memos: Path, write_scores: Callable[[Path, Path], None] | None = None):
        self.place = Workspace(folder / "data", folder / "home")
        self.place.home.mkdir(parents=True)
        (self.place.home / "memos").symlink_to(memos)
        self.folder = self.place.data / "collections" / NAME
        write_collection(self.folder, {it.document_id: it.text for it in DOCUMENTS})
        self.write_settings(max_tokens=48)
        self.chunks, self.model = chunks, write_model(folder / "tiny", "bert")
        inputs = {"corpus_chunks": self.build("corpus_chunks", self.write_corpus).digest}
        inputs["evaluation_set"] = self.build("evaluation_set", self._write_labels).digest
        self.build("qa_pairs", self._write_pairs)
        inputs["checkpoint"] = self.build("checkpoint", lambda folder, _: shutil.copytree(self.model, folder / "model")).digest
        self.build("beir_scores", write_scores or self._score, inputs)

    @property
    def settings(self) -> Settings:
        return read_settings(self.place, NAME)

    def write_settings(self, **base_model: object) -> None:
        settings = {"publishing": {"uri": "published"}, "base_model": base_model, "scoring": {"resamples": 100}}
        (self.folder / "settings.yaml").write_text(json.dumps(settings))

    def build(
        self, asset: str, write: Callable[[Path, Path], object], inputs: dict[str, str] | None = None, code_version: str = "1"
    ) -> Artifact:
        settings = {name: content_of(block) for name, block in self.settings}
        made_of = {"code_version": code_version, "settings": settings, "inputs": inputs or {}, "sources": {}}
        return self.place.store.build(asset, NAME, made_of, write)

    def write_corpus(self, folder: Path, scratch: Path) -> None:
        self.chunks.write_parquet(folder / "chunks.parquet")
        texts = [(it.document_id, it.title, it.text) for it in DOCUMENTS]
        pl.DataFrame(texts, schema=["document_id", "title", "text"], orient="row").write_parquet(folder / "documents.parquet")

    def _write_labels(self, folder: Path, scratch: Path) -> None:
        asked = [(f"q{number}", query, "", "human", "test") for number, query in enumerate(ASKED)]
        answers = [(f"q{number}", document, None, None, None, 1) for number, document in enumerate(ASKED.values())]
        pl.DataFrame(asked, schema=QUERY_SCHEMA, orient="row").write_parquet(folder / "queries.parquet")
        pl.DataFrame(answers, schema=LABEL_SCHEMA, orient="row").write_parquet(folder / "labels.parquet")

    def _write_pairs(self, folder: Path, scratch: Path) -> None:
        asked = (("why does the loaf brown", "bread.md"), ("who greases <b>the pump</b>", "pump.md"))
        written = ask(self.chunks, *asked, writer="model")
        looked_up = ask(self.chunks, ("PRT-7719", "printer.md"), writer="text")
        pl.concat([written, looked_up]).write_parquet(folder / "pairs.parquet")

    def _score(self, folder: Path, scratch: Path) -> None:
        store, settings = self.place.store, self.settings
        corpus, labels, checkpoint = (store.current(name, NAME) for name in ("corpus_chunks", "evaluation_set", "checkpoint"))
        models = (settings.base_model, checkpoint, self.place.memos, CPU)
        by_tokens = settings.late_interaction
        late = RerankedSystem("hybrid", late_interaction_of(*models), by_tokens.top_k, by_tokens.weight)
        contest = Contest(
            base_and_tuned(*models),
            hybrids={"hybrid_base": "base", "hybrid": "tuned"},
            reranked={"late": late},
            comparisons=[("tuned", "base"), ("hybrid", "hybrid_base")],
        )
        labelled = LabelledCollection.read(NAME, corpus.folder, labels.folder)
        write_scored(folder, score_systems(labelled, contest, settings.scoring))
