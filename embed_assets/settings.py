"""All settings of a collection: the blocks of the rooms, joined.

``data/settings.yaml`` holds the defaults of every collection and
``data/collections/<name>/settings.yaml`` what one collection overrides. Everything that can
change the content of an artifact is here; the fingerprint of a stage covers the blocks it reads.
"""

import difflib
import json
import reprlib
import textwrap
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from embed_assets.artifacts.blocks import Block, Outside, SettingsError
from embed_assets.artifacts.secrets import without_secrets
from embed_assets.artifacts.workspace import Workspace
from embed_assets.corpus.settings import ChunkingSettings, DocumentsSettings, ProductionSettings
from embed_assets.evaluation.settings import (
    EvaluationSetSettings,
    ForgettingSettings,
    LateInteractionSettings,
    RerankingSettings,
    ScoringSettings,
)
from embed_assets.models.settings import BaseModelSettings, CheckpointSettings
from embed_assets.permissions import AllowedSettings, operators_settings, refusals
from embed_assets.production.settings import DriftSettings, PublishingSettings, RetrainingSettings
from embed_assets.queries.settings import QuestionsSettings
from embed_assets.settings_files import line_of, read_yaml, refuse_misnamed
from embed_assets.sweep.settings import TrialsSettings
from embed_assets.training.settings import ExportSettings, NegativesSettings, RerankerSettings, TrainingSettings

MOST_ERRORS = 20  # that a message tells of
# Where the words of the validator are those of its own types.
HOW_TO_WRITE = dict.fromkeys(
    ("model_type", "dict_type"),
    "write 'name: value', with the blank, on lines of their own below it, further to the right",
) | dict.fromkeys(("tuple_type", "list_type"), 'write a list, such as ["one", "two"]')


class Settings(Block):
    """All settings of one collection."""

    allowed: AllowedSettings = AllowedSettings()
    base_model: BaseModelSettings = BaseModelSettings()
    documents: DocumentsSettings = DocumentsSettings()
    production: ProductionSettings = ProductionSettings()
    retraining: RetrainingSettings = RetrainingSettings()
    chunking: ChunkingSettings = ChunkingSettings()
    questions: QuestionsSettings = QuestionsSettings()
    evaluation_set: EvaluationSetSettings = EvaluationSetSettings()
    negatives: NegativesSettings = NegativesSettings()
    training: TrainingSettings = TrainingSettings()
    checkpoint: CheckpointSettings = CheckpointSettings()
    trials: TrialsSettings = TrialsSettings()
    reranker: RerankerSettings = RerankerSettings()
    reranking: RerankingSettings = RerankingSettings()
    late_interaction: LateInteractionSettings = LateInteractionSettings()
    scoring: ScoringSettings = ScoringSettings()
    forgetting: ForgettingSettings = ForgettingSettings()
    export: ExportSettings = ExportSettings()
    publishing: PublishingSettings = PublishingSettings()
    drift: DriftSettings = DriftSettings()


class NamedModel(NamedTuple):
    """A model that settings name: what it is for, its folder or name, and its commit on a hub."""

    what: str
    name: str
    revision: str


def models_of(settings: Settings) -> list[NamedModel]:
    """The models that a run loads, as the settings name them; those that an endpoint serves are not loaded."""
    base_model, own, negatives, reranker = settings.base_model, settings.checkpoint, settings.negatives, settings.reranker
    found = [
        NamedModel("base model", base_model.name, base_model.revision),
        NamedModel("checkpoint", own.name, own.revision),
        NamedModel("cross-encoder", negatives.cross_encoder, negatives.cross_encoder_revision),
        NamedModel("re-ranker", reranker.name, reranker.revision),
    ]
    loaded = {task: model for task, model in settings.questions.language_models.items() if model.engine == "vllm"}
    found += [NamedModel(task, model.name, model.revision) for task, model in loaded.items()]
    return [model for model in found if model.name]


def read_settings(workspace: Workspace, collection: str) -> Settings:
    """The settings of a collection: the data folder's settings.yaml with its own on top; errors as load_settings."""
    return load_settings(workspace.data / "settings.yaml", workspace.collection_folder(collection) / "settings.yaml")


def load_settings(defaults: Path, overrides: Path | None = None) -> Settings:
    """Read the settings of one collection.

    Args:
        defaults: the operator's settings.yaml, for all collections; a file that does not exist means the built-in defaults.
        overrides: the collection's own settings.yaml, merged on top key by key; it may not exist either. The same file as
            defaults if the data folder is one collection, which then has no operator.

    Raises:
        SettingsError: a file is not YAML, is misnamed, has an unknown key, a wrong type or a value out of range, or the
            collection's own sets what only the operator may (see permissions).
    """
    for path in (defaults, overrides):
        if path is not None:
            refuse_misnamed(path.parent)
    files = [path for path in (defaults, overrides) if path is not None and (path.exists() or path.is_symlink())]
    layers = [(path, _without_empty_blocks(read_yaml(path), Settings)) for path in files]
    merged: dict[str, Any] = {}
    for _, layer in layers:
        merged = _merge(merged, layer)
    try:
        settings = Settings.model_validate(merged)
    except ValidationError as error:
        raise SettingsError(_told(_explain(item, layers) for item in error.errors(include_url=False))) from None
    if overrides is not None and overrides in files:
        operators_layer = layers[0][1] if len(layers) > 1 and defaults != overrides else {}
        _refuse_what_the_operator_decides(settings, layers[-1], operators_layer, defaults)
    return settings


def _refuse_what_the_operator_decides(
    settings: Settings, own: tuple[Path, dict[str, Any]], operators_layer: dict[str, Any], defaults: Path
) -> None:
    path, layer = own
    if "allowed" in layer:
        raise SettingsError(
            f"{path}: allowed: a collection cannot allow itself anything: this block belongs into the settings.yaml of the data "
            f"folder that holds collections/{_line(path, ['allowed'])}"
        )
    operators = operators_settings(Settings, operators_layer)
    refused = refusals(settings, operators, operators.allowed, defaults.parent)
    if told := _told(f"{path}: {'.'.join(keys)}: {what}{_line(path, keys)}" for keys, what in refused):
        raise SettingsError(told)


def _told(errors: Iterator[str]) -> str:
    """The first errors of a file, one a line."""
    first = list(islice(errors, MOST_ERRORS))
    return "\n".join([*first, "there are more errors"] if next(errors, None) else first)


def _block(of: type[BaseModel], name: str) -> type[BaseModel] | None:
    """The block that a field of a block holds; None if it holds a setting, or is not there."""
    field = of.model_fields.get(name)
    annotation = field.annotation if field else None
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def _without_empty_blocks(layer: dict[str, Any], of: type[BaseModel]) -> dict[str, Any]:
    """What a file says, without blocks whose lines are all comments."""
    said: dict[str, Any] = {}
    for key, value in layer.items():
        block = _block(of, key)
        if block is None:
            said[key] = value
        elif value is not None:
            said[key] = _without_empty_blocks(value, block) if isinstance(value, dict) else value
    return said


def _merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        both_blocks = isinstance(value, dict) and isinstance(below.get(key), dict)
        merged[key] = _merge(below[key], value) if both_blocks else value
    return merged


def _explain(error: Any, layers: list[tuple[Path, dict[str, Any]]]) -> str:
    keys = [str(part) for part in error["loc"]]
    path = next((path for path, layer in reversed(layers) if _holds(layer, keys)), layers[-1][0])
    where, line = f"{path}: {'.'.join(keys)}", _line(path, keys)
    block: type[BaseModel] = Settings
    for key in keys[:-1]:
        inner = _block(block, key)
        if inner is None:
            break
        block = inner
    if error["type"] == "extra_forbidden":
        return f"{where}: unknown key; {_hint(keys[-1], block)}Allowed here: {', '.join(block.model_fields)}{line}"
    field = block.model_fields.get(keys[-1])
    meaning = f" ({field.description})" if field is not None and field.description else ""
    return f"{where}: {_shown(error['input'], field)}: {HOW_TO_WRITE.get(error['type'], error['msg'])}{meaning}{line}"


def _hint(key: str, block: type[BaseModel]) -> str:
    """What somebody may have meant by a key that a block does not have."""
    name = key.rpartition(".")[2]
    inner = {of: _block(block, of) for of in block.model_fields}
    blocks = [of for of, fields in inner.items() if fields is not None and name in fields.model_fields]
    if blocks:
        return f"{name!r} is a setting of {', '.join(blocks)}: write it below the name of its block, further to the right. "
    near = difflib.get_close_matches(key, block.model_fields, n=1)
    return f"did you mean {near[0]!r}? " if near else ""


def _line(path: Path, keys: list[str]) -> str:
    number = line_of(path, keys)
    return f" (line {number})" if number else ""


def _shown(value: Any, field: FieldInfo | None) -> str:
    """A value that is not allowed, unless it may hold something that is secret, or is too much to read."""
    if value is None:
        return "an empty value is not allowed"
    if isinstance(value, dict) or (field is not None and any(isinstance(mark, Outside) for mark in field.metadata)):
        return "this is not allowed"
    hint = " (write true or false)" if value in ("yes", "no", "on", "off") else ""
    return f"{reprlib.repr(value) if isinstance(value, list | tuple) else without_secrets(repr(value))} is not allowed{hint}"


def _holds(layer: Any, keys: list[str]) -> bool:
    for key in keys:
        if not isinstance(layer, dict) or key not in layer:
            return isinstance(layer, (list, tuple)) and key.isdigit()
        layer = layer[key]
    return True


def describe_settings(block: BaseModel, indent: str = "") -> str:
    """Settings as YAML, each key under a comment that says what it means."""
    lines = []
    for name, field in type(block).model_fields.items():
        value = getattr(block, name)
        if isinstance(value, BaseModel):
            meaning = field.description or (type(value).__doc__ or "").strip()
            lines += [
                "" if not indent else None,
                f"{indent}# {meaning}",
                f"{indent}{name}:",
                describe_settings(value, indent + "  "),
            ]
        else:
            shown = json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)
            lines += [
                *textwrap.wrap(f"# {field.description}", 110, initial_indent=indent, subsequent_indent=f"{indent}# "),
                f"{indent}{name}: {shown}",
            ]
    return "\n".join(line for line in lines if line is not None).strip("\n")
