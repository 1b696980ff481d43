"""Names of trials, what they change, which ones are planned and suggested, and promotion."""

from pathlib import Path

import pytest

from embed_assets.artifacts.workspace import Workspace
from embed_assets.settings import read_settings
from embed_assets.sweep.settings import TrialsSettings
from embed_assets.sweep.trials import (
    TrialError,
    planned_trials,
    promote_trial,
    suggest_trial,
    suggested_trials,
    trial_name,
    with_trial,
)
from embed_assets.training.settings import TrainingSettings

TRAINING = TrainingSettings(learning_rate=1e-4)
MINED = 5  # hard negatives for each query


def test_a_name_says_what_is_different_and_all_else_is_as_it_was():
    name = trial_name({"learning_rate": 2e-5, "epochs": 3})
    assert name == "epochs=3_learning_rate=2e-05"
    changed = with_trial(TRAINING, name)
    assert (changed.learning_rate, changed.epochs) == (2e-5, 3)
    assert changed.model_copy(update={"learning_rate": 1e-4, "epochs": 1.0}) == TRAINING
    assert (TRAINING.merge, with_trial(TRAINING, "merge=0.3").merge) == ("auto", 0.3)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("fast", "'fast' is no trial"),
        ("", "'' is no trial"),
        ("seed=14_", "'seed=14_' is no trial"),
        ("epochs=2_0", "is no trial"),
        ("epochs= 2", "is no trial"),
        ("epochs=many", "the settings are batch_size, data_share, epochs"),
        ("learning_rates=1", "is no trial"),
        ("epochs=0", "epochs: Input should be greater than 0"),
        ("batch_size=2.5", "batch_size"),
    ],
)
def test_a_name_that_is_none_says_what_would_be_one(name: str, message: str):
    with pytest.raises(TrialError, match=message):
        with_trial(TRAINING, name)


def test_the_grid_is_every_combination_and_shares_of_the_data_stand_beside_it():
    names = planned_trials(TRAINING, TrialsSettings(epochs=(1.0, 2.0), data_shares=(0.5, 1.0)))
    assert names == [
        "epochs=1_learning_rate=5e-05",
        "epochs=2_learning_rate=5e-05",
        "epochs=1_learning_rate=0.0001",
        "epochs=2_learning_rate=0.0001",
        "epochs=1_learning_rate=0.0002",
        "epochs=2_learning_rate=0.0002",
        "data_share=0.5",
        "data_share=1",
    ]
    assert all(with_trial(TRAINING, name) for name in names)


def test_an_empty_grid_plans_nothing():
    assert planned_trials(TRAINING, TrialsSettings(learning_rate_factors=(), epochs=(), data_shares=())) == []


def test_suggestions_move_towards_what_did_well():
    finished: dict[str, float] = {}
    for _ in range(25):
        name = suggest_trial(TRAINING, 1, finished)
        epochs = with_trial(TRAINING, name).epochs
        finished[name] = -abs(epochs - 4)
    epochs = [with_trial(TRAINING, name).epochs for name in finished]
    assert epochs[-8:].count(4) > epochs[:8].count(4)


def test_a_suggestion_depends_on_nothing_but_what_is_finished():
    finished = {"epochs=2_learning_rate=5e-05": 0.5, "data_share=0.1": 0.4, "batch_size=64": 0.6}
    assert suggest_trial(TRAINING, 1, finished) == suggest_trial(TRAINING, 1, finished)


def test_hard_negatives_are_varied_where_several_were_mined():
    suggested = [suggest_trial(TRAINING, MINED, {f"seed={i}": 0.0 for i in range(count)}) for count in range(8)]
    numbers = {with_trial(TRAINING, name).hard_negatives for name in suggested}
    assert len(numbers) > 1 and numbers <= {1, 2, 3, 4, 5}


def test_a_trial_without_hard_negatives_is_not_taken_for_one_with_all_of_them():
    others = {f"hard_negatives={number % 5 + 1}_warmup_share={number / 20:g}": number / 10 for number in range(5)}
    suggested = {suggest_trial(TRAINING, MINED, others | {"hard_negatives=0": score}) for score in (0.0, 1.0)}
    assert len(suggested) == 1  # it lies outside of what is searched
    assert len({suggest_trial(TRAINING, MINED, others | {"hard_negatives=5": score}) for score in (0.0, 1.0)}) == 2


def test_promotion_changes_the_settings_of_the_trial_and_keeps_comments(tmp_path: Path):
    folder = tmp_path / "collections" / "routers"
    (folder / "documents").mkdir(parents=True)
    (folder / "settings.yaml").write_text("# ours\nchunking: {max_tokens: 64}\ntraining:\n  seed: 7 # lucky\n  epochs: 2\n")
    workspace = Workspace(tmp_path, tmp_path / "home")
    path = promote_trial(folder, read_settings(workspace, "routers").training, "epochs=3_learning_rate=5e-06")
    assert path.read_text() == (
        "# ours\nchunking: {max_tokens: 64}\ntraining:\n  seed: 7 # lucky\n  epochs: 3\n  learning_rate: 5e-06\n"
    )
    assert read_settings(workspace, "routers").training.learning_rate == 5e-6


def test_promotion_writes_a_new_file_where_there_is_none_and_nothing_for_a_wrong_name(tmp_path: Path):
    folder = tmp_path / "collections" / "routers"
    (folder / "documents").mkdir(parents=True)
    workspace = Workspace(tmp_path, tmp_path / "home")
    with pytest.raises(TrialError):
        promote_trial(folder, read_settings(workspace, "routers").training, "epochs=-1")
    assert not (folder / "settings.yaml").exists()
    promote_trial(folder, read_settings(workspace, "routers").training, "data_share=0.5")
    assert read_settings(workspace, "routers").training.data_share == 0.5


def test_trials_of_other_settings_and_of_the_grid_are_none_that_the_search_suggested():
    chosen = TrialsSettings(learning_rate_factors=[1.0], epochs=[], data_shares=[0.5])
    planned, beside = planned_trials(TRAINING, chosen), "epochs=2_learning_rate=0.0003"
    assert suggested_trials(TRAINING, chosen, [*planned, beside, "seed=101", "merge=0.5", "epochs=2_seed=7"]) == {beside}


def test_promotion_fills_a_block_whose_lines_are_all_comments(tmp_path: Path):
    settings = tmp_path / "settings.yaml"
    settings.write_text("training:\n  #epochs: 2\nchunking: {max_tokens: 64}\n")
    promote_trial(tmp_path, TRAINING, "epochs=3")
    assert settings.read_text() == "training:\n  epochs: 3\n  #epochs: 2\nchunking: {max_tokens: 64}\n"
