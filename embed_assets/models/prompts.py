"""What stands in front of the queries and the passages of a model."""

import json
from pathlib import Path
from typing import Any

from embed_assets.models.lengths import QUERY, Task, positions
from embed_assets.models.locations import ModelNotFoundError, locate_model, not_on_hub
from embed_assets.models.settings import BaseModelSettings

CONFIGURATION = "config_sentence_transformers.json"
# The names under which sentence-transformers looks for the prompts of encode_query and encode_document.
QUERY_NAMES, PASSAGE_NAMES = ("query",), ("document", "passage", "corpus")
LONGEST = 32768  # as base_model.max_tokens


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
    configured = _read(name or settings.name, CONFIGURATION, settings.revision_of(name))
    prompts: dict[str, str | None] = configured.get("prompts") or {}
    default = prompts.get(configured.get("default_prompt_name") or "") or ""
    own = [next((prompts[it] for it in names if prompts.get(it) is not None), default) for names in (QUERY_NAMES, PASSAGE_NAMES)]
    given = (settings.query_prompt, settings.passage_prompt)
    query, passage = (configured if prompt is None else prompt for prompt, configured in zip(given, own, strict=True))
    return settings.model_copy(update={"query_prompt": query, "passage_prompt": passage})


def prompt_of(settings: BaseModelSettings, task: Task) -> str:
    """What stands in front of a query, or of a passage; the settings have the model's own prompts (with_prompts)."""
    return (settings.query_prompt if task == QUERY else settings.passage_prompt) or ""


def own_lengths(name: str, revision: str = "") -> dict[str, int | None]:
    """``max_tokens`` and ``query_max_tokens`` that a model's own configuration gives, each None where it gives none.

    Args:
        name: folder or name of the model.
        revision: commit of a model on a hub; empty: the newest.

    Raises:
        ModelNotFoundError: the model is not there.
    """
    configured = _read(name, "sentence_bert_config.json", revision)
    of_any = configured.get("max_seq_length") or _read(name, "tokenizer_config.json", revision).get("model_max_length")
    # The configuration of a tokenizer that has no bound gives 10^30.
    most = positions(_read(name, "config.json", revision)) or LONGEST
    longest, query, passage = (
        min(length, most) if isinstance(length, int) and 0 < length <= LONGEST else None
        for length in (of_any, configured.get("query_length"), configured.get("document_length"))
    )
    return {"max_tokens": passage or longest, "query_max_tokens": query}


def _read(name: str, file: str, revision: str) -> dict[str, Any]:
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
        raise not_on_hub(name, error, f"{file} of such a model") from None
    except EntryNotFoundError:
        return None
    except OSError as error:
        raise not_on_hub(name, error) from None
