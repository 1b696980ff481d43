import pytest

from embed_assets.corpus.spans import CHUNK_SCHEMA
from embed_assets.evaluation.evaluation_set import LABEL_SCHEMA, QUERY_SCHEMA
from embed_assets.evaluation.metrics import METRICS
from embed_assets.evaluation.scoring import PER_QUERY_SCHEMA
from embed_assets.reports.columns import description_of
from embed_assets.training.evaluator import DEV_METRIC

KEPT_PAIRS = ("query_id", "query", "style", "writer", "document_id", "start", "end", "answer")
TRIPLETS = (
    "split",
    "source",
    "anchor",
    "positive",
    "negative_1",
    "negative_12",
    "positive_chunk",
    "negative_documents",
    "answers",
)


@pytest.mark.parametrize(
    "columns", [CHUNK_SCHEMA, KEPT_PAIRS, QUERY_SCHEMA, LABEL_SCHEMA, TRIPLETS, PER_QUERY_SCHEMA, METRICS, (DEV_METRIC,)]
)
def test_every_column_of_our_tables_is_described(columns):
    assert [column for column in columns if not description_of(column)] == []


def test_a_column_of_others_is_not():
    assert description_of("department") is None and description_of("negative_") is None
