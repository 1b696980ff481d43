"""What is in production: an index, the model that it was made with, and where both lie."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embed_assets.artifacts.blocks import content_of
from embed_assets.artifacts.files import fingerprint_of
from embed_assets.artifacts.store import Artifact, MissingArtifactError
from embed_assets.artifacts.workspace import Workspace
from embed_assets.evaluation.systems import is_for_queries
from embed_assets.models.encoders import Encoder, TextEncoder
from embed_assets.models.hardware import Compute
from embed_assets.models.locations import ModelNotFoundError
from embed_assets.models.settings import BaseModelSettings
from embed_assets.models.sources import BASE_MODEL, digest_of_base
from embed_assets.models.token_encoder import TokenEncoder
from embed_assets.models.two_towers import TwoTowers
from embed_assets.production.gate import NOT_BETTER, read_verdict
from embed_assets.production.published_index import Pointer, PublishedIndex, PublishingError, metadata_of
from embed_assets.production.published_tokens import Tokens
from embed_assets.production.published_vectors import StoredVectors
from embed_assets.production.settings import PublishingSettings

if TYPE_CHECKING:
    from lancedb.table import Table

NOTHING = "nothing is published: publishing.uri is empty"
# Fields of the block base_model that say nothing of passages.
ONLY_OF_QUERIES = ("query_prompt", "query_max_tokens")
WITHOUT_CHECKPOINT = "publish from the home that built it, or set publish_anyway in the launchpad"


@dataclass(frozen=True)
class Model:
    """A model that an index is made with: a checkpoint, or the base model as it is.

    Args:
        checkpoint: fingerprint of the checkpoint; BASE_MODEL for the base model.
        digest: of its content.
        base_model: content of the settings block that it is read with.
        passages: where it is for queries alone, digest of the base model, which encodes passages.
    """

    checkpoint: str
    digest: str
    base_model: Mapping[str, Any]
    passages: str = ""

    @property
    def is_base(self) -> bool:
        """Whether it was not fine-tuned."""
        return self.checkpoint == BASE_MODEL

    @property
    def name(self) -> str:
        """What tells it from others: the fingerprint of the checkpoint, or BASE_MODEL and a hash."""
        of_base = fingerprint_of({"model": self.digest, "base_model": self.base_model})
        return f"{BASE_MODEL} {of_base}" if self.is_base else self.checkpoint

    @property
    def settings(self) -> BaseModelSettings:
        """Its length and its prompts."""
        return BaseModelSettings.model_validate(self.base_model)

    @property
    def of_passages(self) -> tuple[str, Mapping[str, Any]]:
        """What tells the vectors of its passages from others: the digest of the model that encodes them, and how it is read."""
        read = {name: value for name, value in self.base_model.items() if name not in ONLY_OF_QUERIES}
        return self.passages or self.digest, read


def model_of(checkpoint: Artifact) -> Model:
    """The model of a checkpoint."""
    passages = checkpoint.manifest["sources"][BASE_MODEL] if is_for_queries(checkpoint) else ""
    return Model(checkpoint.fingerprint, checkpoint.digest, checkpoint.manifest["settings"]["base_model"], passages)


def base_model_of(settings: BaseModelSettings, digest: str) -> Model:
    """The base model that the settings name, whose files have this digest."""
    return Model(BASE_MODEL, digest, content_of(settings))


def model_of_table(metadata: Mapping[str, Any]) -> Model:
    """The model of a published table, given what the table is made of."""
    return Model(metadata["checkpoint"], metadata["model"], metadata["base_model"], metadata.get("passages", ""))


@dataclass(frozen=True)
class Published:
    """The published index of a collection, and the artifacts that it was made of.

    Args:
        workspace: databases, store and memos.
        collection: name of the collection.
        settings: where it is published.
    """

    workspace: Workspace
    collection: str
    settings: PublishingSettings

    @property
    def index(self) -> PublishedIndex:
        """The index.

        Raises:
            PublishingError: the settings name no database.
        """
        if not self.settings.uri:
            raise PublishingError(f"{self.collection}: {NOTHING}")
        return PublishedIndex(self.workspace.database(self.settings.uri), self.settings.table or self.collection)

    @property
    def lock_file(self) -> Path:
        """Locked by whoever writes or removes tables of the index: one process of a home at a time."""
        folder = self.workspace.store.root / "published_index" / self.collection
        folder.mkdir(parents=True, exist_ok=True)
        return folder / "publish.lock"

    def in_production(self) -> tuple[Pointer, dict[str, Any]]:
        """The pointer, and what the table in production is made of; empty where there is none.

        Raises:
            PublishingError: it is of another collection.
        """
        index = self.index
        pointer = index.pointer()
        metadata = index.metadata(pointer.current)
        self._refuse_anothers(metadata)
        return pointer, metadata

    def open(self) -> "Table":
        """The table in production, as PublishedIndex.open has it.

        Raises:
            PublishingError: there is none, or it is of another collection.
        """
        table = self.index.open()
        self._refuse_anothers(metadata_of(table))
        return table

    def rollback(self) -> Pointer:
        """As PublishedIndex.rollback.

        Raises:
            PublishingError: what is in production is of another collection, or as PublishedIndex.rollback.
        """
        self.in_production()
        return self.index.rollback()

    def owner(self, metadata: Mapping[str, Any]) -> str:
        """The collection that a table was written for: another name if the folder has got a new one since."""
        return metadata.get("collection", self.collection)

    def owns(self, metadata: Mapping[str, Any]) -> bool:
        """Whether a table is of this collection, or of one of this home whose folder is gone or has got another name."""
        owner = self.owner(metadata)
        of_this_home = metadata.get("publisher") == self.workspace.home_id
        return owner == self.collection or (of_this_home and owner not in self.workspace.collections())

    def _refuse_anothers(self, metadata: Mapping[str, Any]) -> None:
        """Of two collections that publish under one name, the first one has it, until its folder is gone or has another name."""
        if self.owns(metadata):
            return
        raise PublishingError(
            f"{self.index.uri}, {self.index.name!r}: that is the index of the collection {self.owner(metadata)!r}, not of "
            f"{self.collection!r}: give each of them a publishing.table of its own, in their settings.yaml"
        )

    def to_beat(self, checkpoint: Artifact, chunks: Artifact, base: Model) -> str:
        """Name of the model that a candidate has to beat; BASE_MODEL where that is the base model of the settings.

        For the candidate that is in production itself, it is the one that it took the place of.

        Args:
            checkpoint: the candidate.
            chunks: what it would be published with.
            base: the base model of the settings, which is to beat where nothing is published.
        """
        index = self.index
        current = index.pointer().current
        metadata = index.metadata(current)
        if current and current == index.table_name(self.made_of(model_of(checkpoint), chunks)["fingerprint"]):
            return metadata.get("took_the_place_of", BASE_MODEL)
        name = model_of_table(metadata).name if metadata else base.name
        return BASE_MODEL if name == base.name else name

    def made_of(self, model: Model, chunks: Artifact) -> dict[str, Any]:
        """What an index of a model and of chunks is made of."""
        made_of: dict[str, Any] = {
            "collection": self.collection,
            # Two homes never write to the same table, be their checkpoints the same or not.
            "publisher": self.workspace.home_id,
            "checkpoint": model.checkpoint,
            "model": model.digest,
            "chunks": chunks.digest,
            "metadata_columns": self.metadata_columns(chunks),
            "base_model": dict(model.base_model),
        }
        if model.passages:
            made_of |= {"passages": model.passages}
        made_of |= self.vectors(model).made_of
        if self.settings.tokens:
            made_of |= {"token_pooling": self.settings.token_pooling}
        return made_of | {"fingerprint": fingerprint_of(made_of)}

    def vectors(self, model: Model) -> StoredVectors:
        """How the vectors of a model are published; those of the base model with all dimensions, it was trained for no other."""
        settings = self.settings
        dimensions = 0 if model.is_base else settings.dimensions
        return StoredVectors(
            dimensions, settings.whole_vectors, settings.number_type, settings.vector_index, settings.vector_index_rows
        )

    def live_vectors(self) -> StoredVectors:
        """How the vectors in production are stored."""
        index = self.index
        return StoredVectors.of(index.metadata(index.pointer().current))

    def scored(self, model: Model, compute: Compute = Compute(), stored: StoredVectors | None = None) -> TextEncoder:
        """An encoder that finds what search finds in the index of a model; as encoder().

        Args:
            model: the model.
            compute: where to encode.
            stored: how its vectors are stored; None: as the settings say.
        """
        return (stored or self.vectors(model)).scored(self.encoder(model, compute), self.settings.rescore)

    @staticmethod
    def metadata_columns(chunks: Artifact) -> list[str]:
        """The columns to filter on, of the production table or of the front matter of the pages."""
        settings = chunks.manifest["settings"]
        return list(settings["production" if settings["production"]["uri"] else "documents"]["metadata_columns"])

    def checkpoint(self, metadata: Mapping[str, Any]) -> Artifact:
        """The checkpoint of a published table, given what it is made of.

        Raises:
            MissingArtifactError: it is not in the store.
        """
        checkpoint = self._find_checkpoint(metadata["checkpoint"])
        if checkpoint is None:
            raise MissingArtifactError(
                f"{self.collection}: the checkpoint in production, {metadata['checkpoint']}, is not in "
                f"{self.workspace.address}: it was deleted, or built in another home: {WITHOUT_CHECKPOINT}"
            )
        return checkpoint

    def _find_checkpoint(self, fingerprint: str) -> Artifact | None:
        """A checkpoint of the collection, or of the name that its folder had when what is in production was published."""
        store, index = self.workspace.store, self.index
        if (found := store.find("checkpoint", self.collection, fingerprint)) is not None:
            return found
        names = {self.owner(index.metadata(table)) for table in index.pointer().tables} - {self.collection}
        return next(filter(None, (store.find("checkpoint", name, fingerprint) for name in sorted(names))), None)

    def find(self, name: str) -> Model | None:
        """The model of this name (Model.name), if it is in the store, or in production now or before, and its files are there."""
        if (checkpoint := self._find_checkpoint(name)) is not None:
            return model_of(checkpoint)
        pointer = self.index.pointer()
        for table in (pointer.current, pointer.previous):
            metadata = self.index.metadata(table)
            if metadata and (model := model_of_table(metadata)).is_base and model.name == name:
                return model if _has_its_files(model) else None
        return None

    def encoder(self, model: Model, compute: Compute = Compute()) -> Encoder | TwoTowers:
        """The encoder of a model, with the length and the prompts that it was made with.

        Raises:
            MissingArtifactError: the checkpoint is not in the store, or the base model is another one now.
        """
        encoder = Encoder(model.settings, self.workspace.memos, self._folder(model), compute)
        if not model.passages:
            return encoder
        return TwoTowers(encoder, Encoder(model.settings, self.workspace.memos, self._folder(_base_of(model)), compute))

    def token_encoder(self, model: Model, compute: Compute = Compute()) -> TokenEncoder:
        """What late interaction encodes with, which is the base model where this one is for queries alone; as encoder()."""
        return TokenEncoder(model.settings, self._folder(_base_of(model) if model.passages else model), compute)

    def tokens(self, model: Model, compute: Compute = Compute()) -> Tokens | None:
        """The tokens that an index of a model gets; None where the settings publish none. Errors as of encoder()."""
        settings = self.settings
        if not settings.tokens:
            return None
        return Tokens(self.token_encoder(model, compute), settings.token_pooling, settings.token_index_rows)

    def _folder(self, model: Model) -> str | None:
        if not model.is_base:
            return str(self.checkpoint({"checkpoint": model.checkpoint}).folder / "model")
        if not _has_its_files(model):
            raise MissingArtifactError(
                f"{self.collection}: the base model in production, {model.settings.name}, is not there any more, or is another "
                "one now: materialize published_index"
            )
        return None

    def exported_model(self, metadata: Mapping[str, Any]) -> Artifact | None:
        """The ONNX export of the model of a published table, given what the table is made of; None: no export."""
        for exported in self.workspace.store.artifacts("onnx_model", self.owner(metadata)):
            same_model = exported.manifest["inputs"].get("checkpoint") == metadata["model"]
            if same_model and exported.manifest["settings"]["base_model"] == metadata["base_model"]:
                return exported
        return None

    def describe(self) -> dict[str, str]:
        """What is in production, for people; empty where the settings name no database."""
        if not self.settings.uri:
            return {}
        index = self.index
        pointer, metadata = self.in_production()
        exported = self.exported_model(metadata) if metadata else None
        model = model_of_table(metadata) if metadata else None
        return {
            "index": f"{index.uri}, {pointer.current}" if pointer.current else "none",
            "previous_index": pointer.previous or "none",
            "model_in_production": "none" if model is None else _in_words(model),
            "onnx_model": exported.address if exported else "none",
            "in_production_since": pointer.swapped_at or "never",
        }


def without_fine_tuning(published: Published) -> str:
    """Why the base model is in production, and since when or as of when; empty where a fine-tuned one is, or nothing.

    Of several verdicts on fine-tuned models the last one counts, which may be of a later day than the index.
    """
    pointer, metadata = published.in_production()
    if not metadata or not model_of_table(metadata).is_base:
        return ""
    reason, day = _refused_after(published, pointer.swapped_at) or (pointer.reason, pointer.swapped_at)
    return f"{reason if reason.startswith(BASE_MODEL) else f'{BASE_MODEL}: {reason}'} ({day[:10]})"


def _refused_after(published: Published, swapped_at: str) -> tuple[str, str] | None:
    """Why the fine-tuned model was not published that was judged last, and when, if that was after the last swap."""
    if (judged := published.workspace.store.find_current("published_index", published.collection)) is None:
        return None
    day, verdict = judged.manifest["built_at"], read_verdict(judged)
    return (f"{NOT_BETTER}: {verdict.reason}", day) if day > swapped_at and not verdict.better else None


def _base_of(model: Model) -> Model:
    """The base model that encodes the passages of a model for queries alone."""
    return Model(BASE_MODEL, model.passages, model.base_model)


def _has_its_files(base: Model) -> bool:
    try:
        return digest_of_base(base.settings) == base.digest
    except ModelNotFoundError:
        return False


def _in_words(model: Model) -> str:
    return f"{BASE_MODEL} {model.settings.name}, not fine-tuned" if model.is_base else model.checkpoint
