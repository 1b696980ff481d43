import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from embed_assets.evaluation.evaluation_set import LABEL_SCHEMA, QUERY_SCHEMA
from embed_assets.evaluation.reranked_queries import draw_queries
from embed_assets.evaluation.settings import RerankingSettings
from embed_assets.models.hardware import Compute
from embed_assets.models.rerankers import Reranker, load_cross_encoder
from embed_assets.models.settings import BaseModelSettings
from embed_assets.models.weights import BrokenModelError
from embed_assets.training import states
from embed_assets.training.reranker import fine_tune_reranker, labelled_passages
from embed_assets.training.settings import RerankerSettings
from embed_assets_tests.tiny_models import write_model

CPU = Compute(device="cpu", dtype="float32")
BASE_MODEL = BaseModelSettings()
ANSWERS = {
    "pump runs dry": "The pump runs dry when the float switch sticks.",
    "error E4012": "Error E4012 is shown on the panel until it is reset.",
    "dough does not rise": "Bread dough rises faster in a warm kitchen.",
    "crust of the loaf": "Bake the loaf at 250 degrees until the crust is brown.",
    "forgotten password": "Hold the reset button for ten seconds to bring back the factory password.",
    "red light on port 7": "A red light on port 7 means that the module was not recognized.",
    "van for the hotels": "The van leaves at five in the morning for the hotels.",
    "deposit for a wedding cake": "For wedding cakes a deposit of forty percent is asked for.",
    "grease the mixer": "Grease the bowl bearing of the spiral mixer every three months.",
    "fan tray FT-9": "Fan tray FT-9 turns at 12000 revolutions when the intake air is warm.",
    "LIC-77": "Error LIC-77 is shown when the licence of the intrusion detection ran out.",
    "SNMP traps": "The agent sends SNMP traps to at most four receivers.",
}
SETTINGS = RerankerSettings(max_tokens=64, batch_size=2, epochs=5, learning_rate=3e-4)


def make_triplets(negatives: int = 1) -> pl.DataFrame:
    """Each query with its answer and the answers to the next queries; the last two queries are for dev."""
    queries, answers = list(ANSWERS), list(ANSWERS.values())
    columns = {f"negative_{i}": answers[i:] + answers[:i] for i in range(1, negatives + 1)}
    return pl.DataFrame({"anchor": queries, "positive": answers, **columns, "split": ["train"] * 10 + ["dev"] * 2})


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pl.DataFrame]:
    """A re-ranker that was trained from the base model, and its loss curve."""
    folder = tmp_path_factory.mktemp("reranker")
    return folder / "model", fine_tune_reranker(make_triplets(), folder / "model", folder, BASE_MODEL, SETTINGS, CPU)


def margins(model: str | Path, memos: Path) -> np.ndarray:
    """By how much each answer scores higher than the answer to another query."""
    answers = list(ANSWERS.values())
    reranker = Reranker(str(model), memos, CPU, max_tokens=64)
    right = reranker.score(list(ANSWERS.items()))
    return right - reranker.score(list(zip(ANSWERS, answers[3:] + answers[:3], strict=True)))


def test_training_raises_answers_over_other_passages(trained: tuple[Path, pl.DataFrame], tmp_path: Path):
    folder, curve = trained
    untrained = load_cross_encoder(BASE_MODEL.name, "cpu", 64, new_head=True)
    untrained.save_pretrained(str(tmp_path / "untrained"))
    before, after = margins(tmp_path / "untrained", tmp_path), margins(folder, tmp_path)
    assert np.abs(before).max() < 0.5
    assert (after > 0).mean() >= 0.9 and after.mean() > 1
    losses = curve["loss"].drop_nulls()
    assert losses[-1] < losses[0]
    assert len(curve["dev_loss"].drop_nulls()) == SETTINGS.epochs


def test_the_model_is_an_ordinary_cross_encoder_folder(trained: tuple[Path, pl.DataFrame], tmp_path: Path):
    from sentence_transformers import CrossEncoder

    folder, _ = trained
    pair = ("error E4012", ANSWERS["error E4012"])
    probability = CrossEncoder(str(folder), device="cpu").predict([pair])
    logit = Reranker(str(folder), tmp_path, CPU).score([pair])
    assert probability == pytest.approx(1 / (1 + np.exp(-logit)), abs=1e-5)
    assert not [path for path in folder.rglob("*") if path.suffix in (".bin", ".pt", ".pkl")]


@pytest.mark.long
def test_the_same_seed_gives_the_same_model_also_after_an_interruption(trained: tuple[Path, pl.DataFrame], tmp_path: Path):
    folder, curve = trained

    class KilledError(Exception):
        pass

    def stop_at_save(*arguments, **keywords):
        raise KilledError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("transformers.trainer_callback.CallbackHandler.on_save", stop_at_save)
        patch.setattr(states, "BYTES_PER_SECOND", math.inf)  # each state is worth its writing
        with pytest.raises(KilledError):
            fine_tune_reranker(make_triplets(), tmp_path / "model", tmp_path, BASE_MODEL, SETTINGS, CPU)
    state = states.last_state(tmp_path / "trainer")
    assert state is not None and not (tmp_path / "model").exists()
    resumed = fine_tune_reranker(make_triplets(), tmp_path / "model", tmp_path, BASE_MODEL, SETTINGS, CPU)
    assert weights(tmp_path / "model") == weights(folder)
    assert resumed.equals(curve)


@pytest.mark.long
def test_another_seed_gives_another_head(tmp_path: Path):
    settings = RerankerSettings(max_tokens=64, batch_size=4, epochs=0.2, max_examples=4, seed=1)
    heads = []
    for seed in (1, 1, 2):
        folder = tmp_path / f"{len(heads)}"
        chosen = settings.model_copy(update={"seed": seed, "learning_rate": 1e-12})
        fine_tune_reranker(make_triplets(), folder / "model", folder, BASE_MODEL, chosen, CPU)
        heads.append(load_cross_encoder(str(folder / "model"), "cpu", 64).model.classifier.weight.detach().numpy())
    assert np.array_equal(heads[0], heads[1]) and not np.allclose(heads[0], heads[2], atol=1e-3)


def test_a_cross_encoder_can_be_named_and_its_head_is_kept(trained: tuple[Path, pl.DataFrame], tmp_path: Path):
    folder, _ = trained
    settings = SETTINGS.model_copy(update={"name": str(folder), "learning_rate": 1e-12, "epochs": 0.2})
    fine_tune_reranker(make_triplets(), tmp_path / "model", tmp_path, BASE_MODEL, settings, CPU)
    assert margins(tmp_path / "model", tmp_path) == pytest.approx(margins(folder, tmp_path), abs=1e-4)


def test_too_few_triplets_are_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="1 triplets are too few"):
        fine_tune_reranker(make_triplets().head(1), tmp_path / "model", tmp_path, BASE_MODEL, SETTINGS, CPU)


def test_passages_are_the_positives_the_first_hard_negatives_and_random_ones():
    answers = list(ANSWERS.values())
    few = labelled_passages(make_triplets(negatives=3), RerankerSettings(hard_negatives=2, random_negatives=0))
    assert few.row(0) == ("pump runs dry", answers[:3], [1, 0, 0])
    assert len(few) == len(ANSWERS)
    more = labelled_passages(make_triplets(), RerankerSettings(hard_negatives=5, random_negatives=4))
    for (query, passages, labels), answer, negative in zip(more.iter_rows(), answers, answers[1:] + answers[:1], strict=True):
        assert (query, passages[:2], labels[:2]) == (query, [answer, negative], [1, 0])
        assert sum(labels) == 1 and len(set(passages)) == len(passages) <= 6 and set(passages) <= set(answers)


def test_a_query_with_several_answers_is_one_list_and_none_of_them_a_negative():
    positives = [f"p{i}" for i in range(9)]
    triplets = pl.DataFrame({"anchor": ["q"] * 9 + ["r"], "positive": [*positives, "s"], "negative_1": ["n"] * 10})
    q, r = labelled_passages(triplets, RerankerSettings(random_negatives=50)).iter_rows()
    assert (q[0], r[0]) == ("q", "r")
    assert dict(zip(q[1], q[2], strict=True)) == dict.fromkeys(positives, 1) | {"n": 0, "s": 0}
    assert dict(zip(r[1], r[2], strict=True)) == {"s": 1, "n": 0} | dict.fromkeys(positives, 0)


def test_a_passage_that_answers_a_query_by_its_words_or_document_is_no_random_negative():
    rows = [
        ("PX-7", "a", "1", "one", ["1", "2"]),
        ("pump", "b", "2", "two", []),
        ("oven", "c", "3", "one", []),
        ("clock", "d", "4", "four", []),
    ]
    columns = ["anchor", "positive", "positive_chunk", "positive_document", "answers"]
    schema = dict.fromkeys(columns[:4], pl.String) | {"answers": pl.List(pl.String)}
    triplets = pl.DataFrame(rows, schema=schema, orient="row").with_columns(
        negative_1=pl.lit("n"), negative_chunks=pl.lit(["9"]), negative_documents=pl.lit(["nine"])
    )
    found = labelled_passages(triplets, RerankerSettings(random_negatives=20))
    by_query = {query: set(passages) - {"n"} for query, passages, _ in found.iter_rows()}
    assert by_query == {"PX-7": {"a", "d"}, "pump": {"a", "b", "c", "d"}, "oven": {"b", "c", "d"}, "clock": {"a", "b", "c", "d"}}


def test_a_pair_is_scored_once_and_alike_in_any_company(trained: tuple[Path, pl.DataFrame], tmp_path: Path):
    folder, _ = trained
    pairs = list(ANSWERS.items())
    scores = Reranker(str(folder), tmp_path, CPU).score(pairs)
    assert scores.dtype == np.float32 and scores.shape == (len(pairs),)
    again = Reranker(str(folder), tmp_path, CPU)
    assert np.array_equal(again.score([pairs[5], pairs[0], pairs[5]]), scores[[5, 0, 5]])
    assert again._model is None, "the model was loaded for pairs that had been scored before"
    assert again.score([]).shape == (0,)
    elsewhere = Reranker(str(folder), tmp_path / "elsewhere", CPU)
    assert [elsewhere.score([pair])[0] for pair in pairs[:3]] == pytest.approx(scores[:3].tolist(), abs=1e-4)


def test_bfloat16_ranks_like_float32_without_ties(trained: tuple[Path, pl.DataFrame], tmp_path: Path):
    folder, _ = trained
    pairs = [(query, passage) for query in ANSWERS for passage in ANSWERS.values()]
    exact = Reranker(str(folder), tmp_path / "exact", CPU).score(pairs)
    quick = Reranker(str(folder), tmp_path / "quick", Compute(device="cpu", dtype="bfloat16")).score(pairs)
    assert np.corrcoef(exact, quick)[0, 1] > 0.999
    assert len(set(quick.tolist())) == len(pairs)


def test_the_longest_input_of_the_model_is_respected(trained: tuple[Path, pl.DataFrame], tmp_path: Path):
    folder, _ = trained
    scores = Reranker(str(folder), tmp_path, CPU, max_tokens=4096).score([("dough", "warm kitchen " * 1000)])
    assert np.isfinite(scores).all()


def test_a_model_without_a_head_scores_nothing(tmp_path: Path):
    with pytest.raises(ValueError, match="no cross-encoder but a BertModel"):
        Reranker(BASE_MODEL.name, tmp_path, CPU).score([("a", "b")])


def test_a_head_that_would_be_random_scores_nothing(tmp_path: Path):
    from safetensors.torch import load_file, save_file
    from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

    tiny = write_model(tmp_path / "tiny", "bert")
    config = AutoConfig.from_pretrained(tiny, num_labels=1)
    AutoModelForSequenceClassification.from_config(config).save_pretrained(tmp_path / "whole")
    AutoTokenizer.from_pretrained(tiny).save_pretrained(tmp_path / "whole")
    assert np.isfinite(Reranker(str(tmp_path / "whole"), tmp_path, CPU).score([("a", "b")])).all()
    path = tmp_path / "whole" / "model.safetensors"
    weights = {key.replace("classifier", "score"): weight for key, weight in load_file(path).items()}
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(BrokenModelError, match=r"2 of its weights are not in its files, such as classifier\.bias"):
        Reranker(str(tmp_path / "whole"), tmp_path, CPU).score([("a", "c")])


def test_drawn_queries_have_labels_and_stay_when_others_come():
    rows = [(f"q{i}", f"text {i}", "", source, "test") for i, source in enumerate(["human"] * 8 + ["synthetic"] * 3)]
    queries = pl.DataFrame([*rows, ("d", "dev", "", "human", "dev")], schema=QUERY_SCHEMA, orient="row")
    labels = pl.DataFrame([(f"q{i}", "doc", None, None, None, 1) for i in range(11) if i != 2], schema=LABEL_SCHEMA, orient="row")
    drawn = draw_queries(queries, labels, RerankingSettings(max_queries=4))
    tested = drawn.filter(pl.col("split") == "test")
    assert "d" in drawn["query_id"]  # the weight of the hybrid is chosen on the dev queries
    assert dict(tested.group_by("source").len().iter_rows()) == {"human": 4, "synthetic": 3}
    assert "q2" not in drawn["query_id"]
    fewer = draw_queries(queries.filter(pl.col("query_id") != "q0"), labels, RerankingSettings(max_queries=4))
    assert len(set(drawn["query_id"]) & set(fewer["query_id"])) >= 6
    assert draw_queries(queries, labels, RerankingSettings()).equals(queries)
