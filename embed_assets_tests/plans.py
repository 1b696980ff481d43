"""A graph of small artifacts that nothing computed, to ask what a run would do."""

from pathlib import Path

import polars as pl

from embed_assets.artifacts.stages import Stage
from embed_assets.artifacts.store import REPORT, Artifact
from embed_assets.artifacts.workspace import Workspace
from embed_assets.graph import STAGES
from embed_assets.lineage import resolve

CHUNKS = {"document_id": ["rye.md", "oven.md"], "chunk_id": ["rye.md:0", "oven.md:0"]}
PASSAGES = (
    "Knead rye flour, water and sourdough starter for twenty minutes, then let it rest until the next morning.",
    "The deck oven shows E12 when the steam valve is stuck; close the tap and descale the valve.",
)
PAIRS = {"query_id": ["q0", "q1"], "query": ["how long does rye rest", "E12"]}
TRIPLETS = {"anchor": ["how long does rye rest", "E12", "oven"], "positive": ["p"] * 3, "negative_1": ["n"] * 3}


def build(workspace: Workspace, stage: Stage, collection: str, content: str = "") -> Artifact:
    """An artifact as the stage would build it of what there is now, with tables of a few rows."""
    inputs = resolve(workspace, stage, collection)

    def write(folder: Path, scratch: Path) -> None:
        (folder / "content.txt").write_text(f"{stage.name} of {collection} {content}")
        if stage.name == "corpus_chunks":
            texts = {"passage": PASSAGES, "text": PASSAGES, "start": [0, 0], "end": [9, 9]}
            pl.DataFrame(CHUNKS | texts).write_parquet(folder / "chunks.parquet")
        elif stage.name == "qa_pairs":
            pl.DataFrame(PAIRS).write_parquet(folder / "pairs.parquet")
        elif stage.name == "triplets":
            pl.DataFrame(TRIPLETS | {"split": ["train", "train", "dev"]}).write_parquet(folder / "triplets.parquet")
        inputs.write_parts(folder / REPORT)

    return workspace.store.build(stage.name, inputs.place, inputs.ingredients, write)


def build_everything(workspace: Workspace, *collections: str) -> None:
    """The artifacts of all stages of the collections, the optional ones too."""
    for collection in collections:
        for stage in STAGES.values():
            build(workspace, stage, collection)
