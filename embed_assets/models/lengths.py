"""How long a text an embedding model can read."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from embed_assets.models.locations import locate_model
from embed_assets.models.settings import BaseModelSettings

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
        ValueError: base_model.max_tokens is too large.
    """
    most = positions(_config(settings.name) if config is None else config)
    if most is not None and settings.max_tokens > most:
        raise ValueError(
            f"base_model.max_tokens is {settings.max_tokens}, but {settings.name} has positions for {most} tokens: "
            f"set it to at most {most}, and chunking.max_tokens with it"
        )


def _config(name: str) -> Mapping[str, Any]:
    location = locate_model(name)
    if not isinstance(location, Path):
        return {}
    folders = [location]
    if (location / "modules.json").is_file():
        folders += [location / module["path"] for module in json.loads((location / "modules.json").read_text(encoding="utf-8"))]
    found = (folder / "config.json" for folder in folders)
    # The first module has the transformer; those after it have a config.json of another kind.
    return next((json.loads(path.read_text(encoding="utf-8")) for path in found if path.is_file()), {})
