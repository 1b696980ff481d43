"""Mining and scoring with the passages' vectors in shards on two nodes: the results of one process, to the last digit."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl
import pytest

from embed_assets.cluster.ray_cluster import Cluster
from embed_assets.evaluation.evaluation_set import LABEL_SCHEMA, QUERY_SCHEMA
from embed_assets.evaluation.scoring import Contest, LabelledCollection, score_systems
from embed_assets.evaluation.settings import ScoringSettings
from embed_assets.models.encoders import Encoder
from embed_assets.models.hardware import Compute
from embed_assets.models.settings import BaseModelSettings
from embed_assets.retrieval import dense, hybrid, ranking, shards
from embed_assets.retrieval.hybrid import HybridRetriever
from embed_assets.training.negatives import mine_hard_negatives
from embed_assets.training.settings import NegativesSettings
from embed_assets_tests.cluster.conftest import TwoNodes, processes, wait_until

pytestmark = pytest.mark.slow

ON_TWO = Cluster(2, 0, 1)
ACTOR = "ray::Actor"
PARTS = [f"{name} {number}" for number in range(400) for name in ("valve", "gasket", "bearing", "pump")]
# Four chunks a document, and every tenth text stands twice, so that cosines tie.
CHUNKS = pl.DataFrame(
    [
        {
            "chunk_id": f"{number}",
            "document_id": f"{number // 4}.md",
            "start": number % 4 * 100,
            "end": number % 4 * 100 + 90,
            "passage": f"The {PARTS[number - number % 10 // 9]} is made of brass, and the {part} lies on shelf {number % 37}.",
            "language": "en",
        }
        for number, part in enumerate(PARTS)
    ]
).with_columns(text="passage")
ASKED = [f"where is the {part}" for part in PARTS[::8]]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    return Encoder(BaseModelSettings(max_tokens=48), tmp_path_factory.mktemp("memos"), compute=Compute("cpu"))


@pytest.fixture
def small(nodes: TwoNodes, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Four shards of 400 passages, for blocks of a few queries; whatever was asked of workers."""
    monkeypatch.setattr(shards, "LEAST_PAIRS", 1)
    monkeypatch.setattr(shards, "LEAST_IN_A_SHARD", 1)
    monkeypatch.setattr(shards, "MOST_IN_A_SHARD", 400)
    # As much as a worker has at once: on some processors the last bits of a product depend on that.
    monkeypatch.setattr(shards, "STEP", 400)
    monkeypatch.setattr(dense, "PASSAGES_AT_ONCE", 400)
    monkeypatch.setattr(ranking, "QUERIES_IN_A_BLOCK", 30)
    monkeypatch.setattr(hybrid, "QUERIES_IN_A_BLOCK", 30)
    asked, answer = [], shards.Workers.answer

    def note(*given: Any, **named: Any) -> Any:
        for result in answer(*given, **named):
            asked.append(result)
            yield result

    monkeypatch.setattr(shards.Workers, "answer", note)
    yield asked
    wait_until(lambda: not processes(ACTOR))


def test_hard_negatives_are_those_of_one_process(small: list[Any], encoder: Encoder):
    rows = CHUNKS[::8].with_columns(
        query_id=pl.col("chunk_id"), query=pl.Series(ASKED), split=pl.lit("train"), style=pl.lit("question"), writer=pl.lit("w")
    )
    # Some find too few below the margin, so that others are drawn.
    settings = NegativesSettings(per_query=5, margin=0.9, top_k=20, cross_encoder="")
    here = mine_hard_negatives(rows, CHUNKS, encoder, settings)
    assert not small and 0 < here[1]["drawn at random"] < 5 * len(rows)
    there = mine_hard_negatives(rows, CHUNKS, encoder, settings, compute=Compute(device="cpu", cluster=ON_TWO))
    assert there[0].equals(here[0]) and there[1] == here[1]
    assert len(small) == 4 * 7


def test_a_worker_that_is_killed_changes_nothing(
    small: list[Any], encoder: Encoder, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(hybrid, "QUERIES_IN_A_BLOCK", 2)  # 400 answers of workers, most of which are still to come
    passages = CHUNKS["passage"].to_list()
    here = HybridRetriever(encoder, passages).search(ASKED, 20)
    there = HybridRetriever(encoder, passages, compute=Compute(device="cpu", cluster=ON_TWO)).search(ASKED, 20)
    for number, (ours, theirs) in enumerate(zip(there, here, strict=True)):
        assert ours.start == theirs.start and np.array_equal(ours.found, theirs.found)
        assert np.array_equal(ours.cosines.at(ours.found), theirs.cosines.at(ours.found))
        if number == 1:
            processes(ACTOR)[0].kill()
    assert "a worker was lost, another one takes its place" in caplog.text


@pytest.mark.parametrize("source", ["human", "synthetic"])
def test_scores_are_those_of_one_process(small: list[Any], encoder: Encoder, source: str):
    asked = [(f"q{number}", query) for number, query in enumerate(ASKED)]
    splits = [("dev", "test")[number % 2] for number in range(len(asked))]
    rows = [(*query, "", source, split) for query, split in zip(asked, splits, strict=True)]
    queries = pl.DataFrame(rows, schema=QUERY_SCHEMA, orient="row")
    places = CHUNKS[::8].select("document_id", "start", "end").rows()
    spans = [(document, *((None, None) if source == "human" else place)) for document, *place in places]
    found = [(name, *span, None, 1) for (name, _), span in zip(asked, spans, strict=True)]
    labels = pl.DataFrame(found, schema=LABEL_SCHEMA, orient="row")
    labelled = LabelledCollection("parts", CHUNKS, queries, labels)
    systems = (labelled, Contest({"base": encoder}, hybrids={"hybrid": "base"}), ScoringSettings(resamples=100))
    here = score_systems(*systems)
    assert not small
    there = score_systems(*systems, cluster=ON_TWO)
    assert len(small) == 4 * (4 + 4)
    for ours, theirs in zip(there, here, strict=True):
        assert ours.runs.equals(theirs.runs) and ours.per_query.equals(theirs.per_query) and ours.summary == theirs.summary
