"""Marks that only one kind of Markdown has, as readers see them.

Wiki links and call-outs of Obsidian and GitHub, fenced divisions of Pandoc, directives and roles of MyST, short codes of Hugo,
tags of Jekyll, admonitions of MkDocs and Docusaurus, and the extensions of DocFX, in which Microsoft writes.
"""

import re
from collections import Counter
from collections.abc import Sequence

from embed_assets.corpus.readers.rst import ARGUMENT_NOT_SEEN

# Behind a name, or before a link's target, brackets are others.
_WIKI_LINK = re.compile(r"(?<![A-Za-z0-9_\])])(!?)\[\[(?=[^\s$])([^\[\]|\n]{1,300}\|)?([^\[\]|\n]{1,300})(?<=\S)\]\](?![(\[])")
_CALL_OUT = re.compile(r"^([ ]{0,3}>(?:[ ]{0,4}>)*+[ ]?)\[!(\w{1,40})\][-+]?[ \t]*(.*)$", re.MULTILINE)
_HIGHLIGHT = re.compile(r"(?<![=\w])==(?=[^\s=),.;:])([^=\n]{1,300})(?<=\S)==(?![=\w])")
_KEYS = re.compile(r"(?<![\w+])\+\+(\w{1,20}(?:\+\w{1,20}){0,5})\+\+(?![\w+])")
# {#id .class key=value} behind headings, links, spans and code, and {: .class} of Kramdown.
_ATTRIBUTES = re.compile(
    r"(?:(?<=[\])])|(?<=^)|(?<![ \t])[ \t]++(?=\{[^{}\n]{1,300}\}[ \t]*$))\{[ ]?(?:[#.][\w:]|:[ \w.#])[^{}\n]{0,300}\}"
    r"|(?<=[\])])\{[ ]?[a-z][\w-]{1,40}=[^{}\n]{1,300}\}",
    re.M,
)
# Icons of Material for MkDocs, which are no words, and their attributes.
_ICON = re.compile(r":(?:material|fontawesome|octicons|simple)-[a-z0-9-]{1,60}:(?:\{[^{}\n]{0,200}\})?[ ]?")
_SPAN = re.compile(r"\[([^\[\]\n]{1,300})\]\{[ ]?[#.][^{}\n]{1,300}\}")
_TITLE_BLOCK = re.compile(r"% ?([^\n]{1,300})\n(?:%([^\n]{0,300})\n)?(?:%([^\n]{0,300})\n)?")
_TARGET = re.compile(
    r"^(?:\([\w:. -]{1,100}\)=|\[TOC\]|\[\[_?TO(?:C|SP)_?\]\]"
    r"|(?:(?:[-*+]|1\.)[ ][^\n]{0,100}\n)?\{:[ ]?toc\b[^{}\n]{0,100}\})[ \t]*$\n?",
    re.MULTILINE | re.IGNORECASE,
)
# Of DocFX: :::image source="…" alt-text="…"::: in a line of its own or not, and lines that part rows, columns and versions.
_COLONS = re.compile(r":::[ ]?(image|icon|code|no-loc|video)\b([^\n]{0,2000}?):::")
# (::: row without more opens a division of others.)
_PARTS = re.compile(
    r"^[ \t]*:::[ ]?(?:(?:row|column)(?:-end)?\b[^\n]{0,400}:::|(?:moniker|zone)(?:-end\b|[ ][^\n=]{1,40}=)[^\n]{0,400})[ \t]*$"
    r"\n?",
    re.MULTILINE,
)
_SEEN_OF_COLONS = re.compile(r"\b(?:alt-text|text|title)=\"([^\"\n]{0,1000})\"")
_INCLUDED = re.compile(
    r"\[!(?:INCLUDE|CODE(?:-\w{1,20})?|VIDEO|NOTEBOOK)\b[ ]?"
    r"(?:\[[^\[\]\n]{0,300}\][ ]?\([^()\n]{0,500}\)|[^\[\]\n]{0,500})\]",
    re.IGNORECASE,
)
_DIV = re.compile(r"^[ ]{0,3}>[ ]?\[!div\b[^\[\]\n]{0,300}\][ \t]*\n?", re.MULTILINE | re.IGNORECASE)
# The name of a tab is a heading by its mark alone: what follows the tabs does not belong to the last one.
_TAB = re.compile(r"^#{1,6}[ ]\[([^\[\]\n]{1,200})\]\(#tab/[^()\s]{1,200}\)[ \t]*$", re.MULTILINE)
_REFERENCE = re.compile(r"<xref:([\w.~-]{1,300})[^<>\s]{0,300}>|<xref\s[^<>]{0,300}?href=\"([\w.~-]{1,300})[^<>]{0,300}>")
ROLE = re.compile(r"(?<!\w)\{([a-zA-Z][\w:.+-]{0,60})\}\Z")
_SHORT_CODE = re.compile(r"\{\{[<%]\s*+/?\s*+(\w[^{}<>%\n]{0,500}|\w[^{}\n]{0,500}?)\s*/?[>%]\}\}")
_TAG = re.compile(r"\{%-?\s*(\w[^{}%\n]{0,500}(?:%(?!\})[^{}%\n]{0,500}){0,5})-?%\}")
_COMMENT = re.compile(r"\{%-?\s*comment\s*-?%\}(?:(?!\{%).){0,5000}\{%-?\s*endcomment\s*-?%\}", re.DOTALL)
_HIGHLIGHTED = re.compile(
    r"^(?:\{\{[<%]\s*highlight\s+(\w{1,20})[^{}\n]{0,200}[>%]\}\}|\{%-?\s*highlight\s+(\w{1,20})[^{}\n]{0,200}%\})[ \t]*$", re.M
)
_HIGHLIGHTED_END = re.compile(r"^(?:\{\{[<%]\s*/\s*highlight\s*[>%]\}\}|\{%-?\s*endhighlight\s*-?%\})[ \t]*$", re.MULTILINE)
_SEEN = re.compile(r"\b(?:title|header|caption|alt|content|text|summary)=(?:\"([^\"\n]{0,300})\"|'([^'\n]{0,300})')")
_SNIPPET = re.compile(r"^[ \t]*-{1,3}8<-{1,3}[^\n]{0,300}\n?", re.MULTILINE)
# A tab of Hugo is named by its first value, whatever that is called.
_NAMED = re.compile(r"(?:tab|expand|details)\s[^\"'\n]{0,60}[\"']([^\"'\n]{1,300})[\"']")
# Items of a list that are links to places of their own page.
_CONTENTS = re.compile(
    r"(?:^[ \t]{0,24}(?:[-*+]|\d{1,3}[.)])[ \t]{1,4}\[(?:[^\[\]\n]|\[[^\[\]\n]{0,100}\]){1,200}+\]"
    r"\(#[^()\s]{0,200}(?:\([^()\s]{0,100}\)[^()\s]{0,200})?\)"
    r"[ \t]*+(?:\n(?:[ \t]*+\n)*+|\Z)){2,}",
    re.MULTILINE,
)
# What goes on with the list: an item with more words than its link, or words below the last item.
_MORE_OF_LIST = re.compile(r"[ \t]+\S|[ \t]*(?:[-*+]|\d{1,3}[.)])[ \t]")
# Lines that open a division (or close one, if nothing follows), an admonition, or a tab.
_DIVISION = re.compile(r"[ ]{0,3}(:{3,})[ ]*([^\n]{0,400}?)[ ]*:*[ ]*")
_DIRECTIVE = re.compile(r"[ ]{0,3}(`{3,}|~{3,})[ ]*(\{[\w:+-]{1,40}\}[^\n`]{0,400})")
_KIND = re.compile(r"(?:\{([\w:+-]{0,40})[^{}\n]{0,200}\}|([\w-]{1,40})(?:\[([^\[\]\n]{0,200})\])?)(?:[ ]+(.*))?")
_ADMONITION = re.compile(
    r"(?:!!!|\?\?\?\+?)[ ]+([\w-]{1,40})(?:[ ]+[\w-]{1,40}){0,3}[ ]*(?:\"([^\"\n]{0,300})\")?[ ]*"
    r"|===[!+]?[ ]+\"([^\"\n]{1,300})\"[ ]*"
)
_OPTION = re.compile(r"[ ]{0,3}:([\w-]{1,40}):(?:[ ](.{0,300}))?")
_FENCE = re.compile(r"[ \t>]{0,24}(`{3,}(?![^`\n]*`)|~{3,})")
_ADMONITIONS = {
    *("note", "tip", "hint", "info", "important", "warning", "caution", "danger", "attention", "error", "seealso", "example"),
    *("question", "success", "failure", "bug", "abstract", "quote"),
}
_CODE = {"code", "code-block", "code-cell", "sourcecode", "math", "mermaid", "doctest", "parsed-literal"}
_LEFT_OUT = {"toctree", "include", "literalinclude", "eval-rst", "bibliography", "tableofcontents", "contents", "index"}


def split_title_block(text: str) -> tuple[dict[str, str], str]:
    """Title, author and date of the lines with "%" that a page of Pandoc begins with, and the text below them."""
    match = _TITLE_BLOCK.match(text)
    if match is None:
        return {}, text
    values = zip(("title", "author", "date"), match.groups(), strict=True)
    return {key: value.strip() for key, value in values if value and value.strip()}, text[match.end() :]


def mark_code(text: str) -> str:
    """Code that is not between fences, between fences: whoever looks for code finds it."""
    if "highlight" not in text:
        return text
    text = _HIGHLIGHTED.sub(lambda match: f"```{match[1] or match[2]}", text)
    return _HIGHLIGHTED_END.sub("```", text)


def without_contents(text: str, code: Sequence[tuple[int, int]], notes: Counter[str]) -> str:
    """The page without its tables of contents, which its headings say again.

    Args:
        text: a page.
        code: the spans of its fences.
        notes: counts what is left out.
    """
    parts, place = [], 0
    for contents in _CONTENTS.finditer(text):
        in_code = any(start < contents.end() and contents.start() < end for start, end in code)
        if not in_code and _MORE_OF_LIST.match(text, contents.end()) is None:
            parts.append(text[place : contents.start()])
            place = contents.end()
            notes["tables of contents"] += 1
    return "".join([*parts, text[place:]])


def without_flavour(part: str, notes: Counter[str]) -> str:
    """A part of a page without code, its marks as a reader sees them; ``notes`` counts what is not in this file."""

    def count(what: str, seen: str = "") -> str:
        notes[what] += 1
        return seen

    part = _ICON.sub("", _TARGET.sub("", part))
    if "[" in part:
        part = _TAB.sub(r"\1", _DIV.sub("", _INCLUDED.sub(lambda match: count("embedded pages"), part)))
        part = _WIKI_LINK.sub(lambda match: count("embedded pages") if match[1] else _shown(match[2], match[3]), part)
        part = _CALL_OUT.sub(lambda match: match[1] + (match[3] or match[2].capitalize()), part)
    if "{" in part:
        part = _COMMENT.sub("", part)
        part = _SHORT_CODE.sub(lambda match: count("short codes", _seen(match[1])), part)
        part = _TAG.sub(lambda match: count("template tags", _seen(match[1])), part)
        part = _ATTRIBUTES.sub("", _SPAN.sub(r"\1", part))
    part = _SNIPPET.sub(lambda match: count("embedded pages"), part) if "8<" in part else part
    part = _REFERENCE.sub(lambda match: match[1] or match[2], part) if "<xref" in part else part
    part = _HIGHLIGHT.sub(r"\1", part) if "==" in part else part
    return _KEYS.sub(r"\1", part) if "++" in part else part


def without_colons(part: str, notes: Counter[str]) -> str:
    """A part of a page without the marks of DocFX that have colons around them; of pictures and names the words stay."""

    def seen(match: re.Match[str]) -> str:
        if match[1] == "code":
            notes["embedded pages"] += 1
        return " ".join(_SEEN_OF_COLONS.findall(match[2]))

    return _PARTS.sub("", _COLONS.sub(seen, part))


def _shown(page: str | None, words: str) -> str:
    """The words of a wiki link: those that it states, else the name of the page, or of a heading of this one."""
    name, _, heading = words.partition("#")
    return words if page or not heading else name or heading


def values_of(names: re.Pattern[str], attributes: str) -> str:
    """The values of some attributes, one after the other; ``names`` has a group for each way to quote one."""
    return " ".join(next(filter(None, found), "") for found in names.findall(attributes))


def _seen(attributes: str) -> str:
    words = values_of(_SEEN, attributes)
    return words if words or (name := _NAMED.match(attributes)) is None else name[1]


class _Blocks:
    """Goes through the lines of a page: what opens and closes a block of a flavour goes, its title and what it holds stays."""

    def __init__(self, notes: Counter[str]):
        self._notes = notes
        self._kept: list[str] = []
        self._code = ""  # the fence of the code that the line is in
        self._open: list[str] = []  # the fences of the divisions and directives around the line
        self._indents: list[int] = []  # of the admonitions around it
        self._options = self._skipped = False

    def read(self, text: str) -> str:
        lines = text.split("\n")
        below = 0  # the indent of the next line that is not empty
        indents = []
        for line in reversed(lines):
            indents.append(below)
            below = _indent(line) if line.strip() else below
        for line, below in zip(lines, reversed(indents), strict=True):
            self._line(self._dedented(line), below - _indent(line) >= 4)
        return "\n".join(self._kept)

    def _dedented(self, line: str) -> str:
        if self._indents and line.strip():
            indent = _indent(line)
            while self._indents and indent < self._indents[-1]:
                self._indents.pop()
        return line[self._indents[-1] :] if self._indents else line

    def _line(self, line: str, indented_below: bool) -> None:
        opening = _FENCE.match(line) or _DIVISION.match(line)
        fence = opening[1] if opening else ""
        closes = bool(fence) and not line.strip(" `~:")
        if self._code:
            if closes and fence.startswith(self._code):
                self._keep("```" if self._code[0] == ":" else line)
                self._code, self._skipped = "", False
            else:
                self._body(line)
        elif closes and self._open and fence.startswith(self._open[-1]):
            self._open.pop()
        elif match := _DIRECTIVE.fullmatch(line) or _DIVISION.fullmatch(line):
            self._opening(line, match[1], match[2])
        elif indented_below and (match := _ADMONITION.fullmatch(line.lstrip(" "))):
            self._keep(match[1].capitalize() if match[1] and match[2] is None else match[2] or match[3] or "")
            self._indents.append(_indent(line) + (self._indents[-1] if self._indents else 0) + 4)
        else:
            if fence and fence[0] != ":":
                self._code = fence
            self._body(line)

    def _opening(self, line: str, fence: str, rest: str) -> None:
        kind = _KIND.fullmatch(rest)
        if kind is None:
            self._body(line)
            return
        name, title = (kind[1] or kind[2] or "").lower(), kind[3] or kind[4] or ""
        self._options = kind[1] is not None
        title = "" if self._options and name in ARGUMENT_NOT_SEEN else title
        if (self._options and name in _CODE | _LEFT_OUT) or name == "mermaid":
            self._code, self._skipped = fence, name in _LEFT_OUT
            if self._skipped:
                self._notes[f"directive {name}"] += 1
            self._keep(f"{'```' if fence[0] == ':' else fence}{title.partition(' ')[0]}")
            return
        self._open.append(fence)
        self._keep(title or _label(name))

    def _body(self, line: str) -> None:
        if self._options and (option := _OPTION.fullmatch(line)):
            if option[1] in ("caption", "title", "alt"):
                place = len(self._kept) - 1 if self._code else len(self._kept)
                self._kept.insert(place, option[2] or "")
            return
        self._options = False
        self._keep(line)

    def _keep(self, line: str) -> None:
        if not self._skipped:
            self._kept.append(line)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


def _label(name: str) -> str:
    return name.capitalize() if name.lower() in _ADMONITIONS else ""


def without_blocks(text: str, notes: Counter[str]) -> str:
    """The page without the lines that open and close divisions, directives and admonitions; ``notes`` as without_flavour."""
    if not re.search(r"^[ ]*(?:`{3,}[ ]*\{|~{3,}[ ]*\{|:{3,}|!!!|\?\?\?|===[!+]?[ ]+\")", text, re.MULTILINE):
        return text
    return _Blocks(notes).read(text)
