"""Plain text and source code."""

from embed_assets.corpus.encodings import decode
from embed_assets.corpus.readers.converted import Converted


def read_plain(content: bytes) -> Converted:
    """The text as it is; a line of it is no heading, whatever it begins with."""
    text, encoding = decode(content)
    return Converted(text, markdown=False, notes=encoding_notes(encoding))


def encoding_notes(encoding: str) -> tuple[str, ...]:
    """Says which encoding a text was read in, unless it is UTF-8."""
    return (f"read as {encoding}",) if encoding else ()
