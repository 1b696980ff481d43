"""A model that was trained elsewhere, taken over as the checkpoint of a collection."""

from pathlib import Path
from typing import TYPE_CHECKING

from embed_assets.artifacts.blocks import SettingsError
from embed_assets.models.encoders import load_sentence_transformer
from embed_assets.models.hardware import release_memory
from embed_assets.models.lengths import check_length
from embed_assets.models.locations import locate_model
from embed_assets.models.settings import BaseModelSettings, CheckpointSettings
from embed_assets.models.token_projection import load_projection, save_projection
from embed_assets.models.weights import BrokenModelError, what_is_broken
from embed_assets.training.trainer import merge_adapters, save_model

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

CODE = '"auto_map"'  # as a key of JSON: an adapter has "auto_mapping"


def take_over(own: CheckpointSettings, base_model: BaseModelSettings, folder: Path) -> dict[str, int]:
    """Save a model that was trained elsewhere as a fine-tuned one is saved, with safetensors weights alone, adapters merged.

    Args:
        own: the model.
        base_model: its longest input; its prompts, where they are not null; whether code of a model may run later.
        folder: where it is saved.

    Returns:
        Its ``parameters`` and ``dimensions``.

    Raises:
        ModelNotFoundError: there is no such model.
        BrokenModelError: it cannot be loaded, is not whole, or a part of it is pickled.
        SettingsError: it needs code that may not run.
    """
    if own.trust_remote_code and not base_model.trust_remote_code:
        raise SettingsError(
            "checkpoint.trust_remote_code is true, but base_model.trust_remote_code, by which it is loaded later, is false: "
            "set both, or neither"
        )
    changes = {"name": own.name, "revision": own.revision, "trust_remote_code": own.trust_remote_code}
    settings = base_model.model_copy(update=changes)
    location = locate_model(own.name)
    try:
        check_length(settings)
        model = load_sentence_transformer(settings, "cpu")
        with what_is_broken(own.name):
            _merge_adapters(model, str(location), own.revision)
    except BrokenModelError as error:
        raise BrokenModelError(f"checkpoint.name: {error}") from error
    figures = {
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "dimensions": model.get_embedding_dimension() or 0,
    }
    save_model(model, folder)
    if isinstance(location, Path) and location.is_dir() and (projection := load_projection(location)) is not None:
        save_projection(projection, folder)
    del model
    release_memory()
    if not own.trust_remote_code and any(CODE in path.read_text(encoding="utf-8") for path in folder.rglob("*.json")):
        raise SettingsError(
            f"checkpoint.name: {own.name!r} names code of its own (auto_map): read it, then set checkpoint.trust_remote_code and "
            "base_model.trust_remote_code, or take it out of the model's configuration"
        )
    return figures


def _merge_adapters(model: "SentenceTransformer", location: str, revision: str) -> None:
    """Add low-rank adapters, if the model has any, to the weights that they are for."""
    transformer = model.transformers_model
    if not getattr(transformer, "_hf_peft_config_loaded", False):
        return
    whole = type(transformer).from_pretrained(transformer.name_or_path, use_safetensors=True, revision=revision or "main")
    merge_adapters(model, whole, location, revision)
