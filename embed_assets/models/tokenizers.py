"""Tokenizers of embedding models."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from embed_assets.models.lengths import PASSAGE
from embed_assets.models.prompts import prompt_of, with_prompts
from embed_assets.models.settings import BaseModelSettings

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# Their encodings take much memory.
TEXTS_AT_ONCE = 1024


def load_tokenizer(model: str, revision: str = "") -> "Tokenizer":
    """The tokenizer of an embedding model, without loading the model.

    Args:
        model: folder or name of the model.
        revision: commit of a model on a hub; empty: the newest.
    """
    from tokenizers import Tokenizer

    from embed_assets.models.locations import locate_model

    location = locate_model(model)
    if isinstance(location, str):
        tokenizer = Tokenizer.from_pretrained(location, revision=revision or "main")
    elif (location / "tokenizer.json").is_file():
        tokenizer = Tokenizer.from_file(str(location / "tokenizer.json"))
    else:
        raise FileNotFoundError(f"{location}: no tokenizer.json; save the model's fast tokenizer there")
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def token_counts(tokenizer: "Tokenizer", texts: Sequence[str]) -> list[int]:
    """Tokens of each text, the special ones left out, without the lists of their numbers."""
    return [
        len(encoding)
        for start in range(0, len(texts), TEXTS_AT_ONCE)
        for encoding in tokenizer.encode_batch_fast(texts[start : start + TEXTS_AT_ONCE], add_special_tokens=False)
    ]


def tokens_around_passages(settings: BaseModelSettings, tokenizer: "Tokenizer") -> int:
    """Tokens that the model reads of each passage beside its text: the prompt and the special ones.

    Args:
        settings: of the base model.
        tokenizer: that of the base model.
    """
    prompt = prompt_of(with_prompts(settings), PASSAGE)
    return token_counts(tokenizer, [prompt])[0] + tokenizer.num_special_tokens_to_add(False)
