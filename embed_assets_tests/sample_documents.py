"""Twelve small documents about different things, and pairs about them."""

import polars as pl

from embed_assets.corpus.documents import Document
from embed_assets.queries.pairs import PAIR_SCHEMA, make_pairs

DOCUMENTS = [
    Document(
        "pump.md", "Pump", "The pump runs dry when the float switch sticks. Error E4012 is shown on the panel until it is reset."
    ),
    Document(
        "filter.md",
        "Filter",
        "Rinse the filter with warm water every month. A clogged filter raises the pressure past mark 2.5.",
    ),
    Document(
        "valve.md", "Valve", "Close the valve by hand before you remove the housing. Use --dry-run to test the valve motor first."
    ),
    Document(
        "bread.md", "Bread", "Bread dough rises faster in a warm kitchen. Bake the loaf at 250 degrees until the crust is brown."
    ),
    Document(
        "printer.md",
        "Printer",
        "Bug PRT-7719 stops large print jobs after the clock change. Restart the spooler service to go on.",
    ),
    Document(
        "orchestra.md",
        "Orchestra",
        "The orchestra tunes to the oboe before each concert. The strings follow after the wind players.",
    ),
    Document(
        "bicycle.md",
        "Bicycle",
        "A cyclist must ring the bell before overtaking pedestrians. Lights are required from dusk till dawn.",
    ),
    Document(
        "garden.md", "Garden", "Plant the tulip bulbs in autumn before the first frost. Water them only when the soil is dry."
    ),
    Document("tax.md", "Tax", "The annual tax return is due at the end of July. Receipts must be kept for seven years by law."),
    Document(
        "comet.md", "Comet", "The comet passes the sun once in seventy-six years. Its tail always points away from the sun."
    ),
    Document(
        "coffee.md", "Coffee", "Grind the coffee beans just before brewing. Water that is too hot makes the coffee taste bitter."
    ),
    Document(
        "chess.md", "Chess", "A pawn that reaches the last rank is promoted to a queen. Castling protects the king early on."
    ),
]


def chunk_of(chunks: pl.DataFrame, document_id: str) -> dict:
    """The first chunk of a document."""
    return chunks.row(chunks["document_id"].to_list().index(document_id), named=True)


def ask(chunks: pl.DataFrame, *queries: tuple[str, ...], dropped: str | None = None, writer: str = "me") -> pl.DataFrame:
    """Pairs from (query, document, …): the first chunk of each document answers the query."""
    rows = []
    for query, *documents in queries:
        rows += make_pairs(query, "question", [chunk_of(chunks, name) for name in documents], writer, dropped=dropped)
    return pl.DataFrame(rows, schema=PAIR_SCHEMA)
