"""What is in production: an index, the model that it was made with, and where both lie."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from embed_assets.artifacts.files import fingerprint_of
from embed_assets.artifacts.store import Artifact, MissingArtifactError
from embed_assets.artifacts.workspace import Workspace
from embed_assets.evaluation.systems import encoder_of
from embed_assets.models.encoders import Encoder
from embed_assets.models.hardware import Compute
from embed_assets.production.published_index import PublishedIndex, PublishingError
from embed_assets.production.settings import PublishingSettings

BASE_MODEL = "base model"
NOTHING = "nothing is published: publishing.uri is empty"
WITHOUT_CHECKPOINT = "publish from the home that built it, or set publish_anyway in the launchpad"


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

    def to_beat(self, checkpoint: Artifact, chunks: Artifact) -> str:
        """Fingerprint of the checkpoint that a candidate has to beat; BASE_MODEL where nothing is published.

        For the candidate that is in production itself, it is the one that it took the place of.
        """
        index = self.index
        current = index.pointer().current
        metadata = index.metadata(current)
        if current and current == index.table_name(self.made_of(checkpoint, chunks)["fingerprint"]):
            return metadata.get("took_the_place_of", BASE_MODEL)
        return metadata.get("checkpoint", BASE_MODEL)

    def made_of(self, checkpoint: Artifact, chunks: Artifact) -> dict[str, Any]:
        """What an index of a checkpoint and of chunks is made of."""
        made_of = {
            "collection": self.collection,
            # Two homes never write to the same table, be their checkpoints the same or not.
            "publisher": self.workspace.home_id,
            "checkpoint": checkpoint.fingerprint,
            "model": checkpoint.digest,
            "chunks": chunks.digest,
            "metadata_columns": self.metadata_columns(chunks),
            "base_model": checkpoint.manifest["settings"]["base_model"],
        }
        return made_of | {"fingerprint": fingerprint_of(made_of)}

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
        checkpoint = self.workspace.store.find("checkpoint", self.collection, metadata["checkpoint"])
        if checkpoint is None:
            raise MissingArtifactError(
                f"{self.collection}: the checkpoint in production, {metadata['checkpoint']}, is not in "
                f"{self.workspace.store.root}: it was deleted, or built in another home: {WITHOUT_CHECKPOINT}"
            )
        return checkpoint

    def encoder(self, metadata: Mapping[str, Any], compute: Compute = Compute()) -> Encoder:
        """The encoder of a published table, given what it is made of; errors as checkpoint()."""
        return encoder_of(self.checkpoint(metadata), self.workspace.memos, compute)

    def exported_model(self, metadata: Mapping[str, Any]) -> Artifact | None:
        """The ONNX export of the model of a published table, given what the table is made of; None: no export."""
        for exported in self.workspace.store.artifacts("onnx_model", self.collection):
            same_model = exported.manifest["inputs"].get("checkpoint") == metadata["model"]
            if same_model and exported.manifest["settings"]["base_model"] == metadata["base_model"]:
                return exported
        return None

    def describe(self) -> dict[str, str]:
        """What is in production, for people; empty where the settings name no database."""
        if not self.settings.uri:
            return {}
        index = self.index
        pointer = index.pointer()
        metadata = index.metadata(pointer.current)
        exported = self.exported_model(metadata) if metadata else None
        return {
            "index": f"{index.uri}, {pointer.current}" if pointer.current else "none",
            "previous_index": pointer.previous or "none",
            "model_in_production": metadata.get("checkpoint", "none"),
            "onnx_model": str(exported.folder) if exported else "none",
            "in_production_since": pointer.swapped_at or "never",
        }
