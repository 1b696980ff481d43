"""All settings of a collection: the blocks of the rooms, joined.

``data/settings.yaml`` holds the defaults of every collection and
``data/collections/<name>/settings.yaml`` what one collection overrides. Everything that can
change the content of an artifact is here; the fingerprint of a stage covers the blocks it reads.
"""

import difflib
import json
import re
import textwrap
import time
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from embed_assets.artifacts.blocks import Block, SettingsError
from embed_assets.artifacts.workspace import Workspace
from embed_assets.corpus.settings import ChunkingSettings, DocumentsSettings, ProductionSettings
from embed_assets.evaluation.settings import EvaluationSetSettings, ForgettingSettings, RerankingSettings, ScoringSettings
from embed_assets.models.settings import BaseModelSettings
from embed_assets.production.settings import DriftSettings, PublishingSettings, RetrainingSettings
from embed_assets.queries.settings import QuestionsSettings
from embed_assets.sweep.settings import TrialsSettings
from embed_assets.training.settings import ExportSettings, NegativesSettings, RerankerSettings, TrainingSettings

SETTLED_NS = 2_000_000_000  # a file that was left alone for so long does not change unnoticed


class Settings(Block):
    """All settings of one collection."""

    base_model: BaseModelSettings = BaseModelSettings()
    documents: DocumentsSettings = DocumentsSettings()
    production: ProductionSettings = ProductionSettings()
    retraining: RetrainingSettings = RetrainingSettings()
    chunking: ChunkingSettings = ChunkingSettings()
    questions: QuestionsSettings = QuestionsSettings()
    evaluation_set: EvaluationSetSettings = EvaluationSetSettings()
    negatives: NegativesSettings = NegativesSettings()
    training: TrainingSettings = TrainingSettings()
    trials: TrialsSettings = TrialsSettings()
    reranker: RerankerSettings = RerankerSettings()
    reranking: RerankingSettings = RerankingSettings()
    scoring: ScoringSettings = ScoringSettings()
    forgetting: ForgettingSettings = ForgettingSettings()
    export: ExportSettings = ExportSettings()
    publishing: PublishingSettings = PublishingSettings()
    drift: DriftSettings = DriftSettings()


class _YamlLoader(yaml.SafeLoader):
    """SafeLoader that reads 2e-5 as a number, as YAML 1.2 does, and refuses a key given twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} is not a text", key_node.start_mark)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} stands twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


_YamlLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def read_settings(workspace: Workspace, collection: str) -> Settings:
    """The settings of a collection: the data folder's settings.yaml with its own on top; errors as load_settings."""
    return load_settings(workspace.data / "settings.yaml", workspace.collection_folder(collection) / "settings.yaml")


def load_settings(defaults: Path, overrides: Path | None = None) -> Settings:
    """Read the settings of one collection.

    Args:
        defaults: the settings.yaml of all collections; a file that does not exist means the built-in defaults.
        overrides: the collection's own settings.yaml, merged on top key by key; it may not exist either.

    Raises:
        SettingsError: a file is not YAML, or has an unknown key, a wrong type or a value out of range.
    """
    files = [path for path in (defaults, overrides) if path is not None and path.is_file()]
    layers = [(path, _read_yaml(path)) for path in files]
    merged: dict[str, Any] = {}
    for _, layer in layers:
        merged = _merge(merged, layer)
    try:
        return Settings.model_validate(merged)
    except ValidationError as error:
        raise SettingsError("\n".join(_explain(item, layers) for item in error.errors())) from None


def _read_yaml(path: Path) -> dict[str, Any]:
    """What is in the file; read again only if it changed, so that a look over many collections is quick."""
    status = path.stat()
    age = time.time_ns() - status.st_mtime_ns
    # Within a tick of the file system's clock, an edit may leave size and time as they are.
    read = _read_yaml_once if age > SETTLED_NS else _read_yaml_once.__wrapped__
    return read(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=10_000)
def _read_yaml_once(path: Path, size: int, modified: int) -> dict[str, Any]:
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _YamlLoader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: not a YAML file: {error}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise SettingsError(f"{path}: expected blocks such as 'chunking:', found {type(content).__name__}")
    return content


def _merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        both_blocks = isinstance(value, dict) and isinstance(below.get(key), dict)
        merged[key] = _merge(below[key], value) if both_blocks else value
    return merged


def _explain(error: dict[str, Any], layers: list[tuple[Path, dict[str, Any]]]) -> str:
    keys = [str(part) for part in error["loc"]]
    path = next((path for path, layer in reversed(layers) if _holds(layer, keys)), layers[-1][0])
    where = f"{path}: {'.'.join(keys)}"
    block: type[BaseModel] = Settings
    for key in keys[:-1]:
        field = block.model_fields.get(key)
        if field is None or not isinstance(field.annotation, type) or not issubclass(field.annotation, BaseModel):
            break
        block = field.annotation
    if error["type"] == "extra_forbidden":
        near = difflib.get_close_matches(keys[-1], block.model_fields, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        return f"{where}: unknown key; {hint}Allowed here: {', '.join(block.model_fields)}"
    field = block.model_fields.get(keys[-1])
    meaning = f" ({field.description})" if field is not None and field.description else ""
    return f"{where}: {error['input']!r} is not allowed: {error['msg']}{meaning}"


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
