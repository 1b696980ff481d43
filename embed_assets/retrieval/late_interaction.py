"""Late interaction: a query and a passage are compared token by token."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from embed_assets.artifacts.memo import Memo, key_of
from embed_assets.models.lengths import PASSAGE, QUERY, tokens_of
from embed_assets.models.locations import memo_of_model, require_one_memo
from embed_assets.models.prompts import prompt_of
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


class LateInteraction:
    """Scores pairs of a query and a passage by maxsim; the model is loaded only for pairs not seen before.

    The scores are kept on disk, about 100 bytes a pair. The vectors of the tokens would be more than a hundred times as
    large as the text, so they are computed anew for a pair that is not known. Each call encodes each text once, and keeps
    some passages in memory for the next call.

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
            import torch

            texts = sorted({query for asked in missing.values() for query in asked})
            queries = dict(zip(texts, self.encoder.encode_queries(texts), strict=True))
            blocks = list(self.encoder.blocks(list(missing)))
            for block in track(blocks, f"comparing the tokens of {len(texts)} queries and {len(missing)} passages, in blocks"):
                compared = [
                    pair
                    for passage, tokens in zip(block, self._tokens(block), strict=True)
                    for pair in self._compared(missing[passage], queries, tokens)
                ]
                # A GPU is waited for once, not for each passage.
                scores = torch.cat([scores for _, scores in compared]).cpu().numpy()
                names = [key for keys, _ in compared for key in keys]
                rows = [(key, score.tobytes()) for key, score in zip(names, scores, strict=True)]
                self.memo.put_many(rows)
                known.update(rows)
        return np.array([np.frombuffer(known[key], dtype=np.float32)[0] for key in keys], dtype=np.float32)

    def _compared(
        self, asked: dict[str, str], queries: "dict[str, torch.Tensor]", passage: "torch.Tensor"
    ) -> "Iterator[tuple[list[str], torch.Tensor]]":
        """Keys and scores of the queries that are compared with one passage, so many at once."""
        names = list(asked)
        for start in range(0, len(names), QUERIES_AT_ONCE):
            block = names[start : start + QUERIES_AT_ONCE]
            yield [asked[name] for name in block], maxsim([queries[name] for name in block], [passage])[:, 0]

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
