"""Production tables of LanceDB for the tests."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

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
    (folder / "settings.yaml").write_text(yaml.safe_dump({"production": production, **settings}))
