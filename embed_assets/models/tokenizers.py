"""Tokenizers of embedding models."""

from typing import TYPE_CHECKING

from embed_assets.models.lengths import PASSAGE
from embed_assets.models.prompts import prompt_of, with_prompts
from embed_assets.models.settings import BaseModelSettings
from embed_assets.models.token_counts import token_counts

if TYPE_CHECKING:
    from tokenizers import Tokenizer


def load_tokenizer(model: str, revision: str = "") -> "Tokenizer":
    """The tokenizer of an embedding model, without loading the model.

    Args:
        model: folder or name of the model.
        revision: commit of a model on a hub; empty: the newest.

    Raises:
        ModelNotFoundError: there is no such model.
    """
    from huggingface_hub.errors import HfHubHTTPError
    from tokenizers import Tokenizer

    from embed_assets.models.locations import locate_model, not_on_hub

    location = locate_model(model)
    if isinstance(location, str):
        try:
            tokenizer = Tokenizer.from_pretrained(location, revision=revision or "main")
        except (OSError, HfHubHTTPError) as error:
            raise not_on_hub(location, error) from None
    elif (location / "tokenizer.json").is_file():
        tokenizer = Tokenizer.from_file(str(location / "tokenizer.json"))
    else:
        raise FileNotFoundError(f"{location}: no tokenizer.json; save the model's fast tokenizer there")
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def tokens_around_passages(settings: BaseModelSettings, tokenizer: "Tokenizer") -> int:
    """Tokens that the model reads of each passage beside its text: the prompt and the special ones.

    Args:
        settings: of the base model.
        tokenizer: that of the base model.
    """
    prompt = prompt_of(with_prompts(settings), PASSAGE)
    return token_counts(tokenizer, [prompt])[0] + tokenizer.num_special_tokens_to_add(False)
