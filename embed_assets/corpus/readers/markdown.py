"""Markdown and MDX."""

import html
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator

from embed_assets.corpus.encodings import decode
from embed_assets.corpus.readers.converted import Converted
from embed_assets.corpus.readers.flavours import (
    ROLE,
    mark_code,
    split_title_block,
    values_of,
    without_blocks,
    without_colons,
    without_contents,
    without_flavour,
)
from embed_assets.corpus.readers.front_matter import split_front_matter, split_keys
from embed_assets.corpus.readers.html import LOOKED_AT, raised_digits
from embed_assets.corpus.readers.plain import encoding_notes
from embed_assets.corpus.structure import is_element

MOST_TABLES = 200  # in HTML; the tags of more are taken out
MOST_NESTED = 100  # elements in one another in such a table; deeper ones would take minutes
# Elements that need no end, or cannot lie in one another.
_SHALLOW = {"td", "th", "tr", "thead", "tbody", "tfoot", "col", "p", "li", "br", "hr", "img", "input", "wbr", "option"}
# An escape in the middle of a name. It is never needed there, and exporters write MAX\_RETRY\_COUNT nevertheless.
_ESCAPED = re.compile(r"(?<=\w)\\([_*~])(?=\w)|(?<=\w)\\(_)|\\(_)(?=\w)")
# An escape behind a word, where what it escapes begins no block, no link and no cell; not where there is TeX.
_NEEDLESS = re.compile(r"(?<=[^\s>\\])((?:[ ](?=\\))?)\\([-.#+=!<>&~'\"(){}@,;?/^%$\\]|[\[\]:](?![(\[:])|\*(?=\s))")
_TEX = re.compile(r"(?<!\\)\$(?=[^\s$])[^$\n]{1,300}(?<=[^\s\\])\$")
# In lists and quotes fences stand further right.
_FENCE = re.compile(
    r"^[ \t>]{0,24}(`{3,}+(?![^`\n]*`)|~{3,}+)[^\n]*+\n.*?(?:^[ \t>]{0,24}\1[`~]*+[ \t]*+$|\Z)", re.DOTALL | re.MULTILINE
)
# Lines with an indent of four behind a blank one. They are code unless the line before is of a list.
_INDENTED = re.compile(
    r"(?:^(\S[^\n]*)\n(?:[ \t]*+\n)++|\A(?:[ \t]*+\n)*+)"
    r"((?:[ ]{4}|\t)[^\n]*+(?:\n(?:[ \t]*+\n)*+(?:[ ]{4}|\t)[^\n]*+)*+)",
    re.MULTILINE,
)
_LIST_ITEM = re.compile(r"(?:[-*+]|\d{1,9}[.)])(?:[ \t]|$)")
_ESM = re.compile(
    r"^(?:import\s+(?:[\w$*{},\s]{0,500}?\bfrom\s*)?(['\"])[^'\"\n]+\1[ \t]*(?:(?:with|assert)[ \t]*\{[^{}\n]*\})?;?[ \t]*(?://[^\n]*)?$"
    r"|export\s+(?:(?:const|let|var|function|async|class)\b"
    r"|default\s+(?:(?:function|async|class)\b|[({]|[\w.]+(?:\(|[ \t]*;?[ \t]*$)))"
    r".*?(?:^\}?;?[ \t]*$|\Z))\n?",
    re.DOTALL | re.MULTILINE,
)
# Values in braces may have braces, arrows and components of their own in them.
_BRACES = r"\{[^{}]{0,2000}+\}"
for _ in range(3):
    _BRACES = rf"\{{(?:[^{{}}]++|{_BRACES}){{0,200}}+\}}"
_COMPONENT = re.compile(
    rf"</?(?:[A-Z][\w.]{{0,60}}(?:\s(?:[^<>{{}}\"']++|\"[^\"]{{0,2000}}+\"|'[^']{{0,2000}}+'|{_BRACES}){{0,500}}+)?)?/?>"
    r"|\{/\*.{0,2000}?\*/\}",
    re.DOTALL,
)
# Elements of HTML in Markdown: those that are not seen, tables, and all other tags, between which the text stays.
_WHOLE_ELEMENT = re.compile(
    r"<(script|style|template|noscript|svg|iframe|object|canvas|audio|video|table)\b[^<>]{0,1000}(?<!/)>", re.IGNORECASE
)
# A heading in HTML, as pages begin with that centre their title; nothing but tags stands before it in its line.
_HEADING = re.compile(
    r"^([ \t]{0,24}(?:<(?!h[1-6])[^<>\n|]{1,300}>[ ]*){0,3})<h([1-6])(?:\s[^<>]{0,1000})?>"
    r"((?:(?!</?h[1-6])[^|]){1,1000}?)</h\2\s*>",
    re.IGNORECASE | re.MULTILINE,
)
_RAISED = re.compile(r"<sup>[ ]?([-\u2212+]?\d{1,3})[ ]?</sup>", re.IGNORECASE)
_READING = re.compile(r"<rp>[^<>]{0,10}</rp>|<rt>([^<>]{1,100})(?:</rt>)?", re.IGNORECASE)
# Elements whose tags part words, if nothing else does.
_PART_WORDS = {"li", "p", "div", "dt", "dd", "hr", "summary", "details", "option", "button", "center"}
_TAG = re.compile(r"(?<!\]\()</?([a-zA-Z][a-zA-Z0-9]{0,20})(\s[^<>]{0,2000})?/?>")
_ALTERNATIVE = re.compile(r"\balt\s*=\s*(?:\"([^\"]*)\"|'([^']*)')", re.IGNORECASE)
_SEEN_ATTRIBUTE = re.compile(r"\b(?:title|label|summary|caption|alt)=(?:\"([^\"\n]*)\"|'([^'\n]*)'|\{[\"'`]([^\"'`\n]*)[\"'`]\})")
# Code and emphasis in a title, which are words for whoever reads the page.
_MARKED = re.compile(r"(?<![\w*`])(`|\*{1,2})(?=[^\s*`])([^*`]{1,300})(?<=\S)\1(?![\w*`])")
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z]{2,31}\d{0,2});")


def read_markdown(content: bytes) -> Converted:
    """Markdown as it is written, without its front matter, needless escapes, comments, tags and entities of HTML."""
    return _read(content, lambda body: body)


def read_mdx(content: bytes) -> Converted:
    """MDX without its imports and components; what stands in them and in their titles is text."""
    return _read(content, lambda body: _outside_code(body, lambda part: _COMPONENT.sub(_component, _ESM.sub("", part))))


def _read(content: bytes, prepare: Callable[[str], str]) -> Converted:
    text, encoding = decode(content)
    metadata, body = split_front_matter(text)
    if not metadata and body.startswith("%"):
        metadata, body = split_title_block(body)
    elif not metadata:
        metadata, body = split_keys(body)
    body, left_out = markdown_as_seen(prepare(body))
    title = metadata.get("title", "")
    title = _as_seen(_MARKED.sub(r"\2", title)) if isinstance(title, str) else ""
    return Converted(body, title, True, metadata, (*encoding_notes(encoding), *left_out))


def _component(match: re.Match) -> str:
    return "" if match[0].startswith("{") else values_of(_SEEN_ATTRIBUTE, match[0])


def markdown_as_seen(body: str) -> tuple[str, tuple[str, ...]]:
    """Markdown without needless escapes, comments, tags and entities of HTML, and what was left out of it, in words."""
    found: Counter[str] = Counter()
    if "<!--" in body:
        body = without_comments(body)
    body = mark_code(body)
    if "](#" in body:
        body = without_contents(body, [fence.span() for fence in _FENCE.finditer(body)], found)
    if ":::" in body:
        body = _outside_code(body, lambda part: without_colons(part, found))
    body = without_blocks(body, found)
    body = _without_roles(body)
    body = _outside_code(body, lambda part: _as_seen(without_flavour(part, found)))
    return body, tuple(f"{what} left out ({number})" for what, number in sorted(found.items()))


def _as_seen(part: str) -> str:
    """A part of a page without code, as a reader sees it as far as it is no Markdown: names whole, no tags and no entities."""
    part = _ESCAPED.sub(lambda match: match[1] or match[2] or match[3], part)
    if "<" in part:
        part = _HEADING.sub(_heading, _without_whole_elements(part))
        part = _READING.sub(lambda match: f"({match[1]})" if match[1] else "", part) if "<rt" in part else part
        part = _TAG.sub(_without_tag, _RAISED.sub(_raised, part))
    part = _ENTITY.sub(_character, part) if "&" in part else part
    if "\\" not in part or "$$" in part or "\\begin{" in part:
        return part
    return "".join(line if _TEX.search(line) else _NEEDLESS.sub(r"\1\2", line) for line in part.splitlines(keepends=True))


def _without_whole_elements(part: str) -> str:
    """The text with its tables as Markdown, and without scripts and styles; in linear time, whatever is not closed."""
    from embed_assets.corpus.readers.html import parse, to_markdown

    unclosed, parts, place, tables = set(), [], 0, 0
    for opening in _WHOLE_ELEMENT.finditer(part):
        name = opening[1].lower()
        if opening.start() < place or name in unclosed or (name == "table" and tables == MOST_TABLES):
            continue
        closing = re.compile(f"</{name}\\s*>", re.IGNORECASE).search(part, opening.end())
        if closing is None:
            unclosed.add(name)
            continue
        whole = part[opening.start() : closing.end()]
        shown = ""
        if name == "table" and _nesting(whole) > MOST_NESTED:
            shown = whole  # and its tags are taken out
        elif name == "table":
            tables += 1
            shown = f"\n\n{to_markdown(parse(whole))}\n\n"
        parts += [part[place : opening.start()], shown]
        place = closing.end()
    return "".join([*parts, part[place:]])


def _nesting(page: str) -> int:
    """How many elements lie in one another, at most."""
    open_ones: Counter[str] = Counter()
    deepest = depth = 0
    for tag in _TAG.finditer(page):
        name = tag[1].lower()
        change = 1 if not tag[0].startswith("</") else -1 if open_ones[name] else 0
        if name not in _SHALLOW:
            open_ones[name] += change
            depth += change
            deepest = max(deepest, depth)
    return deepest


def _raised(match: re.Match) -> str:
    word = re.search(r"\w*$", match.string[max(0, match.start() - LOOKED_AT) : match.start()])
    return raised_digits(word[0] if word else "", match[1])


def _heading(match: re.Match) -> str:
    """A heading in HTML as one of Markdown; what has no word, such as a picture without one, is none."""
    words = " ".join(_TAG.sub(_without_tag, match[3]).split())
    return f"{match[1]}\n\n{'#' * int(match[2])} {words}\n\n" if re.search(r"\w", words) else match[0]


def _without_tag(match: re.Match) -> str:
    name = match[1].lower()
    if not is_element(name):
        return match[0]  # a placeholder such as <name>
    if name == "img" and (alternative := _ALTERNATIVE.search(match[2] or "")):
        return alternative[1] or alternative[2] or ""
    if name in _PART_WORDS:
        around = match.string[max(0, match.start() - 1) : match.start()], match.string[match.end() : match.end() + 1]
        return "" if any(map(str.isspace, around)) else " "
    return " " if name in ("br", "td", "th") else ""


def _character(match: re.Match) -> str:
    """What an entity stands for, unless Markdown would take it for a mark of its own."""
    character = html.unescape(match[0]).replace("\u00a0", " ")
    return character if character.isprintable() and character not in "`#|\\" else match[0]


def without_comments(text: str) -> str:
    """The page without the comments of HTML in it that stand outside of code.

    One that is never closed goes to the end if a line begins with it, and is text if not, as in CommonMark.
    """
    code = [*_code(text)]
    starts = [start for start, _ in code]
    parts, place = [], 0
    for opening in re.finditer("<!--", text):
        start = opening.start()
        before = bisect_right(starts, start) - 1
        if start < place or (before >= 0 and start < code[before][1]):
            continue
        end = text.find("-->", opening.end())
        if end < 0 and text[text.rfind("\n", 0, start) + 1 : start].strip():
            break
        parts.append(text[place:start])
        place = end + len("-->") if end >= 0 else len(text)
    return "".join([*parts, text[place:]])


def _outside_code(text: str, change) -> str:
    """The text with a change to all but its fenced and inline code."""
    parts, place = [], 0
    for start, end in _code(text):
        parts += [change(text[place:start]), text[start:end]]
        place = end
    return "".join([*parts, change(text[place:])])


def _without_roles(text: str) -> str:
    """The text with what a reader sees of the roles of MyST: a name in braces, and code right behind it."""
    if "}`" not in text:
        return text
    from embed_assets.corpus.readers.rst import role_text

    parts, place = [], 0
    for start, end in _code(text):
        before, code = text[place:start], text[start:end]
        place = end
        role = ROLE.search(before)
        if role is not None and code.count("`") == 2 and "\n" not in code:
            before, code = before[: role.start()], role_text(code.strip("`"), role[1])
        parts += [before, code]
    return "".join([*parts, text[place:]])


def _code(text: str) -> Iterator[tuple[int, int]]:
    """The spans of fenced and inline code, in order."""
    place = 0
    for fence in _FENCE.finditer(text):
        yield from _code_without_fences(text, place, fence.start())
        yield fence.span()
        place = fence.end()
    yield from _code_without_fences(text, place, len(text))


def _code_without_fences(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    for block in _INDENTED.finditer(text, start, end):
        if not _LIST_ITEM.match(block[1] or ""):
            yield from _inline_code(text, start, block.start(2))
            yield block.span(2)
            start = block.end(2)
    yield from _inline_code(text, start, end)


def _inline_code(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Spans from a run of backticks to the next one of the same length in its line; in linear time, whatever the text."""
    runs = [(run.start(), run.end()) for run in re.compile("`+|\n").finditer(text, start, end)]
    closing: dict[int, int] = {}  # length of a run → the next run of that length in the line
    next_alike: list[int | None] = [None] * len(runs)
    for i in range(len(runs) - 1, -1, -1):
        first, last = runs[i]
        if text[first] == "\n":
            closing = {}
        else:
            next_alike[i] = closing.get(last - first)
            closing[last - first] = i
    i = 0
    while i < len(runs):
        alike = next_alike[i]
        if alike is not None:
            yield runs[i][0], runs[alike][1]
            i = alike
        i += 1
