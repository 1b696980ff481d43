"""Plain text and source code."""

import re

from embed_assets.corpus.encodings import decode
from embed_assets.corpus.readers.converted import Converted
from embed_assets.corpus.readers.printed_pages import compounds_of, joined_words, without_edges

# A title, and the line of signs below it, of the same length but for a few.
_UNDERLINED = re.compile(r"(?:\A|\n[ \t]*\n)[ ]{0,3}(\w[^\n]{0,118}?)[ \t]*\n[ ]{0,3}(={3,}|-{3,})[ \t]*(?=\n|\Z)")
MOST_SIGNS_ASTRAY = 3
# Where titles are underlined, a # begins a comment of a shell, if there are no ## that begin headings.
_COMMENT, _FURTHER_HEADING = re.compile(r"^(?=#\s)", re.MULTILINE), re.compile(r"^#{2,6}\s", re.MULTILINE)
_CUT_WORD = re.compile(r"[^\W\d_]{2}[-\u2010]\n[ \t]*[^\W\d_]{2}")
# Text that cuts no words has a compound at a line's end now and then; the share is that of the lines.
FEWEST_CUT_WORDS, SHARE_OF_CUT_WORDS = 3, 0.03


def read_plain(content: bytes) -> Converted:
    """The text as it is; a line of it is no heading, whatever it begins with."""
    text, encoding = decode(content)
    return Converted(text, markdown=False, notes=encoding_notes(encoding))


def read_text(content: bytes) -> Converted:
    """A text file as one text, whose titles, if they are underlined, are headings: that is Markdown.

    Of printed pages the heads, feet and numbers are left out, and words that are cut at the ends of lines are whole again.
    """
    page = read_plain(content)
    text = page.text
    if text.count("\f") >= 2:
        pages = without_edges([part.splitlines() for part in text.split("\f")])
        text = "\n\n".join("\n".join(lines) for lines in pages if lines)
    cut_words = len(_CUT_WORD.findall(text))
    if cut_words >= max(FEWEST_CUT_WORDS, SHARE_OF_CUT_WORDS * text.count("\n")):
        text = joined_words(text, compounds_of(text))
    titles = _UNDERLINED.finditer(text)
    # The names of columns stand apart.
    is_markdown = any(
        abs(len(title[1]) - len(title[2])) <= MOST_SIGNS_ASTRAY and not re.search(r"\t|  ", title[1]) for title in titles
    )
    if is_markdown and not _FURTHER_HEADING.search(text):
        text = _COMMENT.sub("    ", text)  # what is indented is no heading
    return Converted(text, markdown=is_markdown, notes=page.notes)


def encoding_notes(encoding: str) -> tuple[str, ...]:
    """Says which encoding a text was read in, unless it is UTF-8."""
    return (f"read as {encoding}",) if encoding else ()
