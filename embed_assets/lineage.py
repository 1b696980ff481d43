"""What every result is made of, and which results are out of date."""

from embed_assets.documents import source_digest
from embed_assets.evaluation_set import human_labels_digest
from embed_assets.models.language_models import language_model_digest
from embed_assets.models.locations import model_digest
from embed_assets.own_pairs import own_pairs_digest
from embed_assets.prompts import load_question_prompts
from embed_assets.settings import Settings
from embed_assets.stages import STAGES, Stage
from embed_assets.store import MissingArtifactError, fingerprint_of
from embed_assets.workspace import Workspace


def ingredients(workspace: Workspace, stage: Stage, collection: str) -> dict:
    """All that a stage's result depends on; its hash is the fingerprint.

    Args:
        workspace: settings, sources and store.
        stage: the stage.
        collection: name of the collection.

    Returns:
        The code version, the settings that the stage reads, and the digests of its inputs and sources.

    Raises:
        MissingArtifactError: an input was never built.
    """
    settings = workspace.settings(collection)
    inputs = () if stage.frozen else stage.inputs
    return {
        "code_version": stage.code_version,
        "settings": {block: getattr(settings, block).model_dump(mode="json") for block in stage.settings},
        "inputs": {name: workspace.store.current(name, collection).digest for name in inputs},
        "sources": _sources(workspace, stage, collection, settings),
    }


def out_of_date(workspace: Workspace, collection: str) -> dict[str, str]:
    """The stages of a collection that were built from other ingredients than there are now, or lie below one that was.

    A stage that was never built is not out of date, nor is anything below it alone.

    Returns:
        Name of the stage → hash of what it is built from and should be built from, it and those above it. It
        changes when either does, so a build that was overtaken by an edit shows as another hash.
    """
    tokens: dict[str, str] = {}
    for stage in STAGES.values():
        try:
            built = workspace.store.current(stage.name, collection)
            fingerprint = fingerprint_of({"asset": stage.name, **ingredients(workspace, stage, collection)})
        except MissingArtifactError:
            continue
        above = {name: tokens[name] for name in stage.inputs if name in tokens}
        if above or fingerprint != built.fingerprint:
            tokens[stage.name] = fingerprint_of({"built": built.fingerprint, "wanted": fingerprint, "above": above})
    return tokens


def _sources(workspace: Workspace, stage: Stage, collection: str, settings: Settings) -> dict[str, str]:
    """Digests of the inputs of a stage that are not artifacts."""
    folder = workspace.collection_folder(collection)
    sources: dict[str, str] = {}
    if "documents" in stage.settings:
        sources["documents"] = source_digest(folder)
    if "base_model" in stage.settings:
        sources["base model"] = model_digest(settings.base_model.name)
    if "questions" in stage.settings:
        if settings.questions.own_pairs != "ignore" and (own := own_pairs_digest(folder)):
            sources["own pairs"] = own
        for name, prompt in load_question_prompts(settings.questions, workspace.prompt_folders(collection)).items():
            sources[f"prompt {name}"] = prompt.fingerprint
        for task, model in settings.questions.language_models.items():
            sources[task] = language_model_digest(model)
    if stage.name == "evaluation_set":
        sources["human labels"] = human_labels_digest(folder)
    return sources
