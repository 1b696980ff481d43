import json
from pathlib import Path

import polars as pl
import pytest
import pytrec_eval
from click.testing import CliRunner

from embed_assets.artifacts.store import REPORT
from embed_assets.artifacts.workspace import Workspace
from embed_assets.cli.main import main
from embed_assets.corpus.beir import read_qrels, read_queries
from embed_assets.corpus.settings import DocumentsSettings
from embed_assets.corpus.spans import CHUNK_SCHEMA
from embed_assets.evaluation.beir_export import export_beir
from embed_assets.evaluation.evaluation_set import LABEL_SCHEMA, QUERY_SCHEMA
from embed_assets.evaluation.human_labels import read_human_labels
from embed_assets.evaluation.rag_export import rag_rows
from embed_assets.evaluation.scoring import Contest, LabelledCollection, join_scores, score_systems
from embed_assets.evaluation.sdg_export import export_sdg
from embed_assets.evaluation.settings import ScoringSettings
from embed_assets_tests.corpus.at_once import read_documents
from embed_assets_tests.evaluation.test_scoring import TableEncoder, ranking

DOCUMENTS = pl.DataFrame(
    {
        "document_id": ["animals/cat page.md", "dog.md", "bee.md"],
        "title": ["Cats", "Dogs", ""],
        "text": ["Cats purr.\nCats \"sleep\".", "Dogs bark\tloudly.", "Bees hum – in ümlaut."],
    }
)  # fmt: skip
CHUNKS = pl.DataFrame(
    [
        ("animals/cat page.md::0", "animals/cat page.md", 0, 10, "Cats purr.", "Cats\nCats purr.", 2),
        ("animals/cat page.md::1", "animals/cat page.md", 11, 24, 'Cats "sleep".', 'Cats\nCats "sleep".', 2),
        ("dog.md::0", "dog.md", 0, 17, "Dogs bark\tloudly.", "Dogs\nDogs bark\tloudly.", 3),
        ("bee.md::0", "bee.md", 0, 21, "Bees hum – in ümlaut.", "Bees hum – in ümlaut.", 4),
    ],
    schema=CHUNK_SCHEMA,
    orient="row",
)
QUERIES = pl.DataFrame(
    [
        ("h1", "pets", "", "human", "test"),
        ("h2", "who hums", "question", "human", "test"),
        ("s1", "who purrs", "question", "synthetic", "test"),
        ("s2", "who sleeps", "question", "synthetic", "test"),
        ("s3", "loud", "keyword", "synthetic", "dev"),
        ("s4", "its label is gone", "keyword", "synthetic", "test"),
    ],
    schema=QUERY_SCHEMA,
    orient="row",
)
LABELS = pl.DataFrame(
    [
        ("h1", "animals/cat page.md", None, None, None, 2),
        ("h1", "dog.md", None, None, None, 1),
        ("h2", "bee.md", None, None, None, 1),
        ("s1", "animals/cat page.md", 0, 10, "Cats purr.", 1),
        ("s2", "animals/cat page.md", 0, 24, None, 1),
        ("s2", "dog.md", 900, 910, None, 1),
        ("s3", "dog.md", 0, 17, None, 1),
        ("s4", "dog.md", 900, 910, None, 1),
    ],
    schema=LABEL_SCHEMA,
    orient="row",
)
TRIPLETS = pl.DataFrame(
    {
        "query_id": ["t1", "t2", "t2", "t3"],
        "split": ["train", "train", "train", "dev"],
        "style": ["sentence"] * 4,
        "anchor": ["bees that hum", "cats and dogs", "cats and dogs", "bark"],
        "positive": [""] * 4,
        "negative_1": [""] * 4,
        "positive_chunk": ["bee.md::0", "animals/cat page.md::1", "dog.md::0", "dog.md::0"],
    }
)
ENCODER = TableEncoder(
    {
        "pets": ranking("Dogs\nDogs bark\tloudly.", "Bees hum – in ümlaut.", "Cats\nCats purr."),
        "who hums": ranking("Dogs\nDogs bark\tloudly.", "Bees hum – in ümlaut."),
        "who purrs": dict.fromkeys(CHUNKS["passage"], 0.5),
        "who sleeps": ranking("Dogs\nDogs bark\tloudly.", 'Cats\nCats "sleep".', "Cats\nCats purr."),
        "its label is gone": dict.fromkeys(CHUNKS["passage"], 0.5),
    }
)


@pytest.fixture(scope="module")
def scores():
    settings = ScoringSettings(resamples=100)
    return score_systems(
        LabelledCollection("animals", CHUNKS, QUERIES, LABELS), Contest({"base": ENCODER}, hybrids={"hybrid": "base"}), settings
    )


@pytest.fixture(scope="module")
def exported(tmp_path_factory, scores) -> Path:
    folder = tmp_path_factory.mktemp("parent") / "new" / "export"
    counts = export_beir(folder, DOCUMENTS, CHUNKS, TRIPLETS, QUERIES, LABELS, join_scores(scores)[1])
    assert counts == {
        "human": {"corpus": 3, "train": 2, "dev": 0, "test": 2},
        "synthetic": {"corpus": 4, "train": 2, "dev": 1, "test": 3},
    }
    return folder


def trec_run(path: Path) -> dict[str, dict[str, float]]:
    with path.open() as stream:
        return pytrec_eval.parse_run(stream)


def qrels_of(path: Path) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for line in path.read_text().splitlines()[1:]:
        query, unit, relevance = line.split("\t")
        found.setdefault(query, {})[unit] = int(relevance)
    return found


def test_the_corpus_of_human_labels_is_documents_and_that_of_the_others_chunks(exported):
    documents, _ = read_documents(exported / "human", DocumentsSettings())
    expected = [(name.replace(" ", "%20"), title, text) for name, title, text in DOCUMENTS.iter_rows()]
    assert [(document.document_id, document.title, document.text) for document in documents] == expected
    chunks, _ = read_documents(exported / "synthetic", DocumentsSettings())
    assert [chunk.text for chunk in chunks] == CHUNKS["passage"].to_list()


def test_labels_read_back_as_they_were(exported):
    names = [name.replace(" ", "%20") for name in DOCUMENTS["document_id"]]
    queries, labels, notes = read_human_labels(exported / "human", names)
    human = QUERIES.filter(pl.col("source") == "human")
    assert queries.filter(pl.col("query_id").is_in(human["query_id"].to_list())).sort("query_id").equals(human)
    expected = [("h1", "animals/cat%20page.md", 2), ("h1", "dog.md", 1), ("h2", "bee.md", 1)]
    assert labels.select("query_id", "document_id", "relevance").rows() == expected and notes == []


def test_train_holds_what_is_trained_on_and_dev_the_dev_queries(exported):
    def rows(source: str, split: str) -> list:
        queries = read_queries(exported / source / "queries.jsonl")
        found = read_qrels(exported / source / "qrels" / f"{split}.tsv")
        return [(queries[query][0], unit) for query, unit, _ in found]

    assert rows("human", "train") == [
        ("bees that hum", "bee.md"), ("cats and dogs", "animals/cat%20page.md"), ("cats and dogs", "dog.md")
    ]  # fmt: skip
    assert rows("synthetic", "train") == [
        ("bees that hum", "bee.md::0"), ("cats and dogs", "animals/cat%20page.md::1"), ("cats and dogs", "dog.md::0")
    ]  # fmt: skip
    assert rows("synthetic", "dev") == [("loud", "dog.md::0")]
    assert not (exported / "human" / "qrels" / "dev.tsv").exists()


def test_trec_eval_finds_the_scores_that_we_found(exported, scores):
    """Even where all scores of a query are equal, and where a label points to nothing any more."""
    for score in scores:
        source = score.summary["labels"]
        qrels = qrels_of(exported / source / "qrels" / "test.tsv")
        for system, means in score.summary["systems"].items():
            run = trec_run(exported / "runs" / f"{source}-{system}.trec")
            found = pytrec_eval.RelevanceEvaluator(qrels, {"ndcg_cut.10"}).evaluate(run)
            mean = sum(row["ndcg_cut_10"] for row in found.values()) / len(qrels)
            assert len(qrels) == score.summary["queries"] and mean == pytest.approx(means["ndcg@10"], abs=1e-6)
    assert 0 < scores[0].summary["systems"]["base"]["ndcg@10"] < 1


def test_each_part_is_a_collection(exported):
    assert list(Workspace(exported, exported).collections()) == ["human", "synthetic"]
    assert list(Workspace(exported / "human", exported).collections()) == ["human"]


def test_a_folder_with_something_in_it_is_left_alone(tmp_path, scores):
    (tmp_path / "mine.txt").write_text("keep me")
    with pytest.raises(FileExistsError, match="not empty"):
        export_beir(tmp_path, DOCUMENTS, CHUNKS, TRIPLETS, QUERIES, LABELS, join_scores(scores)[1])
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_failed_export_leaves_nothing(tmp_path, scores):
    with pytest.raises(pl.exceptions.PolarsError):
        export_beir(tmp_path / "x", DOCUMENTS, CHUNKS, TRIPLETS, QUERIES, LABELS, join_scores(scores)[1].drop("rank"))
    assert list(tmp_path.iterdir()) == []


def test_the_command_says_what_to_build_first(workspace_folder):
    documents = workspace_folder / "data" / "collections" / "animals" / "documents"
    documents.mkdir(parents=True)
    (documents / "cat.md").write_text("Cats purr.")
    result = CliRunner().invoke(main, ["export-beir", "animals", str(workspace_folder / "out")])
    assert result.exit_code == 1 and "materialize it first" in result.output and not (workspace_folder / "out").exists()


def test_the_command_writes_what_is_built(workspace_folder, scores):
    data = workspace_folder / "data" / "collections" / "animals" / "documents"
    data.mkdir(parents=True)
    (data / "cat.md").write_text("Cats purr.")
    tables = {
        "corpus_chunks": {"documents": DOCUMENTS, "chunks": CHUNKS},
        "triplets": {"triplets": TRIPLETS},
        "evaluation_set": {"queries": QUERIES, "labels": LABELS.with_columns(text=None)},
        "beir_scores": {"runs": join_scores(scores)[1]},
    }
    store = Workspace(workspace_folder / "data", workspace_folder / "home").store
    for asset, of_asset in tables.items():
        store.build(
            asset,
            "animals",
            {},
            lambda folder, scratch, of_asset=of_asset: [
                table.write_parquet(folder / f"{name}.parquet") for name, table in of_asset.items()
            ],
        )
    result = CliRunner().invoke(main, ["export-beir", "animals", str(workspace_folder / "out")])
    assert result.exit_code == 0, result.output
    assert f"{workspace_folder / 'out' / 'human'}: corpus 3, train 2, dev 0, test 2" in result.output
    first = json.loads((workspace_folder / "out" / "human" / "corpus.jsonl").read_text().splitlines()[0])
    assert first == {"_id": "animals/cat%20page.md", "title": "Cats", "text": 'Cats purr.\nCats "sleep".'}


def test_answers_go_into_the_metadata_of_their_queries(tmp_path, scores):
    runs = join_scores(scores)[1]
    export_beir(tmp_path / "new", DOCUMENTS, CHUNKS, TRIPLETS, QUERIES, LABELS, runs, {"s1": "Cats do.", "t1": "Bees."})
    lines = [json.loads(line) for line in (tmp_path / "new/synthetic/queries.jsonl").read_text().splitlines()]
    metadata = {line["_id"]: line["metadata"] for line in lines}
    assert metadata["s1"] == {"style": "question", "answer": "Cats do."} and metadata["t1"]["answer"] == "Bees."
    assert metadata["s2"] == {"style": "question"}


def test_questions_for_rag_evaluation_have_what_was_found_and_what_answers_them(scores):
    runs = join_scores(scores)[1]
    rows = list(rag_rows(QUERIES, LABELS, CHUNKS, runs, {"s1": "Cats do."}, contexts=2))
    assert [row["question"] for row in rows] == ["who purrs", "who sleeps"]
    assert rows[0]["ground_truth"] == "Cats do." and "ground_truth" not in rows[1]
    assert rows[0]["reference_contexts"] == ["Cats\nCats purr."]
    best = runs.filter((pl.col("system") == "hybrid") & (pl.col("query_id") == "s2")).sort("rank")["unit"].to_list()
    passage_of = dict(CHUNKS.select("chunk_id", "passage").iter_rows())
    assert rows[1]["contexts"] == [passage_of[unit] for unit in best[:2]] and len(rows[1]["contexts"]) == 2
    other = list(rag_rows(QUERIES, LABELS, CHUNKS, runs, {}, contexts=1, system="base"))
    assert [len(row["contexts"]) for row in other] == [1, 1] and rows[0]["query_id"] == "s1"


def test_the_recipe_s_files_name_passages_of_their_corpus(tmp_path):
    triplets = TRIPLETS.with_columns(negative_chunks=pl.Series([["dog.md::0"]] * len(TRIPLETS)))
    spans = {"query_id": "t1", "query": "bees that hum", "style": "sentence", "document_id": "bee.md", "start": 0, "end": 21}
    rest = {"answer": None, "reasoning_type": None, "complexity": None, "judge_score": None}
    # A query that is held out for the test is none to train on.
    pairs = pl.DataFrame([spans | rest, spans | rest | {"query_id": "s1", "query": "who purrs"}])
    counts = export_sdg(tmp_path / "new", "animals", pairs, CHUNKS, triplets)
    assert counts == {"records": 1, "train": 2, "val": 1, "corpus": 4}
    corpus = pl.read_parquet(tmp_path / "new/corpus/train.parquet")
    train = json.loads((tmp_path / "new/train.json").read_text())
    assert train["corpus"] == {"path": "./corpus/"} and set(corpus.columns) == {"id", "text"}
    bees, both = train["data"]
    assert (bees["question"], bees["pos_doc"], bees["neg_doc"]) == ("bees that hum", [{"id": "bee.md::0"}], [{"id": "dog.md::0"}])
    # The dog is an answer to the second query, and so no negative of it.
    assert [it["id"] for it in both["pos_doc"]] == ["animals/cat page.md::1", "dog.md::0"] and both["neg_doc"] == []
    assert json.loads((tmp_path / "new/corpus/merlin_metadata.json").read_text()) == {
        "corpus_id": "animals",
        "class": "TextQADataset",
    }
    with pytest.raises(FileExistsError):
        export_sdg(tmp_path / "new", "animals", pairs, CHUNKS, triplets)


def test_the_recipe_s_files_are_of_the_documents_that_were_trained_on(workspace_folder):
    documents = workspace_folder / "data" / "collections" / "animals" / "documents"
    documents.mkdir(parents=True)
    (documents / "cat.md").write_text("Cats purr.")
    store = Workspace(workspace_folder / "data", workspace_folder / "home").store

    def build(asset: str, name: str, table: pl.DataFrame, inputs: dict[str, str]) -> str:
        def write(folder: Path, scratch: Path) -> None:
            (folder / name).parent.mkdir(exist_ok=True)
            table.write_parquet(folder / name)

        return store.build(asset, "animals", {"inputs": inputs}, write).digest

    spans = {"query_id": "t1", "query": "bees that hum", "style": "sentence", "document_id": "bee.md", "start": 0, "end": 21}
    marks = {"answer": None, "reasoning_type": None, "complexity": None, "judge_score": None, "dropped": None}
    triplets = TRIPLETS.with_columns(negative_chunks=pl.Series([["dog.md::0"]] * len(TRIPLETS)))
    made_of = {"corpus_chunks": build("corpus_chunks", "chunks.parquet", CHUNKS, {})}
    made_of["qa_pairs"] = build("qa_pairs", f"{REPORT}/all_pairs.parquet", pl.DataFrame([spans | marks]), {})
    build("triplets", "triplets.parquet", triplets, made_of)
    build("corpus_chunks", "chunks.parquet", CHUNKS.head(1), {"edited": "since"})
    result = CliRunner().invoke(main, ["export-sdg", "animals", str(workspace_folder / "out")])
    assert result.exit_code == 0 and "records 1, train 2, val 1, corpus 4" in result.output, result.output
