"""What a step computes on: read once, hashed to the fingerprint of its result, and passed on as values.

Nothing that a step needs is looked up again while it computes. Settings may be edited and other runs may finish
meanwhile; the result is still made of exactly what its fingerprint names.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import polars as pl

from embed_assets.artifacts.blocks import Block, content_of
from embed_assets.artifacts.files import fingerprint_of
from embed_assets.artifacts.store import Artifact, MissingArtifactError
from embed_assets.artifacts.workspace import CollectionError, Workspace

PARTS = "sources.json"
AnyBlock = TypeVar("AnyBlock", bound=Block)


class ChangedWhileReadError(CollectionError):
    """A source is no longer what the step began with; the message names it."""


@dataclass(frozen=True)
class Source:
    """An input that is no artifact.

    Args:
        digest: hash of its content.
        value: what was read, if the step needs it.
        digest_now: hashes it anew; None where ``value`` is all that the step reads of it.
        parts: digests of its parts by name, for people who ask what changed.
    """

    digest: str
    value: Any = None
    digest_now: Callable[[], str] | None = None
    parts: Callable[[], Mapping[str, str]] | None = None


@dataclass(frozen=True)
class Asked:
    """For whom sources are read: a collection, with the blocks of settings that the stage reads.

    Args:
        workspace: where things lie.
        collection: name of the collection.
        blocks: the blocks by name.
        looked_at: digests of sources that are taken as given, by name.
        artifacts: what the stage is made of, by name.
    """

    workspace: Workspace
    collection: str
    blocks: Mapping[str, Block]
    looked_at: Mapping[str, str] = field(default_factory=dict)
    artifacts: Mapping[str, Artifact] = field(default_factory=dict)

    def block(self, kind: type[AnyBlock]) -> AnyBlock:
        """The block of this class.

        Raises:
            LookupError: the stage does not read it.
        """
        return _block(self.blocks, kind)

    @property
    def folder(self) -> Path:
        """The folder of the collection."""
        return self.workspace.collection_folder(self.collection)


def source_of_files(name: str, digest: Callable[..., str | None]) -> dict[str, Source]:
    """Files that a user may bring, as a source; none where there are none.

    Args:
        name: of the source.
        digest: gives their hash; with ``anew`` it reads all of them again, as digests_of_files does.
    """
    found = digest()
    return {} if found is None else {name: Source(found, digest_now=lambda: digest(anew=True) or "none")}


SourceReader = Callable[[Asked], Mapping[str, Source]]


@dataclass(frozen=True)
class Inputs:
    """All that a step computes on.

    Args:
        stage: name of the stage.
        collection: name of the collection.
        place: where the result lies below the stage's folder of the store.
        code_version: of the stage.
        blocks: the blocks of settings that the stage reads, by name.
        artifacts: what it is made of, by name.
        sources: what else it is made of, by name.
        frozen: a change of the artifacts does not make the result out of date.
    """

    stage: str
    collection: str
    place: str
    code_version: str
    blocks: Mapping[str, Block]
    artifacts: Mapping[str, Artifact]
    sources: Mapping[str, Source]
    frozen: bool = False

    @property
    def ingredients(self) -> dict[str, Any]:
        """What the fingerprint is the hash of, as JSON values; the manifest keeps them.

        A block that came after results had been stored is left out as long as nothing in it is changed (see ``added``).
        """
        return {
            "code_version": self.code_version,
            "settings": {name: content for name, block in self.blocks.items() if (content := content_of(block))},
            "inputs": {} if self.frozen else {name: artifact.digest for name, artifact in self.artifacts.items()},
            "sources": {name: source.digest for name, source in self.sources.items()},
        }

    @property
    def fingerprint(self) -> str:
        return fingerprint_of({"asset": self.stage, **self.ingredients})

    def block(self, kind: type[AnyBlock]) -> AnyBlock:
        """The block of this class.

        Raises:
            LookupError: the stage does not read it, so it must not depend on it.
        """
        return _block(self.blocks, kind)

    def folder(self, asset: str) -> Path:
        """The folder of an artifact that the step is made of.

        Raises:
            MissingArtifactError: it was never built.
        """
        if asset not in self.artifacts:
            raise MissingArtifactError(f"{self.stage} of {self.collection!r} needs {asset}: materialize it first")
        return self.artifacts[asset].folder

    def table(self, asset: str, name: str, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """The table ``name.parquet`` of an artifact that the step is made of, or some of its columns."""
        return pl.read_parquet(self.folder(asset) / f"{name}.parquet", columns=columns)

    def check_unchanged(self) -> None:
        """Hash again what was read from files.

        Raises:
            ChangedWhileReadError: something changed; what was computed is not what the fingerprint names.
        """
        for name, source in self.sources.items():
            if source.digest_now is not None and source.digest_now() != source.digest:
                raise ChangedWhileReadError(
                    f"{self.collection}: {name} changed while it was read: materialize {self.stage} again"
                )

    def write_parts(self, report: Path) -> None:
        """Write the digests of the parts of the sources to report/sources.json, so that a later plan tells what changed."""
        parts = {name: dict(source.parts()) for name, source in self.sources.items() if source.parts is not None}
        if parts:
            (report / PARTS).write_text(json.dumps(parts, ensure_ascii=False), encoding="utf-8")


def _block(blocks: Mapping[str, Block], kind: type[AnyBlock]) -> AnyBlock:
    for block in blocks.values():
        if isinstance(block, kind):
            return block
    raise LookupError(f"the stage does not read {kind.__name__}: name its block in the stage's 'settings'")
