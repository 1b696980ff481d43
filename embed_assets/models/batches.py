"""Texts in batches with as little padding as may be."""

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from embed_assets.models.token_counts import TokenCounter

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder, MultiVectorEncoder, SentenceTransformer
    from transformers import PreTrainedTokenizerBase


def batches_by_tokens(
    model: "SentenceTransformer | CrossEncoder | MultiVectorEncoder",
    texts: Sequence[str] | Sequence[tuple[str, str]],
    size: int,
    longest: int,
) -> list[np.ndarray]:
    """The places of texts in batches, those with most tokens first.

    sentence-transformers sorts by characters. Of texts with identifiers, tables or several languages, a fifth to a half of
    what is then computed is padding; by tokens, a hundredth to a fifth.

    Args:
        model: cuts and pads the texts.
        texts: single ones, or pairs that are read together.
        size: of a batch, in texts.
        longest: how many tokens the model reads of a text, or of a pair.

    Returns:
        Places in ``texts``, each in one batch; in the order of the texts where the model does not pad them.
    """
    order = np.arange(len(texts)) if (tokens := _tokens(model, texts, longest)) is None else np.argsort(-tokens, kind="stable")
    return [order[start : start + size] for start in range(0, len(order), size)]


def _tokens(
    model: "SentenceTransformer | CrossEncoder | MultiVectorEncoder",
    texts: Sequence[str] | Sequence[tuple[str, str]],
    longest: int,
) -> np.ndarray | None:
    """Tokens of each text, the special ones left out, or of each pair; None if the model's first part is no transformer."""
    from sentence_transformers.base.modules import Transformer

    if not texts or not isinstance(model[0], Transformer):
        return None
    columns = zip(*texts, strict=True) if isinstance(texts[0], tuple) else [texts]
    counts = np.zeros(len(texts), dtype=np.int64)
    for column in columns:
        counts += _count(model.tokenizer, [str(text) for text in column], longest)
    return np.minimum(counts, longest)


def _count(tokenizer: "PreTrainedTokenizerBase", texts: list[str], longest: int) -> list[int]:
    if (fast := getattr(tokenizer, "backend_tokenizer", None)) is None:
        return list(map(len, tokenizer(texts, add_special_tokens=False, truncation=True, max_length=longest)["input_ids"]))
    fast.no_truncation()  # each call of the tokenizer sets how it cuts and pads
    fast.no_padding()
    return list(map(_counter(fast).of, texts))


# Its words stay known from block to block; those of a few models.
_counter = functools.lru_cache(maxsize=4)(TokenCounter)
