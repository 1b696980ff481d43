"""Words that the readers of documents keep of real files, against a plain extraction of each format, and their time."""

import os
import re
import shutil
import subprocess
import unicodedata
import zipfile
from collections import Counter
from html import unescape
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path

import polars as pl

from embed_assets.corpus.encodings import decode
from embed_assets.corpus.readers.conversion import convert

# Parts of the archives of office programs that hold what a reader sees.
_SEEN_PARTS = {
    ".docx": r"word/(?:document|footnotes|endnotes)\.xml",
    ".pptx": r"ppt/(?:slides|notesSlides)/[^/]+\.xml",
    ".xlsx": r"xl/(?:sharedStrings|worksheets/sheet\d+)\.xml",
    ".odt": r"content\.xml",
    ".epub": r".+\.x?html?",
}
_TEXT_OR_END = re.compile(r"<(?:w:t|a:t|t)(?:\s[^>]*)?>([^<]*)|</(?:w:p|a:p|si|is)>|<(?:w:br|w:tab|a:br)\b")
# What is no text in the XML of these parts.
_UNSEEN = re.compile(r"<(head|style|script)\b.*?</\1>|<mc:Fallback>.*?</mc:Fallback>|<a:fld\b.*?</a:fld>", re.DOTALL)


def benchmark_readers(folder: Path) -> pl.DataFrame:
    """Read all files of a folder, and compare the words of each with those of a plain extraction.

    The plain extractions: tags taken out of HTML and of the XML in archives, pdftotext (of poppler, if it is installed), and
    the source itself of formats that are text.

    Args:
        folder: real files, in any folders below it.

    Returns:
        One row for each ending: ``files``, ``megabytes``, ``words_kept`` (the share of the words of the plain extraction, each
        as often as it stands there, that are in the converted text), ``unread`` (files that could not be read), and
        ``seconds_per_megabyte``. ``words_kept`` is null where there is no plain extraction.

    Raises:
        ValueError: there is no file.
    """
    rows = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        content, ending = path.read_bytes(), path.suffix.lower()
        started = _processor_time()
        page = convert(content, ending)
        seconds = _processor_time() - started
        plain = None if isinstance(page, str) else _plain_text(content, ending)
        expected, found = Counter(_words(plain or "")), Counter() if isinstance(page, str) else Counter(_words(page.text))
        rows.append(
            {
                "ending": ending,
                "bytes": len(content),
                "seconds": seconds,
                "expected": expected.total(),
                "kept": (expected & found).total(),
                "unread": isinstance(page, str),
            }
        )
    if not rows:
        raise ValueError(f"there is no file in {folder}")
    size = pl.col("bytes").sum()
    table = (
        pl.DataFrame(rows)
        .group_by("ending")
        .agg(
            files=pl.len(),
            megabytes=(size / 1e6).round(2),
            words_kept=pl.when(pl.col("expected").sum() > 0).then(pl.col("kept").sum() / pl.col("expected").sum()).round(3),
            unread=pl.col("unread").sum(),
            seconds_per_megabyte=pl.when(size > 0).then(pl.col("seconds").sum() / size * 1e6).round(2),
        )
    )
    return table.sort("ending")


def _processor_time() -> float:
    """Seconds that this process and those that it waited for, such as pandoc, have computed."""
    return sum(os.times()[:4])


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", unicodedata.normalize("NFKC", text.replace("\u00ad", "")).lower())


def _plain_text(content: bytes, ending: str) -> str | None:
    if ending in (".html", ".htm"):
        parser = _WithoutTags()
        parser.feed(decode(content)[0])
        return "".join(parser.parts)
    if ending == ".pdf":
        return _pdftotext(content)
    if ending in _SEEN_PARTS:
        with zipfile.ZipFile(BytesIO(content)) as archive:
            parts = [archive.read(name) for name in archive.namelist() if re.fullmatch(_SEEN_PARTS[ending], name)]
        xml = " ".join(_UNSEEN.sub(" ", part.decode(errors="replace")) for part in parts)
        if ending == ".odt":
            xml = re.sub(r"<(?!/?text:(?:span|a)\b)[^>]*>", " ", xml)
        if ending in (".odt", ".epub"):
            return unescape(re.sub(r"<[^>]*>", "" if ending == ".odt" else " ", xml))
        return unescape("".join(" " if match[1] is None else match[1] for match in _TEXT_OR_END.finditer(xml)))
    if ending in (".eml", ".ipynb"):
        return None
    return _without_markup(decode(content)[0], ending)


def _without_markup(text: str, ending: str) -> str:
    """The source of a format that is text, without what is plainly for programs: comments, addresses, names of directives."""
    if ending == ".rst":
        text = re.sub(
            r"^\.\. (?!\[)[^\n]*?(?:::|$)|^\s+:[\w-]+:(?=\s|$)|:[\w:+.-]+:(?=`)|<[^<>\n]*>`", " ", text, flags=re.MULTILINE
        )
    if ending == ".adoc":
        text = re.sub(r"^//[^\n]*|^:[\w!-]+:[^\n]*|^\[[^\n]*\]$|\w+::?[^\s\[]*\[", " ", text, flags=re.MULTILINE)
    if ending in (".md", ".markdown", ".mdx"):
        text = unescape(re.sub(r"<!--.*?-->|</?[a-z][^<>]*>", " ", text, flags=re.DOTALL))
    return re.sub(r"https?://\S+", " ", text) if ending in (".rst", ".adoc") else text


def _pdftotext(content: bytes) -> str | None:
    if shutil.which("pdftotext") is None:
        return None
    done = subprocess.run(["pdftotext", "-", "-"], input=content, capture_output=True, timeout=600, check=False)
    return done.stdout.decode(errors="replace")


class _WithoutTags(HTMLParser):
    """All text of a page outside of scripts and styles."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self._unseen = 0

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self._unseen += tag in ("script", "style", "title")
        if tag not in ("a", "b", "i", "em", "strong", "span", "code", "tt", "sub", "wbr", "kbd", "var", "u"):
            self.parts.append(" ")

    def handle_endtag(self, tag: str) -> None:
        self._unseen -= tag in ("script", "style", "title") and self._unseen > 0
        if tag not in ("a", "b", "i", "em", "strong", "span", "code", "tt", "sub", "wbr", "kbd", "var", "u"):
            self.parts.append(" ")

    def handle_data(self, data: str) -> None:
        if not self._unseen:
            self.parts.append(data)
