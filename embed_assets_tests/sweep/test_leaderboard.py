"""Trials are ranked by dev queries; what may be chance is called noise."""

import numpy as np
import polars as pl
import pytest

from embed_assets.evaluation.metrics import HEADLINE
from embed_assets.evaluation.settings import ScoringSettings
from embed_assets.sweep.leaderboard import rank_trials
from embed_assets.sweep.trials import Trial
from embed_assets.training.settings import TrainingSettings

SCORING = ScoringSettings(resamples=200)
AS_SET = TrainingSettings()


def trial(name: str, dev: list[float], test: list[float] | None = None, examples: int = 100, **changes: float) -> Trial:
    rows = [("dev", "synthetic", "tuned", f"q{i}", value) for i, value in enumerate(dev)]
    for split, source, base in (("test", "human", 0.25), ("test", "synthetic", 1.0)):
        rows += [(split, source, "base", f"{source}{i}", base) for i in range(len(test or []))]
        rows += [(split, source, "tuned", f"{source}{i}", value) for i, value in enumerate(test or [])]
    columns = ["split", "source", "system", "query_id", HEADLINE]
    per_query = pl.DataFrame(rows, schema=columns, orient="row").sort("source", maintain_order=True)
    return Trial(name, AS_SET.model_copy(update=changes), examples, per_query, seconds=60.0)


def noisy(mean: float, seed: int, count: int = 60) -> list[float]:
    return (mean + np.random.default_rng(seed).normal(0, 0.1, count)).tolist()


def test_a_clear_difference_is_told_from_noise_and_the_best_is_advised():
    trials = [
        trial("epochs=1", noisy(0.5, 1), epochs=1.0),
        trial("epochs=2", noisy(0.7, 2), epochs=2.0),
        trial("epochs=3", noisy(0.701, 2), epochs=3.0),
    ]
    ranked = rank_trials(trials, AS_SET, SCORING)
    assert ranked.table["trial"].to_list() == ["epochs=3", "epochs=2", "epochs=1"]
    assert ranked.table["verdict"].to_list()[0] == "best" and ranked.table["verdict"].to_list()[2] == "worse"
    assert not ranked.settled
    assert ranked.advice == "Promote epochs=3: it is significantly better than epochs=1, which is what the settings say."


def test_settings_that_are_within_noise_of_the_best_are_kept():
    ranked = rank_trials([trial("epochs=1", noisy(0.5, 1)), trial("epochs=2", noisy(0.505, 2), epochs=2.0)], AS_SET, SCORING)
    assert ranked.settled and ranked.advice.startswith("Keep the settings")
    assert set(ranked.table["verdict"]) == {"best", "within noise of the best"}


def test_dev_decides_and_human_test_queries_only_judge():
    trials = [
        trial("epochs=1", [0.9, 0.9], [0.25, 0.75]),
        trial("epochs=2", [0.8, 0.8], [1.0, 1.0], epochs=2.0),
    ]
    ranked = rank_trials(trials, AS_SET, SCORING)
    assert ranked.table["trial"].to_list() == ["epochs=1", "epochs=2"]
    assert ranked.table["test"].to_list() == [0.5, 1.0]
    assert ranked.table["gain"].to_list() == [0.25, 0.75]  # over the base model's 0.25 on the human queries
    assert ranked.queries == "2 synthetic dev queries and 2 human test queries"


def test_two_names_of_one_training_are_one_trial_and_other_shares_of_the_data_are_left_out():
    trials = [
        trial("data_share=1", [0.5, 0.6]),
        trial("epochs=1_learning_rate=5e-05", [0.5, 0.6]),
        trial("data_share=0.5", [0.9, 0.9], data_share=0.5),
    ]
    assert rank_trials(trials, AS_SET, SCORING).table["trial"].to_list() == ["epochs=1_learning_rate=5e-05"]


def test_without_a_trial_of_the_settings_it_is_not_known_whether_they_hold():
    ranked = rank_trials([trial("epochs=2", [0.5, 0.6], epochs=2.0)], AS_SET, SCORING)
    assert not ranked.settled and "not known" in ranked.advice


def test_two_queries_that_agree_prove_nothing():
    ranked = rank_trials([trial("epochs=1", [0.5, 0.5]), trial("epochs=2", [0.75, 0.75], epochs=2.0)], AS_SET, SCORING)
    assert ranked.settled and ranked.table["p_value"].to_list() == [None, 0.5]


def test_nothing_to_rank_says_what_to_do():
    with pytest.raises(ValueError, match="materialize partitions of 'trial' first"):
        rank_trials([], AS_SET, SCORING)
    with pytest.raises(ValueError, match=r"raise evaluation_set\.dev_share"):
        rank_trials([trial("epochs=1", [], [0.5])], AS_SET, SCORING)


def test_queries_of_one_document_are_no_proof():
    def of_one_document(mean: float, seed: int, **changes: float) -> Trial:
        there = trial(f"epochs={changes.get('epochs', 1.0):g}", noisy(mean, seed), **changes)
        clusters = there.per_query.with_columns(cluster=pl.lit("fans.md"))
        return Trial(there.name, there.training, there.examples, clusters, there.seconds)

    ranked = rank_trials([of_one_document(0.5, 1), of_one_document(0.7, 2, epochs=2.0)], AS_SET, SCORING)
    assert ranked.settled and ranked.table["p_value"].to_list() == [None, 1.0]


def test_few_human_dev_queries_do_not_choose():
    few = trial("epochs=1", [0.5] * 40)
    human = few.per_query.head(4).with_columns(source=pl.lit("human"))
    assert Trial("epochs=1", AS_SET, 100, pl.concat([human, few.per_query]), 60.0).source("dev") == "synthetic"
    human = few.per_query.head(30).with_columns(source=pl.lit("human"))
    assert Trial("epochs=1", AS_SET, 100, pl.concat([human, few.per_query]), 60.0).source("dev") == "human"
