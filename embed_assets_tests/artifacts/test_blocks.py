"""What of a block of settings is in fingerprints."""

from embed_assets.artifacts.blocks import Block, added, content_of, operation
from embed_assets.artifacts.inputs import Inputs
from embed_assets.models.settings import CheckpointSettings
from embed_assets.training.settings import ExportSettings


class Inner(Block):
    epochs: int = 1
    kind: str = added("dense")


class Outer(Block):
    share: float = 0.5
    threads: int = operation(2)
    pooling: float = added(2.0)
    inner: Inner = Inner()


def test_a_setting_that_was_added_later_is_in_no_fingerprint_until_it_is_changed():
    assert content_of(Outer()) == {"share": 0.5, "inner": {"epochs": 1}}
    assert content_of(Outer(pooling=1.0, inner=Inner(kind="late"))) == {
        "share": 0.5,
        "pooling": 1.0,
        "inner": {"epochs": 1, "kind": "late"},
    }
    assert content_of(Outer(threads=8)) == content_of(Outer())


def test_a_block_that_came_later_is_in_no_fingerprint_until_something_in_it_is_changed():
    def ingredients(**settings: str) -> dict:
        blocks = {"checkpoint": CheckpointSettings(**settings), "export": ExportSettings()}
        return Inputs("stage", "c", "c", "1", blocks, {}, {}).ingredients["settings"]

    assert list(ingredients()) == ["export"]
    assert ingredients(name="/model")["checkpoint"] == {"name": "/model"}
