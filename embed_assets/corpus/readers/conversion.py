"""Which reader reads which file, and what becomes of a file that it cannot read."""

import zipfile
from collections.abc import Callable
from importlib import import_module

from embed_assets.corpus.encodings import BinaryDataError
from embed_assets.corpus.readers.converted import Converted, UnreadableError, finished

# Raise it when a reader changes what it reads: what earlier versions made of a file is then not used again.
READERS_VERSION = "19"

_READERS = {
    ".md": "markdown.read_markdown",
    ".markdown": "markdown.read_markdown",
    ".mdx": "markdown.read_mdx",
    ".txt": "plain.read_text",
    ".rst": "rst.read_rst",
    ".adoc": "office.read_asciidoc",
    ".html": "html.read_html",
    ".htm": "html.read_html",
    ".pdf": "pdf.read_pdf",
    ".docx": "word.read_docx",
    ".pptx": "office.read_pptx",
    ".odt": "office.read_odt",
    ".epub": "office.read_epub",
    ".xlsx": "tables.read_xlsx",
    ".csv": "tables.read_csv",
    ".tsv": "tables.read_csv",
    ".eml": "mail.read_mail",
    ".ipynb": "notebooks.read_notebook",
}
# Small files with these endings need no process of their own: their readers take no more than a moment.
READ_IN_PLACE = {".md", ".markdown", ".txt"}
LARGEST_IN_PLACE = 100_000  # bytes
# Of the text of a file, in characters; see longest_text.
LEAST_REFUSED, MOST_CHARACTERS, MOST_REPEATED = 5_000_000, 100_000_000, 200
HAS_MENUS = {".html", ".htm"}


def convert(content: bytes, extension: str) -> Converted | str:
    """What the reader of these file names makes of the bytes, or why it cannot read them.

    Files without a reader of their own, such as source code, are read as plain text.
    """
    module, _, name = _READERS.get(extension, "plain.read_plain").partition(".")
    read: Callable[[bytes], Converted] = getattr(import_module(f"embed_assets.corpus.readers.{module}"), name)
    try:
        page = read(content)
        if len(page.text) > longest_text(len(content)):
            raise UnreadableError(f"{len(page.text):,} characters of text, far more than a file of {len(content):,} bytes has")
        return finished(page)
    except (UnreadableError, BinaryDataError) as error:
        return str(error)
    except zipfile.BadZipFile as error:
        return f"broken archive: {error}"
    except MemoryError:
        return OUT_OF_MEMORY
    except RecursionError:
        return "nested too deeply"
    except Exception as error:  # a converter may raise anything on a broken file, which must not stop the others
        return f"unreadable: {type(error).__name__}: {' '.join(str(error).split())[:200]}"


def longest_text(size: int) -> int:
    """So many characters a file of so many bytes has at most; one that repeats a cell, a page or a note again and again has more.

    Text is packed to a tenth of its length, seldom to a fiftieth; as Markdown, short cells are up to three times as long.
    """
    return max(LEAST_REFUSED, min(MOST_REPEATED * size, MOST_CHARACTERS), 3 * size)


OUT_OF_MEMORY = "its reader needs more memory than documents.reader_megabytes"
