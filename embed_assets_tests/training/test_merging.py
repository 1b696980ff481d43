"""How much of the fine-tuned weights is taken is chosen on dev queries."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from embed_assets.evaluation.dev_set import DevSet, dev_ndcg
from embed_assets.evaluation.evaluation_set import HUMAN, SYNTHETIC
from embed_assets.models.encoders import load_sentence_transformer
from embed_assets.models.settings import BaseModelSettings
from embed_assets.training.evaluator import ModelInTraining
from embed_assets.training.fine_tuning import fine_tune
from embed_assets.training.merging import CANDIDATES, best_share, chosen_merge
from embed_assets.training.task import Training, TrainingTask
from embed_assets_tests.training.test_fine_tuning import COMPUTE, TRIPLETS, base, settings, weights

__all__ = ["base"]
PASSAGES = TRIPLETS["positive"].to_list()
QUERIES = {f"q{number}": query for number, query in enumerate(TRIPLETS["anchor"])}


def encoder(base: BaseModelSettings, folder: Path | None = None) -> ModelInTraining:
    return ModelInTraining(load_sentence_transformer(base, "cpu", folder and str(folder / "model")), base, COMPUTE)


def answered_as_by(model: ModelInTraining) -> DevSet:
    """Dev queries whose one answer is what this model takes for it."""
    scores = model.encode_queries(list(QUERIES.values())) @ model.encode_passages(PASSAGES).T
    relevant = {name: {str(best): 1} for name, best in zip(QUERIES, scores.argmax(axis=1).tolist(), strict=True)}
    passages = pl.DataFrame({"unit": map(str, range(len(PASSAGES))), "passage": PASSAGES})
    return DevSet("human", QUERIES, relevant, passages, list(QUERIES))


def trained(folder: Path, base: BaseModelSettings, dev: DevSet | None = None, **changes) -> Training:
    return fine_tune(
        TrainingTask(TRIPLETS, folder / "model", folder / "scratch", base, settings(epochs=3.0, **changes), COMPUTE, dev=dev)
    )


@pytest.mark.parametrize("right", ["base", "tuned"])
def test_the_average_that_answers_dev_queries_best_is_taken(base, tmp_path, right):
    trained(tmp_path / "tuned", base, merge=1)
    dev = answered_as_by(encoder(base) if right == "base" else encoder(base, tmp_path / "tuned"))
    done = trained(tmp_path / "chosen", base, dev, merge="auto")
    found = dict(done.merges.select("merge", "dev_ndcg@10").iter_rows())
    assert list(found) == list(CANDIDATES)
    weight = chosen_merge(done.merges)
    assert found[0.0 if right == "base" else 1.0] == 1 and min(found.values()) < 0.9
    assert weight < 0.5 if right == "base" else weight > 0.5
    before, tuned, chosen = weights(Path(base.name).parent), weights(tmp_path / "tuned"), weights(tmp_path / "chosen")
    for name, value in chosen.items():
        assert np.allclose(value, weight * tuned[name] + (1 - weight) * before[name], atol=1e-6)
    assert dev_ndcg(encoder(base, tmp_path / "chosen"), dev).mean() == pytest.approx(found[weight])


# nDCG@10 of the base model on eight dev queries, half of them at 0.4 and half at 0.6.
OF_BASE = np.array([0.4, 0.6] * 4)


@pytest.mark.parametrize(
    ("half", "all_of_it", "expected"),
    [
        # Both halves of the queries gain: all weights are best by more than a standard error, or about as good as a half.
        (OF_BASE + 0.05, OF_BASE + 0.2, 1.0),
        (OF_BASE + [0.1, 0.0] * 4, OF_BASE + [0.0, 0.12] * 4, 0.5),
        # A half is worse by less than a standard error, and is not taken all the same.
        (OF_BASE + [-0.11, 0.1] * 4, OF_BASE - 0.2, 0.0),
        # As good as the base model is no loss.
        (OF_BASE + [-0.1, 0.1] * 4, OF_BASE - 0.2, 0.5),
    ],
)
def test_no_share_is_taken_that_is_below_the_base_model(half, all_of_it, expected):
    assert best_share({0.0: OF_BASE, 0.5: half, 1.0: all_of_it}, list(range(8)), SYNTHETIC) == expected


@pytest.mark.parametrize(
    ("half", "expected"),
    [
        (OF_BASE + [0.1, 0.0] * 4, 0.5),
        (OF_BASE + [-0.1, 0.1] * 4, 0.0),
        (OF_BASE + [-0.1, 0.12] * 4, 0.0),  # by less than a standard error
    ],
)
def test_a_share_has_to_show_on_queries_of_people_that_it_helps(half, expected):
    assert best_share({0.0: OF_BASE, 0.5: half}, list(range(8)), HUMAN) == expected


def test_each_share_has_to_show_for_itself_that_it_helps():
    half, all_of_it = OF_BASE + [-0.1, 0.12] * 4, OF_BASE + 0.05  # the half is nearly as good, and might well be a loss
    assert best_share({0.0: OF_BASE, 0.5: half, 1.0: all_of_it}, list(range(8)), HUMAN) == 1.0


@pytest.mark.parametrize(("source", "expected"), [(SYNTHETIC, 0.5), (HUMAN, 0.3)])
def test_written_questions_take_another_share_than_a_half_for_more_than_a_standard_error(source, expected):
    half = OF_BASE + 0.02
    third = half + [0.138, -0.038] * 4  # better by one and a half
    assert best_share({0.0: OF_BASE, 0.3: third, 0.5: half}, list(range(8)), source) == expected


def test_the_queries_of_a_single_document_choose_as_well():
    assert best_share({0.0: OF_BASE, 0.5: OF_BASE + [0.1, 0.0] * 4}, ["manual.pdf"] * 8, HUMAN) == 0.5


def test_written_questions_take_no_more_than_a_half(base, tmp_path):
    trained(tmp_path / "tuned", base, merge=1)
    of_people = answered_as_by(encoder(base, tmp_path / "tuned"))
    done = trained(tmp_path / "chosen", base, replace(of_people, source="synthetic"), merge="auto")
    assert done.merges["merge"].to_list() == [0.0, 0.3, 0.5] and chosen_merge(done.merges) == 0.5


def test_without_dev_queries_there_is_nothing_to_choose(base, tmp_path):
    assert trained(tmp_path, base, merge="auto").merges is None


def test_early_stopping_goes_by_the_dev_queries(base, tmp_path):
    # The base model is right on dev, and training leads away from it.
    dev = answered_as_by(encoder(base))
    curve = trained(tmp_path, base, dev, merge=1, early_stopping=2, learning_rate=2e-2).curve
    judged = curve.drop_nulls("dev_ndcg@10")
    assert judged["dev_ndcg@10"].n_unique() > 1 and judged.height < 12
    assert judged["dev_ndcg@10"].arg_max() == judged.height - 3
    assert dev_ndcg(encoder(base, tmp_path), dev).mean() == pytest.approx(judged["dev_ndcg@10"].max(), abs=1e-6)
