from pathlib import Path

import polars as pl
import pytest

from embed_assets.benchmarks.chunking import Cutting, benchmark_chunking
from embed_assets.benchmarks.late_interaction import benchmark_late_interaction
from embed_assets.benchmarks.mining import Mining, benchmark_mining, enlarged
from embed_assets.benchmarks.questions import asked
from embed_assets.corpus.settings import ChunkingSettings, DocumentsSettings
from embed_assets.models.hardware import Compute
from embed_assets.models.settings import BaseModelSettings
from embed_assets.queries.prompts import load_question_prompts
from embed_assets.queries.settings import QuestionsSettings
from embed_assets.reports.charts import draw_growth
from embed_assets.training.settings import NegativesSettings
from embed_assets_tests.small_collections import ROUTERS, write_collection
from embed_assets_tests.training.test_negatives import QUESTIONS, TEXTS, make_chunks, make_pairs


@pytest.mark.long
def test_chunking_is_measured_against_the_splitter_alone(tmp_path):
    write_collection(tmp_path, ROUTERS)
    table = benchmark_chunking(Cutting(tmp_path, BaseModelSettings(), DocumentsSettings(), ChunkingSettings()))
    assert table["system"].to_list() == ["semantic-text-splitter", "embed_assets, read before", "embed_assets"]
    assert table["chunks"].to_list() == [len(ROUTERS)] * 3 and table["ratio"][0] == 1


def test_the_writer_is_measured_with_the_prompts_that_it_gets():
    settings = QuestionsSettings()
    chunks = make_chunks({name: [" ".join(parts * 5)] for name, parts in TEXTS.items()})
    texts, seeds, _ = asked(chunks, load_question_prompts(settings, []), settings, None)
    assert len(texts) == len(seeds) > len(chunks)
    assert not any("language of" in text for text in texts), "English prompts name no language"


@pytest.mark.slow
def test_mining_is_measured_against_sentence_transformers_on_the_same_task():
    settings, model = NegativesSettings(top_k=5), BaseModelSettings(max_tokens=32)
    task = Mining(make_chunks(TEXTS), make_pairs(QUESTIONS), model, settings, Compute(device="cpu", batch_size=4))
    table = benchmark_mining(task)
    assert table["system"].to_list() == ["sentence-transformers", "embed_assets", "embed_assets, encoded before"]
    assert table["ratio"][0] == 1
    assert table["cpu_seconds"][2] < table["cpu_seconds"][1], "what is encoded already is not encoded again"
    assert table["complete"].is_between(0.5, 1).all()
    # A Python process with torch and the model has some hundred MB.
    assert table["peak_memory_mb"].is_between(200, 10_000).all()
    assert (table["memory_of_mining_mb"] < table["peak_memory_mb"]).all()


@pytest.mark.slow
def test_mining_of_a_larger_collection_with_given_vectors_is_measured_alone_and_beside_the_library(tmp_path: Path):
    settings, model = NegativesSettings(top_k=5), BaseModelSettings(max_tokens=32)
    small = Mining(make_chunks(TEXTS), make_pairs(QUESTIONS), model, settings)
    task = enlarged(small, 40, 20)
    assert task.chunks.height == 40 and task.chunks["passage"].n_unique() > 30 and task.pairs.height == 20
    both, alone = benchmark_mining(task), benchmark_mining(task, alone=True)
    assert both["system"].to_list() == ["sentence-transformers", "embed_assets"]
    assert alone["system"].to_list() == ["embed_assets"] and "ratio" not in alone.columns
    assert alone["complete"][0] == both["complete"][1] and alone["chunks"].to_list() == [40]
    draw_growth(tmp_path / "chart.png", "20 queries", pl.concat([both, benchmark_mining(enlarged(small, 80, 20))]))
    assert (tmp_path / "chart.png").stat().st_size > 5000


@pytest.mark.long
def test_late_interaction_is_measured_against_sentence_transformers():
    queries = [query for query, *_ in QUESTIONS]
    table = benchmark_late_interaction(
        queries, make_chunks(TEXTS)["passage"].to_list(), BaseModelSettings(max_tokens=32), Compute(device="cpu", batch_size=4)
    )
    candidates = f"encoding {len(make_chunks(TEXTS))} candidates"
    assert table["system"].to_list() == ["sentence-transformers", "sentence-transformers, float32", "embed_assets", candidates]
    assert (table["ms_per_query"] > 0).all() and table["ratio"][0] == 1
    assert table["largest_difference"][1] == 0 and table["largest_difference"][2] < 1e-3
