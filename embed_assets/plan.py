"""What a run would compute, and why, told without computing."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from embed_assets.artifacts.blocks import SettingsError
from embed_assets.artifacts.inputs import PARTS, Asked, Inputs, Source
from embed_assets.artifacts.remote_folder import RemoteError, ReplacedError
from embed_assets.artifacts.remote_store import DamagedArtifactError
from embed_assets.artifacts.secrets import hide_secrets
from embed_assets.artifacts.stages import Stage
from embed_assets.artifacts.store import Artifact, ArtifactStore, MissingArtifactError
from embed_assets.artifacts.workspace import CollectionError, Workspace
from embed_assets.graph import needed
from embed_assets.lineage import open_published, resolve
from embed_assets.production.publishing import Judged, decide
from embed_assets.production.stages import IN_PRODUCTION, PUBLISHED_INDEX
from embed_assets.queries.price import ASKED_FOR
from embed_assets.settings import Settings, read_settings

MOST_REASONS = 12
PRICES_IN_WORDS = {
    "prompt_tokens": "about {:,} prompt tokens",
    "answer_tokens": "at most {:,} answer tokens",
    "cost": "{:,.2f} at most for both, in the currency of the settings",
}


class Outcome(StrEnum):
    """What a run would do with a stage."""

    REUSED = "reused"
    COMPUTED = "computed"
    WAITS = "waits"  # what it is made of is computed first: whether that comes out another is not known
    FAILS = "fails"


class Kind(StrEnum):
    """What is different from what the current artifact was made of."""

    NEVER_BUILT = "never built"
    DAMAGED = "damaged"
    CODE = "code version"
    SETTING = "setting"
    INPUT = "input"
    SOURCE = "source"
    ADDED = "added"
    CHANGED = "changed"
    REMOVED = "removed"


@dataclass(frozen=True)
class Reason:
    """One difference.

    Args:
        kind: what is different.
        name: which setting (dotted), input, source, or part of a source such as a document.
        before: what the current artifact was made of, as a JSON value; None where there was none.
        after: what there is now; None where there is none.
    """

    kind: Kind
    name: str = ""
    before: Any = None
    after: Any = None

    def __str__(self) -> str:
        name = self.name if self.name.isprintable() else _shown(self.name)
        match self.kind:
            case Kind.CODE:
                return f"{self.kind}: {_shown(self.before)} → {_shown(self.after)}"
            case Kind.SETTING:
                return f"{self.kind} {name}: {_shown(self.before)} → {_shown(self.after)}"
            case Kind.INPUT:
                return f"another result of {name}"
            case Kind.SOURCE:
                return f"{name}: {'new' if self.before is None else 'gone' if self.after is None else 'changed'}"
        return f"{self.kind} {name}".strip()


@dataclass(frozen=True)
class Planned:
    """What a run would do with a stage of a collection.

    Args:
        collection: its name.
        stage: name of the stage.
        outcome: what a run would do.
        reasons: why, where it is computed or waits.
        waits_for: the stages above that are computed or fail first.
        price: what it takes, such as the number of prompts, as far as that can be told.
        error: why it fails.
    """

    collection: str
    stage: str
    outcome: Outcome
    reasons: tuple[Reason, ...] = ()
    waits_for: tuple[str, ...] = ()
    price: Mapping[str, float] = field(default_factory=dict)
    error: str = ""

    def as_json(self) -> dict[str, Any]:
        """All of it as JSON values."""
        return asdict(self)


def stages_of_run(workspace: Workspace, collection: str, until: Collection[str] = ()) -> list[Stage]:
    """The stages that a run of a collection goes through, in order; all that it may, where its settings cannot be read.

    Args:
        workspace: settings.
        collection: name of the collection.
        until: names of the last stages; without any, all but the optional ones.
    """
    try:
        return needed(until, read_settings(workspace, collection))
    except (CollectionError, SettingsError):
        return needed(until)  # the first of them says what is wrong


def plan(workspace: Workspace, collection: str, until: Collection[str] = (), priced: bool = True) -> list[Planned]:
    """What a run would do, stage by stage in the order of the graph. It computes and writes nothing.

    Args:
        workspace: settings, sources and store.
        collection: name of the collection.
        until: the last stages, as of a run; without any, all but the optional ones.
        priced: whether it is told what a computation would take.
    """
    return [row for row, _ in plan_with_results(workspace, collection, until, priced)]


def plan_with_results(
    workspace: Workspace, collection: str, until: Collection[str] = (), priced: bool = True
) -> list[tuple[Planned, Artifact | None]]:
    """As plan, each stage with the artifact that it would reuse, if there is one."""
    try:
        settings = read_settings(workspace, collection)
    except (CollectionError, SettingsError) as error:
        return [(Planned(collection, stage.name, Outcome.FAILS, error=str(error)), None) for stage in needed(until)]
    settled: dict[str, Artifact] = {}
    planned = []
    for stage in needed(until, settings):
        row, artifact = _plan_stage(workspace, stage, collection, settings, settled, priced)
        if artifact is not None:
            settled[stage.name] = artifact
        planned.append((row, artifact))
    return planned


def would_publish(workspace: Workspace, collection: str, anyway: bool = False) -> bool:
    """Whether a run whose results are all there would write an index, such as one that was interrupted while it published.

    Args:
        workspace: settings, sources and store.
        collection: name of the collection.
        anyway: whether an operator asks for it.
    """
    inputs = resolve(workspace, PUBLISHED_INDEX, collection)
    if (source := inputs.sources.get(IN_PRODUCTION)) is None:
        return False
    if (artifact := workspace.store.find(inputs.stage, inputs.place, inputs.fingerprint)) is None:
        return True
    decided = decide(open_published(workspace, collection), inputs, Judged.read(artifact), source.digest, anyway=anyway)
    return decided.model is not None


def _plan_stage(
    workspace: Workspace, stage: Stage, collection: str, settings: Settings, settled: Mapping[str, Artifact], priced: bool
) -> tuple[Planned, Artifact | None]:
    """What a run would do with a stage, and the artifact that what lies below it would get, if there is one already."""
    open_above = tuple(name for name in stage.needs(settings) if name not in settled)
    try:
        if open_above:
            inputs, whole = _without(workspace, stage, collection, settings, settled)
            if stage.frozen and (artifact := workspace.store.find(stage.name, inputs.place, inputs.fingerprint)):
                return Planned(collection, stage.name, Outcome.REUSED), artifact
            reasons = reasons_of(workspace.store, inputs, whole)
            price = _price_ahead(workspace, stage, inputs) if priced else {}
            return Planned(collection, stage.name, Outcome.WAITS, reasons, open_above, price), None
        inputs = resolve(workspace, stage, collection, settings, instead=settled)
        artifact = workspace.store.find(stage.name, inputs.place, inputs.fingerprint)
        if artifact is not None and (refusal := _refusal(stage, artifact)):
            return Planned(collection, stage.name, Outcome.FAILS, error=refusal), None
        if artifact is not None:
            return Planned(collection, stage.name, Outcome.REUSED), artifact
        reasons = reasons_of(workspace.store, inputs)
        price = stage.price(inputs, workspace.memos) if priced else {}
        return Planned(collection, stage.name, Outcome.COMPUTED, reasons, price=price), None
    except Exception as error:  # whatever cannot be read keeps this stage from its run, and no other collection
        if isinstance(error, RemoteError) and not isinstance(error, DamagedArtifactError | ReplacedError):
            raise  # the object store is out of reach: nothing at all can be told
        return Planned(collection, stage.name, Outcome.FAILS, error=hide_secrets(error)), None


def _price_ahead(workspace: Workspace, stage: Stage, inputs: Inputs) -> Mapping[str, float]:
    """What a stage would take that waits for others, where that can be told without them."""
    try:
        return stage.price(inputs, workspace.memos)
    except MissingArtifactError:
        return {}


def _without(
    workspace: Workspace, stage: Stage, collection: str, settings: Settings, settled: Mapping[str, Artifact]
) -> tuple[Inputs, bool]:
    """What is known already of the inputs of a stage that waits, and whether all of its sources are."""
    blocks = stage.blocks(settings)
    artifacts = {name: settled[name] for name in stage.needs(settings) if name in settled}
    asked = Asked(workspace, collection, blocks, {}, artifacts)
    sources: dict[str, Source] = {}
    whole = True
    for read in stage.sources:
        try:
            sources |= read(asked)
        except LookupError:  # it asks for an artifact that is not there yet
            whole = False
    known = Inputs(stage.name, collection, collection, stage.code_version, blocks, artifacts, sources, stage.frozen)
    return known, whole


def _refusal(stage: Stage, artifact: Artifact) -> str:
    """What the blocking checks say that refuse a result; empty where none does."""
    return "; ".join(f"{it['name']}: {it['message']}" for it in stage.refusals(artifact))


def reasons_of(store: ArtifactStore, inputs: Inputs, whole: bool = True) -> tuple[Reason, ...]:
    """In what the inputs of a step differ from what the current artifact was made of; nothing where they do not.

    Args:
        store: the store.
        inputs: what the step would compute on; artifacts that are not there yet do not count.
        whole: whether all sources are among them.
    """
    if (built := store.find_current(inputs.stage, inputs.place)) is None:
        damaged = store.pointer(inputs.stage, inputs.place) is not None
        return (Reason(Kind.DAMAGED if damaged else Kind.NEVER_BUILT),)
    before = {"code_version": None, "settings": {}, "inputs": {}, "sources": {}} | built.manifest
    after = inputs.ingredients
    reasons = []
    if before["code_version"] != after["code_version"]:
        reasons.append(Reason(Kind.CODE, "", before["code_version"], after["code_version"]))
    reasons += _differences(Kind.SETTING, _flat(before["settings"]), _flat(after["settings"]))
    known = {name: digest for name, digest in before["inputs"].items() if name in after["inputs"]}
    reasons += _differences(Kind.INPUT, known, after["inputs"])
    sources = before["sources"] if whole else {name: it for name, it in before["sources"].items() if name in after["sources"]}
    for reason in _differences(Kind.SOURCE, sources, after["sources"]):
        reasons += _parts(built, inputs, reason.name) or [reason]
    return tuple(reasons)


def _parts(built: Artifact, inputs: Inputs, name: str) -> list[Reason]:
    """What changed within a source, where the artifact and the source tell their parts."""
    source = inputs.sources.get(name)
    if source is None or source.parts is None:
        return []
    try:
        before = json.loads((built.report / PARTS).read_text(encoding="utf-8"))[name]
    except (OSError, ValueError, LookupError, TypeError):
        return []
    kinds = {(True, False): Kind.ADDED, (False, True): Kind.REMOVED, (False, False): Kind.CHANGED}
    found = _differences(Kind.SOURCE, before, source.parts())
    return [Reason(kinds[part.before is None, part.after is None], part.name, part.before, part.after) for part in found]


def _differences(kind: Kind, before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Reason]:
    names = sorted({*before, *after})
    return [
        Reason(kind, name, before.get(name), after.get(name))
        for name in names
        if (name in before, before.get(name)) != (name in after, after.get(name))
    ]


def _flat(settings: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Every setting by its dotted name."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        flat |= _flat(value, f"{above}{name}.") if isinstance(value, dict) else {f"{above}{name}": value}
    return flat


def _shown(value: Any) -> str:
    """A value on one line, without control characters."""
    return json.dumps(value)


def in_words(rows: Sequence[Planned]) -> str:
    """The plan of a collection for people, a line for each stage, and below it why and what it takes."""
    name = rows[0].collection
    if all(row.outcome is Outcome.REUSED for row in rows):
        return f"{name}: all is there"
    words = [f"{name}:"]
    for row in rows:
        lines = [str(reason) for reason in row.reasons[:MOST_REASONS]]
        if len(row.reasons) > MOST_REASONS:
            lines.append(f"and {len(row.reasons) - MOST_REASONS} more")
        asked = {what.removeprefix(ASKED_FOR): count for what, count in row.price.items() if what.startswith(ASKED_FOR)}
        prices = [
            PRICES_IN_WORDS.get(what, f"{{:,}} {what}").format(count)
            for what, count in row.price.items()
            if not what.startswith(ASKED_FOR)
        ]
        lines += [f"takes {', '.join(prices)}"] if prices else []
        lines += [f"asks for {', '.join(f'{count:,} {style}' for style, count in asked.items())}"] if asked else []
        lines += row.error.splitlines()
        outcome = f"waits for {', '.join(row.waits_for)}" if row.outcome is Outcome.WAITS else str(row.outcome)
        words += [f"  {row.stage:16} {outcome}", *(f"{'':19} - {line}" for line in lines)]
    return "\n".join(words)
