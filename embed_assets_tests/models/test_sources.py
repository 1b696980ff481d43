"""The digests by which steps know models of a hub: the commit is part of them."""

from pathlib import Path

import pytest

from embed_assets.artifacts.blocks import Block
from embed_assets.artifacts.inputs import Asked, SourceReader
from embed_assets.artifacts.workspace import open_workspace
from embed_assets.models.settings import BaseModelSettings, CheckpointSettings, CrossEncoderSettings
from embed_assets.models.sources import base_model, own_checkpoint, reranker_start
from embed_assets.training.settings import NegativesSettings
from embed_assets.training.stages import cross_encoder

HUB = "organisation/model"


@pytest.mark.parametrize(
    ("read", "kind", "name", "revision"),
    [
        (base_model, BaseModelSettings, "name", "revision"),
        (own_checkpoint, CheckpointSettings, "name", "revision"),
        (reranker_start, CrossEncoderSettings, "name", "revision"),
        (cross_encoder, NegativesSettings, "cross_encoder", "cross_encoder_revision"),
    ],
)
def test_another_commit_is_another_model(tmp_path: Path, read: SourceReader, kind: type[Block], name: str, revision: str):
    def digest(commit: str) -> str:
        block = kind.model_validate({name: HUB, revision: commit})
        (source,) = read(Asked(open_workspace(str(tmp_path), str(tmp_path)), "boats", {"block": block})).values()
        return source.digest

    assert digest("a" * 40) == digest("a" * 40) != digest("b" * 40)
    assert digest("") == HUB
