"""How long a text an embedding model can read, and how long a query and a passage may be: the one place for it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from embed_assets.artifacts.blocks import SettingsError
from embed_assets.models.locations import locate_model
from embed_assets.models.settings import BaseModelSettings
from embed_assets.models.weights import BrokenModelError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

# As sentence-transformers names what a text is encoded for.
Task = Literal["query", "document"]
QUERY: Task = "query"
PASSAGE: Task = "document"
# Their positions begin after the number of the padding token.
POSITIONS_AFTER_PADDING = (
    "camembert",
    "data2vec-text",
    "longformer",
    "mpnet",
    "roberta",
    "xlm-roberta",
    "xlm-roberta-xl",
    "xmod",
)


def tokens_of(settings: BaseModelSettings, task: Task) -> int:
    """The longest query, or the longest passage, in tokens: special ones and the prompt included."""
    return settings.query_max_tokens or settings.max_tokens if task == QUERY else settings.max_tokens


def are_apart(settings: BaseModelSettings) -> bool:
    """Whether queries are cut at another length than passages."""
    return tokens_of(settings, QUERY) != tokens_of(settings, PASSAGE)


def as_task(settings: BaseModelSettings, task: Task) -> dict[str, Task]:
    """What ``encode`` of a model has to be told, so that it cuts texts as set_lengths says; nothing where all are cut alike.

    Some models with code of their own know no such tasks.
    """
    return {"task": task} if are_apart(settings) else {}


def set_lengths(model: "SentenceTransformer", settings: BaseModelSettings) -> None:
    """Have a model cut queries and passages at their lengths, also when others load it once it was saved.

    Raises:
        SettingsError: they have different ones, and the model cannot tell them apart.
    """
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    if not isinstance(model[0], Transformer) and are_apart(settings):
        raise SettingsError(
            f"base_model.query_max_tokens needs a transformer, but {settings.name} begins with {type(model[0]).__name__}: "
            "set it to null"
        )
    lengths = [tokens_of(settings, task) for task in (QUERY, PASSAGE)]
    if isinstance(model[0], StaticEmbedding):
        # It has no length of its own, so that setting max_seq_length would fail; its tokenizer is saved with it.
        model[0].tokenizer.enable_truncation(max(lengths))
        return
    model.max_seq_length = max(lengths)
    if isinstance(model[0], Transformer):
        # Without these, it cuts all texts at max_seq_length.
        model[0].query_length, model[0].document_length = lengths if are_apart(settings) else (None, None)


def positions(config: Mapping[str, Any]) -> int | None:
    """How many tokens a transformer has positions for; None if it does not say, or has relative ones alone.

    Args:
        config: its config.json.
    """
    most = config.get("max_position_embeddings")
    if not isinstance(most, int) or most < 1 or config.get("position_biased_input") is False:
        return None
    after = config.get("pad_token_id", 1) + 1 if config.get("model_type") in POSITIONS_AFTER_PADDING else 0
    return most - after


def check_length(settings: BaseModelSettings, config: Mapping[str, Any] | None = None) -> None:
    """Refuse a length that the base model has no positions for: torch would fail in the middle of a step, or CUDA without a word.

    Args:
        settings: the base model and its length in tokens.
        config: the config.json of its transformer; None reads that of a model in a folder, and nothing of one on a hub.

    Raises:
        BrokenModelError: a configuration of the model is no JSON.
        SettingsError: base_model.max_tokens or base_model.query_max_tokens is too large.
    """
    most = positions(_config(settings.name) if config is None else config)
    for name, length, too in (
        ("max_tokens", settings.max_tokens, ", and chunking.max_tokens with it"),
        ("query_max_tokens", settings.query_max_tokens or 0, ""),
    ):
        if most is not None and length > most:
            raise SettingsError(
                f"base_model.{name} is {length}, but {settings.name} has positions for {most} tokens: "
                f"set it to at most {most}{too}"
            )


def _config(name: str) -> Mapping[str, Any]:
    location = locate_model(name)
    if not isinstance(location, Path):
        return {}
    folders = [location]
    if (location / "modules.json").is_file():
        folders += [location / module["path"] for module in _read(location / "modules.json")]
    found = (folder / "config.json" for folder in folders)
    # The first module has the transformer; those after it have a config.json of another kind.
    return next((_read(path) for path in found if path.is_file()), {})


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BrokenModelError(f"{path}: not JSON: {error}: it is cut off, or a pointer of Git LFS: fetch it again") from None
