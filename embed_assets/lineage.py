"""What every result is made of, and which results are out of date."""

from collections.abc import Mapping

from embed_assets.artifacts.files import fingerprint_of
from embed_assets.artifacts.stages import Stage
from embed_assets.artifacts.store import Artifact, MissingArtifactError
from embed_assets.artifacts.workspace import Workspace
from embed_assets.corpus import production_table as production
from embed_assets.corpus.documents import source_digest
from embed_assets.evaluation.evaluation_set import human_labels_digest
from embed_assets.graph import STAGES
from embed_assets.models.language_models import language_model_digest
from embed_assets.models.locations import model_digest
from embed_assets.production import publishing
from embed_assets.queries.own_pairs import own_pairs_digest
from embed_assets.queries.prompts import load_question_prompts
from embed_assets.settings import Settings
from embed_assets.sweep.stages import TRIAL
from embed_assets.sweep.trials import Trial, TrialError, read_trial, trial_place, with_trial


def ingredients(
    workspace: Workspace,
    stage: Stage,
    collection: str,
    looked_at: Mapping[str, str] | None = None,
    settings: Settings | None = None,
) -> dict:
    """All that a stage's result depends on; its hash is the fingerprint.

    Args:
        workspace: settings, sources and store.
        stage: the stage.
        collection: name of the collection.
        looked_at: digests of sources that are taken as given.
        settings: those of the collection, unless something else is to be tried.

    Returns:
        The code version, the settings that the stage reads, and the digests of its inputs and sources.

    Raises:
        MissingArtifactError: an input was never built.
    """
    settings = settings or workspace.settings(collection)
    inputs: dict[str, str] = {}
    for name in () if stage.frozen else stage.inputs:
        if name == TRIAL.name:
            inputs |= {trial: artifact.digest for trial, artifact in finished_trials(workspace, collection).items()}
        else:
            inputs[name] = workspace.store.current(name, collection).digest
    return {
        "code_version": stage.code_version,
        "settings": {block: getattr(settings, block).model_dump(mode="json") for block in stage.settings},
        "inputs": inputs,
        "sources": _sources(workspace, stage, collection, settings, looked_at or {}),
    }


def finished_trials(workspace: Workspace, collection: str) -> dict[str, Artifact]:
    """The trials of a collection that were made of what there is now: name → artifact, sorted by name."""
    settings = workspace.settings(collection)
    finished = {}
    for folder in sorted((workspace.store.root / TRIAL.name / collection).glob("*/")):
        try:
            trial = workspace.store.current(TRIAL.name, trial_place(collection, folder.name))
            wanted = ingredients(workspace, TRIAL, collection, settings=with_trial(settings, folder.name))
        except (MissingArtifactError, TrialError):
            continue
        if trial.fingerprint == fingerprint_of({"asset": TRIAL.name, **wanted}):
            finished[folder.name] = trial
    return finished


def read_trials(workspace: Workspace, collection: str) -> list[Trial]:
    """What the finished trials of a collection have found."""
    return [read_trial(*finished) for finished in finished_trials(workspace, collection).items()]


def dev_scores(workspace: Workspace, collection: str) -> dict[str, float]:
    """The finished trials of a collection → their mean nDCG@10 on the dev queries."""
    of_trial = {trial.name: trial.values("dev") for trial in read_trials(workspace, collection)}
    return {name: float(values.mean()) for name, values in of_trial.items() if len(values)}


def out_of_date(workspace: Workspace, collection: str) -> dict[str, str]:
    """The stages of a collection that were built from other ingredients than there are now, or lie below one that was.

    A stage that was never built is not out of date, nor is anything below it alone. Rows of a production table
    that changed do not count: when they are worth a run is for the settings of ``retraining`` to say.

    Returns:
        Name of the stage → hash of what it is built from and should be built from, it and those above it. It
        changes when either does, so a build that was overtaken by an edit shows as another hash.
    """
    tokens: dict[str, str] = {}
    for stage in STAGES.values():
        try:
            built = workspace.store.current(stage.name, collection)
            made_of = ingredients(workspace, stage, collection, built.manifest["sources"])
            fingerprint = fingerprint_of({"asset": stage.name, **made_of})
        except MissingArtifactError:
            continue
        above = {name: tokens[name] for name in stage.inputs if name in tokens}
        if above or fingerprint != built.fingerprint:
            tokens[stage.name] = fingerprint_of({"built": built.fingerprint, "wanted": fingerprint, "above": above})
    return tokens


def _sources(
    workspace: Workspace, stage: Stage, collection: str, settings: Settings, looked_at: Mapping[str, str]
) -> dict[str, str]:
    """Digests of the inputs of a stage that are not artifacts."""
    folder = workspace.collection_folder(collection)
    sources: dict[str, str] = {}
    if "production" in stage.settings and settings.production.uri:
        sources[production.SOURCE] = looked_at.get(production.SOURCE) or production.look(workspace, collection).digest
    elif "documents" in stage.settings:
        sources["documents"] = source_digest(folder)
    if "base_model" in stage.settings:
        sources["base model"] = model_digest(settings.base_model.name)
    if "reranker" in stage.settings and settings.reranker.name:
        sources["re-ranker"] = model_digest(settings.reranker.name)
    if "questions" in stage.settings:
        if settings.questions.own_pairs != "ignore" and (own := own_pairs_digest(folder)):
            sources["own pairs"] = own
        for name, prompt in load_question_prompts(settings.questions, workspace.prompt_folders(collection)).items():
            sources[f"prompt {name}"] = prompt.fingerprint
        for task, model in settings.questions.language_models.items():
            sources[task] = language_model_digest(model)
    if "negatives" in stage.settings and settings.negatives.cross_encoder:
        sources["cross-encoder"] = model_digest(settings.negatives.cross_encoder)
    if stage.name == "published_index" and settings.publishing.uri:
        sources[publishing.SOURCE] = publishing.in_production(workspace, collection)
    if stage.name == "forgetting" and (other := settings.forgetting.collection):
        for name in ("corpus_chunks", "evaluation_set"):
            sources[f"{name} of {other}"] = workspace.store.current(name, other).digest
    if stage.name == "evaluation_set":
        sources["human labels"] = human_labels_digest(folder)
    return sources
