"""What every result is made of, and which results are out of date."""

from collections.abc import Mapping
from contextlib import nullcontext, suppress
from dataclasses import replace

from embed_assets.artifacts.files import fingerprint_of
from embed_assets.artifacts.inputs import Asked, Inputs, Source
from embed_assets.artifacts.stages import Stage
from embed_assets.artifacts.store import Artifact, MissingArtifactError
from embed_assets.artifacts.workspace import Workspace
from embed_assets.graph import STAGES
from embed_assets.production.published import Published
from embed_assets.settings import Settings, read_settings
from embed_assets.sweep.stages import TRIAL
from embed_assets.sweep.trials import TrialError, read_trials, trial_place, with_trial
from embed_assets.training.stages import CHECKPOINT


def resolve(
    workspace: Workspace,
    stage: Stage,
    collection: str,
    settings: Settings | None = None,
    looked_at: Mapping[str, str] | None = None,
    instead: Mapping[str, Artifact] | None = None,
) -> Inputs:
    """Read all that a stage computes on, once.

    Args:
        workspace: settings, sources and store.
        stage: the stage.
        collection: name of the collection.
        settings: those of the collection, unless something else is to be tried.
        looked_at: digests of sources that are taken as given.
        instead: artifacts that are taken instead of the current ones, by name.

    Raises:
        MissingArtifactError: an input was never built.
        CollectionError, SettingsError, PromptError, ModelNotFoundError: a source cannot be read.
    """
    settings = settings or read_settings(workspace, collection)
    artifacts: dict[str, Artifact] = {}
    for name in stage.needs(settings):
        if instead and name in instead:
            artifacts[name] = instead[name]
        elif name == TRIAL.name:
            artifacts |= finished_trials(workspace, collection, settings)
        else:
            with suppress(MissingArtifactError) if stage.frozen else nullcontext():
                artifacts[name] = workspace.store.current(name, collection)
    blocks = stage.blocks(settings)
    asked = Asked(workspace, collection, blocks, looked_at or {}, artifacts)
    sources: dict[str, Source] = {}
    for read in stage.sources:
        sources |= read(asked)
    return Inputs(stage.name, collection, collection, stage.code_version, blocks, artifacts, sources, stage.frozen)


def resolve_trial(workspace: Workspace, collection: str, name: str) -> Inputs:
    """As resolve, for a trial of a collection.

    Raises:
        TrialError: the name is none of a trial, or nothing is trained.
    """
    settings = read_settings(workspace, collection)
    if settings.checkpoint.name:
        raise TrialError(
            f"checkpoint.name is {settings.checkpoint.name!r}, which is trained already: set it to '' to try training settings"
        )
    tried = settings.model_copy(update={"training": with_trial(settings.training, name)})
    return replace(resolve(workspace, TRIAL, collection, tried), place=trial_place(collection, name))


def of_checkpoint(trial: Inputs) -> Inputs:
    """The inputs of the checkpoint that a trial trains, out of those of the trial."""
    return replace(
        trial,
        stage=CHECKPOINT.name,
        place=trial.collection,
        code_version=CHECKPOINT.code_version,
        blocks={name: trial.blocks[name] for name in CHECKPOINT.settings},
        artifacts={name: trial.artifacts[name] for name in CHECKPOINT.inputs},
    )


def finished_trials(workspace: Workspace, collection: str, settings: Settings | None = None) -> dict[str, Artifact]:
    """The trials of a collection that were made of what there is now: name → artifact, sorted by name."""
    settings = settings or read_settings(workspace, collection)
    finished = {}
    for name in workspace.store.folders(TRIAL.name, collection):
        try:
            trial = workspace.store.current(TRIAL.name, trial_place(collection, name))
            tried = settings.model_copy(update={"training": with_trial(settings.training, name)})
            wanted = resolve(workspace, TRIAL, collection, tried)
        except (MissingArtifactError, TrialError):
            continue
        if trial.fingerprint == wanted.fingerprint:
            finished[name] = trial
    return finished


def dev_scores(workspace: Workspace, collection: str) -> dict[str, float]:
    """The finished trials of a collection → their mean nDCG@10 on the dev queries."""
    of_trial = {trial.name: trial.values("dev") for trial in read_trials(finished_trials(workspace, collection))}
    return {name: float(values.mean()) for name, values in of_trial.items() if len(values)}


def out_of_date(workspace: Workspace, collection: str) -> dict[str, str]:
    """The stages of a collection that were built from other ingredients than there are now, or lie below one that was.

    A stage that was never built is not out of date, nor is anything below it alone. Rows of a production table
    that changed do not count: when they are worth a run is for the settings of ``retraining`` to say.

    Returns:
        Name of the stage → hash of what it is built from and should be built from, it and those above it. It
        changes when either does, so a build that was overtaken by an edit shows as another hash.
    """
    settings = read_settings(workspace, collection)
    tokens: dict[str, str] = {}
    for stage in STAGES.values():
        try:
            built = workspace.store.current(stage.name, collection)
            wanted = resolve(workspace, stage, collection, settings, built.manifest["sources"]).fingerprint
        except MissingArtifactError:
            continue
        above = {name: tokens[name] for name in stage.needs(settings) if name in tokens}
        if above or wanted != built.fingerprint:
            tokens[stage.name] = fingerprint_of({"built": built.fingerprint, "wanted": wanted, "above": above})
    return tokens


def lineage_of(workspace: Workspace, artifact: Artifact, collection: str) -> dict[str, Artifact]:
    """An artifact and all that it was made of, by the names of the assets; what was swept is left out."""
    found = {artifact.manifest["asset"]: artifact}
    for name, digest in artifact.manifest["inputs"].items():
        try:
            above = workspace.store.find_content(name, collection, digest)
        except MissingArtifactError:
            continue
        found = lineage_of(workspace, above, collection) | found
    return found


def open_published(workspace: Workspace, collection: str) -> Published:
    """What is in production of a collection, as its settings say now."""
    return Published(workspace, collection, read_settings(workspace, collection).publishing)
