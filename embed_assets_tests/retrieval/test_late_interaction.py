import pickle
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pytest

from embed_assets.models.hardware import Compute
from embed_assets.models.settings import BaseModelSettings
from embed_assets.models.token_encoder import TokenEncoder
from embed_assets.retrieval import late_interaction
from embed_assets.retrieval.late_interaction import LateInteraction, _on_a_worker, maxsim

if TYPE_CHECKING:
    import torch


def tokens(*rows: list[float]) -> "torch.Tensor":
    import torch

    return torch.tensor(rows, dtype=torch.float16).reshape(-1, 2)


def test_a_query_scores_the_mean_of_the_best_cosines_of_its_tokens():
    """East and north against east and south-west: east finds 1 and north 0, or -.6 and -.8 in south-west alone."""
    import torch

    east, north, north_east, south_west = [1.0, 0.0], [0.0, 1.0], [0.6, 0.8], [-0.6, -0.8]
    scores = maxsim(
        [tokens(east, north), tokens(north)], [tokens(east, south_west), tokens(south_west), tokens(north_east, east)]
    )
    assert scores.dtype == torch.float32
    assert scores.numpy() == pytest.approx(np.array([[0.5, -0.7, 0.9], [0.0, -0.8, 0.8]]), abs=1e-3)


def test_what_has_no_token_says_nothing_as_a_query_and_is_last_as_a_passage():
    east = tokens([1.0, 0.0])
    assert maxsim([tokens(), east], [east, tokens(), -east]).tolist() == [[0, 0, 0], [1, -1, -1]]


def test_maxsim_is_that_of_sentence_transformers():
    import torch
    from sentence_transformers.util.similarity import mean_maxsim

    generator = torch.Generator().manual_seed(3)
    queries, passages = (
        [torch.nn.functional.normalize(torch.randn(length, 16, generator=generator), dim=1) for length in lengths]
        for lengths in ((3, 9, 1), (40, 7, 90, 1, 33))
    )
    assert maxsim(queries, passages).numpy() == pytest.approx(mean_maxsim(queries, passages).numpy(), abs=1e-6)


class Watched(TokenEncoder):
    """Remembers what was encoded."""

    def __init__(self):
        super().__init__(BaseModelSettings(max_tokens=64), compute=Compute(device="cpu", dtype="float32"))
        self.queries: list[str] = []
        self.passages: list[str] = []

    def encode_queries(self, texts):
        self.queries += texts
        return super().encode_queries(texts)

    def encode_passages(self, texts):
        self.passages += texts
        return super().encode_passages(texts)


PAIRS = [
    ("Why is my pump loud?", "The pump is loud if the bearing is dry."),
    ("Why is my pump loud?", "Oak is wood."),
    ("What is oak?", "Oak is wood."),
    ("What is oak?", "Oak is wood."),
]


def test_pairs_are_scored_by_tokens_and_each_text_is_encoded_once(tmp_path):
    encoder = Watched()
    late = LateInteraction(encoder, tmp_path)
    scores = late.score(PAIRS)
    assert scores.shape == (4,) and scores.dtype == np.float32
    assert scores[0] > scores[1] < scores[2] == scores[3]
    assert sorted(encoder.queries) == sorted({query for query, _ in PAIRS})
    assert sorted(encoder.passages) == sorted({passage for _, passage in PAIRS})
    for score, (query, passage) in zip(scores, PAIRS, strict=True):
        assert score == pytest.approx(
            maxsim(encoder.encode_queries([query]), encoder.encode_passages([passage])).item(), abs=1e-3
        )


def test_a_pair_that_was_scored_before_needs_no_model(tmp_path):
    before = LateInteraction(Watched(), tmp_path).score(PAIRS[:2])
    encoder = Watched()
    after = LateInteraction(encoder, tmp_path).score([*PAIRS, ("What is oak?", PAIRS[0][1])])
    assert after[:2].tolist() == before.tolist()
    assert (encoder.queries, sorted(encoder.passages)) == (["What is oak?"], ["Oak is wood.", PAIRS[0][1]])


@pytest.mark.parametrize(("kept", "encoded"), [(2**30, 2), (0, 3)])
def test_passages_are_kept_in_memory_as_far_as_they_fit(tmp_path, monkeypatch, kept, encoded):
    monkeypatch.setattr(late_interaction, "BYTES_KEPT", kept)
    encoder = Watched()
    late = LateInteraction(encoder, tmp_path)
    for block in (PAIRS[:2], PAIRS[2:]):
        late.score(block)
    assert len(encoder.passages) == encoded


def test_scores_do_not_depend_on_the_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(late_interaction, "QUERIES_AT_ONCE", 1)
    alone = LateInteraction(Watched(), tmp_path / "alone").score(PAIRS)
    monkeypatch.undo()
    assert LateInteraction(Watched(), tmp_path / "all").score(PAIRS) == pytest.approx(alone, abs=1e-3)


def test_no_pair_gives_no_score(tmp_path):
    assert LateInteraction(Watched(), tmp_path).score([]).shape == (0,)


def test_other_prompts_and_lengths_give_other_scores(tmp_path):
    scores = []
    for changes in ({}, {"query_prompt": "oak: "}, {"passage_prompt": "oak: "}, {"max_tokens": 16}):
        encoder = TokenEncoder(BaseModelSettings(**{"max_tokens": 64} | changes), compute=Compute(device="cpu"))
        long = " ".join(f"Part {number} of the pump is made of brass." for number in range(9))
        scores.append(float(LateInteraction(encoder, tmp_path).score([("Which pump is it?", long)])[0]))
    assert len(set(scores)) == 4


def test_a_worker_that_knows_only_the_names_gives_the_same_scores(tmp_path, monkeypatch):
    monkeypatch.setattr(late_interaction, "QUERIES_AT_ONCE", 1)
    late = LateInteraction(Watched(), tmp_path)
    known = dict(zip(PAIRS, late.score(PAIRS), strict=True))
    queries, passages = (sorted({pair[side] for pair in PAIRS}) for side in (0, 1))
    make = pickle.loads(pickle.dumps(partial(_on_a_worker, late.encoder.settings, late.encoder.compute, queries)))
    worker = make(late.encoder.name)
    blocks = [[(passage, queries)] for passage in passages]
    for (number, scores), passage in zip(worker.answer(blocks), passages, strict=True):
        assert blocks[number] == [(passage, queries)] and scores.dtype == np.float32
        asked = [pair for pair in known if pair[1] == passage]
        assert [scores[queries.index(query)] for query, _ in asked] == pytest.approx([known[pair] for pair in asked], abs=1e-3)
