"""Tokenizers of embedding models."""

from pathlib import Path
from typing import TYPE_CHECKING

from embed_assets.models.lengths import PASSAGE
from embed_assets.models.locations import locate_model, not_on_hub
from embed_assets.models.prompts import prompt_of, with_prompts
from embed_assets.models.settings import BaseModelSettings
from embed_assets.models.token_counts import token_counts
from embed_assets.models.weights import BrokenModelError

if TYPE_CHECKING:
    from tokenizers import Tokenizer


def load_tokenizer(model: str, revision: str = "") -> "Tokenizer":
    """The tokenizer of an embedding model, without loading the model.

    Args:
        model: folder or name of the model.
        revision: commit of a model on a hub; empty: the newest.

    Raises:
        ModelNotFoundError: there is no such model.
        BrokenModelError: it has no tokenizer.json.
    """
    from huggingface_hub.errors import RemoteEntryNotFoundError
    from tokenizers import Tokenizer

    location = locate_model(model)
    if isinstance(location, str):
        try:
            tokenizer = Tokenizer.from_pretrained(location, revision=revision or "main")
        except RemoteEntryNotFoundError:
            raise _without_tokenizer(location) from None
        except OSError as error:  # such as those of huggingface_hub
            raise not_on_hub(location, error) from None
    elif (location / "tokenizer.json").is_file():
        tokenizer = Tokenizer.from_file(str(location / "tokenizer.json"))
    else:
        raise _without_tokenizer(location)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _without_tokenizer(model: Path | str) -> BrokenModelError:
    return BrokenModelError(f"{model}: no tokenizer.json: save the model's fast tokenizer there, or name a model that has one")


def tokens_around_passages(settings: BaseModelSettings, tokenizer: "Tokenizer") -> int:
    """Tokens that the model reads of each passage beside its text: the prompt and the special ones.

    Args:
        settings: of the base model.
        tokenizer: that of the base model.
    """
    prompt = prompt_of(with_prompts(settings), PASSAGE)
    return token_counts(tokenizer, [prompt])[0] + tokenizer.num_special_tokens_to_add(False)
