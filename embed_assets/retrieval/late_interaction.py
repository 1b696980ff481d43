"""Late interaction: a query and a passage are compared token by token."""

import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from embed_assets.artifacts.memo import Memo, key_of
from embed_assets.cluster.workers import Workers
from embed_assets.models.hardware import Compute
from embed_assets.models.lengths import PASSAGE, QUERY, tokens_of
from embed_assets.models.locations import files_of_model, memo_of_model, require_one_memo
from embed_assets.models.prompts import prompt_of
from embed_assets.models.settings import BaseModelSettings
from embed_assets.models.token_encoder import TokenEncoder
from embed_assets.progress import track

if TYPE_CHECKING:
    import torch

# Of the vectors of passages that are kept for the next queries: those of about 10,000 with 384 dimensions.
BYTES_KEPT = 2**30
QUERIES_AT_ONCE = 1024
# What no token answers has the least cosine there is.
NO_TOKEN = -1.0


def maxsim(queries: "Sequence[torch.Tensor]", passages: "Sequence[torch.Tensor]") -> "torch.Tensor":
    """Each query against each passage: the mean, over the tokens of the query, of the best cosine to a token of the passage.

    MaxSim of ColBERT (Khattab and Zaharia, SIGIR 2020, arXiv:2004.12832), divided by the number of the query's tokens.
    Nothing is padded, so that short passages cost less than long ones.

    Args:
        queries: unit vectors of the tokens of each, shape (tokens, dimensions).
        passages: the same.

    Returns:
        float32, shape (queries, passages), from -1 to 1. A query without a token has 0 everywhere; a passage without one -1.
    """
    import torch

    of_queries, of_passages = torch.cat(list(queries)).float(), torch.cat(list(passages)).float()
    device = of_passages.device
    lengths = [torch.tensor([len(tokens) for tokens in side], device=device) for side in (queries, passages)]
    best = torch.segment_reduce(of_passages @ of_queries.T, "max", lengths=lengths[1], initial=NO_TOKEN)
    sums = torch.segment_reduce(best.T.contiguous(), "sum", lengths=lengths[0], initial=0)
    return sums / lengths[0].clamp(min=1)[:, None]


# A passage, and the queries that it is compared with.
Compared = tuple[str, Sequence[str]]


class TokenComparison:
    """Compares passages with queries, whose tokens it keeps; in this process, or in that of a worker on a cluster.

    Args:
        encoder: gives the vectors of the tokens.
        queries: all queries that will be compared.
    """

    def __init__(self, encoder: TokenEncoder, queries: Sequence[str]):
        self._encoder = encoder
        self._queries = dict(zip(queries, encoder.encode_queries(queries), strict=True))

    def answer(self, blocks: Sequence[Sequence[Compared]]) -> Iterator[tuple[int, np.ndarray]]:
        """The number of each block, and the scores of its queries, those of the first passage first, float32, shape (pairs,)."""
        for number, block in enumerate(blocks):
            yield number, self.compare(block, self._encoder.encode_passages([passage for passage, _ in block]))

    def compare(self, block: Sequence[Compared], passages: "Sequence[torch.Tensor]") -> np.ndarray:
        """The scores of a block, as ``answer`` gives them, from the tokens of its passages."""
        import torch

        scores = [
            maxsim([self._queries[query] for query in queries[start : start + QUERIES_AT_ONCE]], [tokens])[:, 0]
            for (_, queries), tokens in zip(block, passages, strict=True)
            for start in range(0, len(queries), QUERIES_AT_ONCE)
        ]
        return torch.cat(scores).cpu().numpy()  # a GPU is waited for once, not for each passage


def _on_a_worker(settings: BaseModelSettings, compute: Compute, queries: Sequence[str], name: str) -> TokenComparison:
    return TokenComparison(TokenEncoder(settings, name, compute), queries)


class LateInteraction:
    """Scores pairs of a query and a passage by maxsim; the model is loaded only for pairs not seen before.

    The scores are kept on disk, about 100 bytes a pair. The vectors of the tokens would be more than a hundred times as
    large as the text, so they are computed anew for a pair that is not known. Each call encodes each text once, and keeps
    some passages in memory for the next call. Workers on a cluster, where the encoder's settings name one, keep none.

    Args:
        encoder: gives the vectors of the tokens.
        memos: folder of the memos; one file for each model.
    """

    def __init__(self, encoder: TokenEncoder, memos: Path):
        self.encoder = encoder
        settings = encoder.settings
        revision = settings.revision_of(encoder.name)
        require_one_memo(memos, encoder.name, revision)
        self.memo = Memo(memo_of_model(memos, "late_interactions", encoder.name, revision))
        self._dtype = encoder.compute.dtype_name()
        self._kept: dict[str, torch.Tensor] = {}
        self._bytes_left = BYTES_KEPT

    def score(self, pairs: Sequence[tuple[str, str]]) -> np.ndarray:
        """Scores of (query, passage) pairs, float32, shape (len(pairs),), as those of maxsim."""
        keys = [self._key(*pair) for pair in pairs]
        known = self.memo.get_many(sorted(set(keys)))
        missing: dict[str, dict[str, str]] = {}
        for key, (query, passage) in zip(keys, pairs, strict=True):
            if key not in known:
                missing.setdefault(passage, {})[query] = key
        if missing:
            texts = sorted({query for asked in missing.values() for query in asked})
            blocks: list[list[Compared]] = [
                [(passage, list(missing[passage])) for passage in it] for it in self.encoder.blocks(list(missing))
            ]
            what = f"comparing the tokens of {len(texts)} queries and {len(missing)} passages, in blocks"
            for number, scores in track(self._compared(texts, blocks), what, len(blocks)):
                names = [missing[passage][query] for passage, asked in blocks[number] for query in asked]
                rows = [(name, score.tobytes()) for name, score in zip(names, scores, strict=True)]
                self.memo.put_many(rows)
                known.update(rows)
        return np.array([np.frombuffer(known[key], dtype=np.float32)[0] for key in keys], dtype=np.float32)

    def _compared(self, queries: list[str], blocks: Sequence[list[Compared]]) -> Iterator[tuple[int, np.ndarray]]:
        """As TokenComparison.answer, in the order in which they are done."""
        cluster = self.encoder.compute.cluster
        if cluster is None:
            here = TokenComparison(self.encoder, queries)
            for number, block in enumerate(blocks):
                yield number, here.compare(block, self._tokens([passage for passage, _ in block]))
            return
        settings, name = self.encoder.settings, self.encoder.name
        make = functools.partial(_on_a_worker, settings, self.encoder.compute.of_a_worker(), queries)
        with Workers(cluster, make, files_of_model(name, settings.revision_of(name)), len(blocks)) as workers:
            yield from workers.answer([[block] for block in blocks])

    def _tokens(self, passages: Sequence[str]) -> "list[torch.Tensor]":
        new = [passage for passage in passages if passage not in self._kept]
        found = dict(zip(new, self.encoder.encode_passages(new), strict=True)) if new else {}
        for passage, tokens in found.items():
            if (size := tokens.numel() * tokens.element_size()) <= self._bytes_left:
                self._kept[passage] = tokens
                self._bytes_left -= size
        return [found[passage] if passage in found else self._kept[passage] for passage in passages]

    def _key(self, query: str, passage: str) -> str:
        settings = self.encoder.settings
        how = [part for task in (QUERY, PASSAGE) for part in (tokens_of(settings, task), prompt_of(settings, task))]
        return key_of(self._dtype, *how, query, passage)
