"""A materialization that computed something says why; one that found its result there does not."""

from pathlib import Path

from dagster import AssetKey, DagsterInstance

from embed_assets.cli.runs import materialize_collection, open_instance
from embed_assets_tests.small_collections import BAKERY, override, write_collection


def reasons(instance: DagsterInstance) -> str | None:
    """Materialize corpus_chunks of bakery, and give what its metadata say."""
    assert materialize_collection(instance, "bakery", "corpus_chunks")
    event = instance.get_latest_materialization_event(AssetKey("corpus_chunks"))
    because = event.asset_materialization.metadata.get("computed_because")
    return because.value if because else None


def test_the_reasons_are_in_the_metadata(workspace_folder: Path):
    write_collection(workspace_folder / "data" / "collections" / "bakery", BAKERY)
    rye = workspace_folder / "data" / "collections" / "bakery" / "documents" / "rye.md"
    with open_instance(workspace_folder / "home") as instance:
        assert reasons(instance) == "- `never built`"
        assert reasons(instance) is None
        rye.write_text(rye.read_text().replace("sixteen", "eighteen"))
        override(workspace_folder / "data", "bakery", {"documents": {"min_characters": 2}})
        assert reasons(instance) == "- `setting documents.min_characters: 1 → 2`\n- `changed documents/rye.md`"
