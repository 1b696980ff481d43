"""Production tables of LanceDB for the tests."""

import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from embed_assets.artifacts.workspace import Workspace
from embed_assets.lineage import open_published
from embed_assets.production.published_index import metadata_of

if TYPE_CHECKING:
    from lancedb.table import Table

DIMENSIONS = 8


def rows_of(documents: Mapping[str, str]) -> list[dict]:
    """One row for each paragraph: ``id``, ``document``, ``title``, ``text`` and a ``vector`` of another model."""
    return [
        {
            "id": f"{name}#{number}",
            "document": name,
            "title": paragraphs[0].removeprefix("# "),
            "text": text.strip(),
            "vector": [float(number)] * DIMENSIONS,
        }
        for name, document in documents.items()
        for paragraphs in [document.split("\n\n")]
        for number, text in enumerate(paragraphs[1:])
    ]


def production_database(data: Path):
    """The database ``production`` of the data folder."""
    import lancedb

    return lancedb.connect(data / "production")


def write_production_table(data: Path, rows: list[dict], name: str = "chunks") -> "Table":
    """A table in the database ``production`` of the data folder."""
    return production_database(data).create_table(name, rows, mode="overwrite")


def write_table_collection(data: Path, collection: str, **settings: dict) -> None:
    """A collection that has nothing but a settings.yaml, which names the table ``chunks``."""
    folder = data / "collections" / collection
    folder.mkdir(parents=True, exist_ok=True)
    production = {"uri": "production", "document_column": "document", "title_column": "title"} | settings.pop("production", {})
    (folder / "settings.yaml").write_text(json.dumps({"production": production, **settings}))


class IndexReader(threading.Thread):
    """Queries the published index again and again, and notes failures and mixed answers."""

    def __init__(self, workspace: Workspace, collection: str):
        super().__init__(daemon=True)  # a failed test must end all the same
        self.workspace = workspace
        self.collection = collection
        self.stopped = threading.Event()
        self.answers: list[str] = []
        self.faults: list[str] = []

    def run(self) -> None:
        while not self.stopped.is_set():
            try:
                table = open_published(self.workspace, self.collection).index.open()
                hits = table.search("router", query_type="fts").limit(20).to_list()
                name = metadata_of(table)["fingerprint"]
                if not hits or table.count_rows() != metadata_of(table)["rows"]:
                    self.faults.append(f"{len(hits)} hits in {table.name}")
                self.answers.append(name)
            except Exception as error:
                self.faults.append(repr(error))
