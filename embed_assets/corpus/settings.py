"""Settings of the documents, of the production table and of chunking."""

from pydantic import Field, field_validator

from embed_assets.artifacts.blocks import Block, Database, Strings

# Columns that every published index has.
INDEX_COLUMNS = ("id", "document_id", "start", "end", "text", "passage", "vector")


def have_names_of_their_own(columns: tuple[str, ...]) -> tuple[str, ...]:
    """Refuse names of columns that the published index has already, or that would stand there twice."""
    for column in columns:
        if column.partition(".")[0] in INDEX_COLUMNS or column.startswith("_"):
            own = ", ".join(INDEX_COLUMNS)
            raise ValueError(f"{column!r} clashes with the index's own columns ({own}, and names that begin with '_')")
        if columns.count(column) > 1:
            raise ValueError(f"{column!r} stands twice")
        if above := [other for other in columns if column.startswith(f"{other}.")]:
            raise ValueError(f"{column!r} is a part of {above[0]!r}, which is there as well")
    return columns


class DocumentsSettings(Block):
    """The language of the documents, and which files of documents/ are read."""

    language: str = Field(
        "auto",
        pattern=r"^(auto|[a-z]{2})$",
        description="language of the documents, ISO 639-1 code such as de: it chooses stop words, stems, sentences and the words "
        "of look-ups and of full-text search; auto: the language that most chunks are in",
    )

    extensions: Strings = Field(
        (
            *(".md", ".markdown", ".mdx", ".txt", ".rst", ".adoc", ".html", ".htm", ".pdf", ".docx", ".odt", ".pptx", ".epub"),
            *(".xlsx", ".csv", ".tsv", ".eml", ".ipynb"),
        ),
        description="file name endings that are read, in lower case; any other that is added, such as .py, is read as plain text",
    )
    max_megabytes: float = Field(20.0, gt=0, description="larger files are skipped, in MB (10^6 bytes)")
    reader_megabytes: int = Field(
        1500, ge=500, le=64_000, description="memory that the reader of a file may take, in MB; files that take more are skipped"
    )
    reader_seconds: float = Field(
        60.0, ge=1, le=3600, description="time that the reader of a file may take, in seconds; files that take longer are skipped"
    )
    min_characters: int = Field(1, ge=1, description="documents with less text are skipped, in characters")
    metadata_columns: Strings = Field(
        (), description="keys of the front matter of pages that the published index gets as columns, to filter on"
    )

    @field_validator("extensions")
    @classmethod
    def _begin_with_a_dot(cls, endings: tuple[str, ...]) -> tuple[str, ...]:
        for ending in endings:
            if not ending.startswith(".") or ending != ending.lower():
                raise ValueError(f"{ending!r} is no ending of file names in lower case: write '.{ending.lower().lstrip('.')}'")
        return endings

    @field_validator("metadata_columns")
    @classmethod
    def _can_be_columns(cls, keys: tuple[str, ...]) -> tuple[str, ...]:
        for key in keys:
            if "." in key or not key.strip():
                raise ValueError(f"{key!r} cannot be the name of a column: it is empty or has a dot")
        return have_names_of_their_own(keys)


class ProductionSettings(Block):
    """A LanceDB table with the chunks as production has them. Its rows take the place of documents/ and of chunking."""

    uri: Database = Field(
        "",
        description="database of the table: a path below the data folder or an object-store URI, whose credentials come from "
        "environment variables; empty: the collection has files",
    )
    table: str = Field("chunks", min_length=1, description="name of the table; NAMESPACE/NAME for one in a namespace")
    id_column: str = Field(
        "id",
        description="column with the id of each chunk, text, whole numbers or UUIDs, all different; empty: the table has none, "
        "and a row is known by a hash of its document, title and text. In this and the other names of columns a dot leads to a "
        "field of a column (metadata.source), or to a key of JSON that stands in a text",
    )
    text_column: str = Field("text", min_length=1, description="column with the text of each chunk, or a list of its paragraphs")
    document_column: str = Field("", description="column with the id of the chunk's document; empty: each row is a document")
    title_column: str = Field(
        "", description="column with a title, or a list of headings, that is put in front of the text; empty: no title"
    )
    order_column: str = Field(
        "",
        description="column that orders the rows of a document, such as the number of a chunk or its first character; empty: "
        "their ids, numbers in them by their value",
    )
    metadata_columns: Strings = Field(
        (),
        description="columns that the published index gets as well, with the values of the moment of publishing, to filter on; "
        "values that change while ids and texts stay lead to no new index",
    )
    max_characters: int = Field(100_000, ge=1, description="rows with a longer text are left out, in characters")
    max_left_out: float = Field(
        0.1,
        ge=0,
        le=1,
        description="largest share of rows that are left out (no id, document or text, text too long, binary data, the same as "
        "another row); if there are more, nothing is built",
    )

    _have_names_of_their_own = field_validator("metadata_columns")(have_names_of_their_own)


class ChunkingSettings(Block):
    """How documents are cut into chunks: at headings, then paragraphs, sentences and words."""

    max_tokens: int = Field(
        128,
        ge=16,
        le=8192,
        description="longest chunk in tokens of the base model, without its title; less where base_model.max_tokens has no room",
    )
    overlap_tokens: int = Field(0, ge=0, le=4096, description="tokens that neighbouring chunks share")
    heading_path: bool = Field(True, description="put the document's title and the headings above it in front of each chunk")
