"""Tokenizers of embedding models."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenizers import Tokenizer


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
