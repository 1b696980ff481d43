"""What stands in front of the queries and the passages of a model."""

import json
from pathlib import Path
from typing import Any

from embed_assets.models.locations import ModelNotFoundError, locate_model
from embed_assets.models.settings import BaseModelSettings

CONFIGURATION = "config_sentence_transformers.json"
# The names under which sentence-transformers looks for the prompts of encode_query and encode_document.
QUERY_NAMES, PASSAGE_NAMES = ("query",), ("document", "passage", "corpus")


def with_prompts(settings: BaseModelSettings, name: str | None = None) -> BaseModelSettings:
    """The settings with a text for both prompts: where they name none, the one of the model's own configuration.

    Args:
        settings: of the base model.
        name: folder or name of the model, if it is not the base model.

    Raises:
        ModelNotFoundError: the model is not there, or its configuration cannot be read.
    """
    if settings.query_prompt is not None and settings.passage_prompt is not None:
        return settings
    revision = settings.revision if name in (None, settings.name) else ""
    configured = _read(name or settings.name, CONFIGURATION, revision)
    prompts: dict[str, str | None] = configured.get("prompts") or {}
    default = prompts.get(configured.get("default_prompt_name") or "") or ""
    own = [next((prompts[it] for it in names if prompts.get(it) is not None), default) for names in (QUERY_NAMES, PASSAGE_NAMES)]
    given = (settings.query_prompt, settings.passage_prompt)
    query, passage = (configured if prompt is None else prompt for prompt, configured in zip(given, own, strict=True))
    return settings.model_copy(update={"query_prompt": query, "passage_prompt": passage})


def own_length(name: str) -> int | None:
    """The longest input that a model's own configuration gives, in tokens; None where it gives none.

    Raises:
        ModelNotFoundError: the model is not there.
    """
    length = _read(name, "sentence_bert_config.json").get("max_seq_length")
    return length if isinstance(length, int) and length > 0 else None


def _read(name: str, file: str, revision: str = "") -> dict[str, Any]:
    """A JSON file of a model; empty where the model has no such file."""
    location = locate_model(name)
    path = location / file if isinstance(location, Path) else _of_hub(location, file, revision)
    if path is None or not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelNotFoundError(f"model {name!r}: {path} is not JSON: {error}") from None
    return content if isinstance(content, dict) else {}


def _of_hub(name: str, file: str, revision: str) -> Path | None:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(name, file, revision=revision or None))
    except LocalEntryNotFoundError as error:
        raise ModelNotFoundError(f"model {name!r}: {file} is neither in the cache nor to be had: {error}") from None
    except EntryNotFoundError:
        return None
