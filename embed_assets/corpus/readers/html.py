"""HTML pages, and the one way from HTML to Markdown that all converters share."""

import html
import itertools
import re
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

from embed_assets.corpus.encodings import decode
from embed_assets.corpus.readers.converted import Converted, fenced
from embed_assets.corpus.readers.front_matter import split_front_matter
from embed_assets.corpus.readers.plain import encoding_notes

if TYPE_CHECKING:
    from bs4 import BeautifulSoup, Tag

_NOT_SEEN = [
    "script",
    "style",
    "template",
    "noscript",
    "iframe",
    "object",
    "embed",
    "svg",
    "canvas",
    "audio",
    "video",
    "link",
    "meta",
]
_MENU_ROLES = {"navigation", "search", "menu", "menubar", "contentinfo", "banner", "complementary", "dialog", "alertdialog"}
_MENU_NAME = re.compile(
    r"(?:^|[-_ ])(?:nav|navbar|navigation|navheader|navfooter|menu|sidebar|sphinxsidebar\w*|breadcrumbs?|footer|topbar|"
    r"pagination|pager|related|rel-?links|skip\w*|globaltoc|localtoc|toc|table[-_]?of[-_]?contents|navbox|"
    r"catlinks|printfooter|cookie\w*)(?:[-_ ]|$)",
    re.IGNORECASE,
)
_CONSENT_NAME = re.compile(
    r"(?:cookie|consent|gdpr)[-_]?(?:banner|bar|box|consent|dialog|info|law|message|modal|notice|overlay|popup)|onetrust|cookiebot",
    re.IGNORECASE,
)
_LIKE_BUTTON = re.compile(r"(?:^|[-_])(?:btn|button)(?:[-_]|$)", re.IGNORECASE)
_CHARSET = re.compile(
    rb"""<(?:meta[^>]{0,300}?charset\s*=\s*["']?\s*|\?xml[^>]{0,100}?encoding=["'])([\w:.-]{2,40})""", re.IGNORECASE
)
_RAISED = str.maketrans("0123456789-−+", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁻⁺")
LONGEST_UNIT = 3  # letters of a unit or a variable, such as mol²
LOOKED_AT = 50  # characters before raised digits; more would only take time
_HEADINGS = ["h1", "h2", "h3", "h4", "h5", "h6"]
# Elements that begin a line of their own, which the converter takes for a part of the text around them.
_BLOCKS = [
    "address",
    "aside",
    "center",
    "details",
    "fieldset",
    "figure",
    "footer",
    "form",
    "header",
    "hgroup",
    "legend",
    "main",
    "nav",
    "summary",
]
# Beside one another they look apart without a blank between them: links of tags and of tabs, labels, badges.
_APART = ["a", "label"]
_BOXES = ["button", "textarea", "select"]
MOST_ROWS_SPANNED, MOST_COLUMNS_SPANNED = 1000, 100
# Of a table: few real ones need as many, and a page that asks for millions would fill the memory.
MOST_CELLS_FILLED = 20_000
MOST_ROWS_OF_NAMES = 4
# Links that lead to their own place, or back from a note.
_ARROWS = ("¶", "◆", "#", "§", "\uf0c1", "🔗", "↑", "↩", "↩\ufe0e", "↩\ufe0f", "↵")
# Of this page: scripts answer links to # alone, and show other pages at #/page and #!page.
_TO_A_PLACE = re.compile(r"#[^/!]")
_OF_LINE_NUMBERS = ["linenos", "lineno", "linenumber", "gutter"]
_ONLY_HEARD = [
    *("sr-only", "visually-hidden", "visuallyhidden", "screen-reader-text", "slds-assistive-text", "MJX_Assistive_MathML"),
]
# Links to edit a section of a wiki, which would be words of its heading, and the contents that Word puts in front.
_NO_TEXT = re.compile(r"mw-editsection|MsoToc\d")
_BULLET_OF_WORD = re.compile(r"[\s\u00a0]*[·•§▪o–-][\s\u00a0]*")
_TEX = re.compile(r"\\\((.*)\\\)|\\\[(.*)\\\]|\{\\displaystyle(.*)\}", re.DOTALL)


def read_html(content: bytes) -> Converted:
    """The text of a page, without menus, headers and footers where the page marks them as such."""
    declared = _CHARSET.search(content[:4096])
    text, encoding = decode(content, declared[1].decode() if declared else None)
    metadata, text = split_front_matter(text)
    soup = parse(text)
    title = soup.title.get_text(" ", strip=True) if soup.title else html.unescape(str(metadata.get("title", "")))
    for tag in soup.find_all("title"):
        tag.decompose()
    markdown = to_markdown(_main_part(soup))
    links = tuple(dict.fromkeys(words for link in soup.find_all("a", limit=5000) if (words := line_key(link.get_text(" ")))))
    if not markdown.strip():
        markdown, links = to_markdown(parse(text)), ()
    return Converted(markdown, title, True, metadata, encoding_notes(encoding), links)


def line_key(line: str) -> str:
    """What tells two lines of a page apart: their words, in lower case, without bullets and separators."""
    return " ".join(line.lower().strip(" \t\r\n-*+|»«›‹>·•/\u00a0").split())


def parse(page: str) -> "BeautifulSoup":
    """The tree of a page, as lxml mends it."""
    from bs4 import BeautifulSoup, XMLParsedAsHTMLWarning

    warnings.simplefilter("ignore", XMLParsedAsHTMLWarning)  # XHTML is read as HTML, as browsers do
    return BeautifulSoup(page.encode(), "lxml", from_encoding="utf-8")


def _words(tag: "Tag", attribute: str) -> str:
    """The value of an attribute; the classes of a tag come as a list."""
    value = tag.get(attribute) or ""
    return value if isinstance(value, str) else " ".join(value)


def _main_part(soup: "BeautifulSoup") -> "Tag":
    for tag in soup.find_all(["nav", "dialog"]):
        tag.decompose()
    for tag in soup.find_all(None, {"role": True}):
        is_menu = not tag.decomposed and tag.get("role") in _MENU_ROLES and not tag.find(["h1", "main", "article"])
        if is_menu and (tag.get("role") != "complementary" or _is_menu(tag)):
            tag.decompose()
    for tag in soup.find_all(["header", "footer", "aside"]):
        around, within = ["main", "article", "section"], ["h1", "main", "article"]
        is_outside = not tag.decomposed and not tag.find_parent(around) and not tag.find(within)
        if is_outside and (tag.name != "aside" or _is_menu(tag)):  # an aside may hold a note
            tag.decompose()
    for tag in soup.find_all(["div", "ul", "ol", "table", "p", "td", "section", "span"]):
        name = "" if tag.decomposed else f"{_words(tag, 'class')} {_words(tag, 'id')}"
        if (_MENU_NAME.search(name) and _is_menu(tag)) or (_CONSENT_NAME.search(name) and _asks_for_consent(tag)):
            tag.decompose()
    for tag in soup.find_all(["ul", "ol", "dl"]):
        if not tag.decomposed and _is_table_of_contents(tag):
            tag.decompose()
    mains = soup.find_all("main") or soup.find_all(None, {"role": "main"})
    if len(mains) == 1 and len(mains[0].get_text()) > 0.4 * len(soup.get_text()):
        return mains[0]
    return soup


def _is_menu(tag: "Tag") -> bool:
    """Whether the words of a part of a page are mostly links, and none of it is prose, code or data."""
    if tag.find(["pre", "h1", "main", "article"]):
        return False
    words = len(tag.get_text(" ", strip=True))
    linked = sum(len(link.get_text(" ", strip=True)) for link in tag.find_all("a"))
    return linked > 0.5 * words or (words < 200 and tag.find("form") is not None)


def _is_table_of_contents(tag: "Tag") -> bool:
    """Whether a list holds nothing but links to places of its own page: its headings say the same."""
    links = tag.find_all("a", href=True)
    if len(links) < 2 or not all(_TO_A_PLACE.match(_words(link, "href")) for link in links):
        return False
    return sum(len("".join(link.get_text().split())) for link in links) == len("".join(tag.get_text().split()))


def _asks_for_consent(tag: "Tag") -> bool:
    """Whether a part of a page that is named after cookies is to be answered, and not read."""
    is_asking = tag.find(["button", "input"]) or tag.find(None, {"role": "button"}) or tag.find("a", class_=_LIKE_BUTTON)
    return is_asking is not None and tag.find(["pre", "h1", "main", "article"]) is None


def to_markdown(tree: "Tag") -> str:
    """A tree as Markdown: headings, lists, tables and code keep their marks, all else is the text that a reader sees."""
    from markdownify import MarkdownConverter

    class Converter(MarkdownConverter):
        """Definitions without the colon and the indent of one Markdown, in which other ones see no fences and no lists."""

        def convert_dd(self, el: "Tag", text: str, parent_tags: set[str]) -> str:
            return f"{(text or '').strip()}\n\n"

        def convert_pre(self, el: "Tag", text: str, parent_tags: set[str]) -> str:
            """Its own way takes quadratic time on blanks, and breaks code off that has a fence in it."""
            first = len(text) - len(text.lstrip(" \n"))
            code = text[text.rfind("\n", 0, first) + 1 :].rstrip(" \n")
            return f"\n\n{fenced(code, _language(el))}\n\n" if text else ""

    _simplify(tree)
    converter = Converter(
        heading_style="ATX",
        bullets="-",
        escape_asterisks=False,
        escape_underscores=False,
        escape_misc=False,
        strip=["a", "b", "strong", "em", "i", "u", "del", "s", "code", "kbd", "samp", "sub", "sup", "q", "img"],
        table_infer_header=True,
    )
    text = converter.convert_soup(tree).replace("\u00ad", "")
    # A line of text that looks like a heading is none: a no-break space tells it apart.
    text = re.sub("^\ue000(#{1,6}) ", "\\1\u00a0", text, flags=re.MULTILINE).replace("\ue000", "")
    return re.sub(r"\n{3,}", "\n\n", re.sub(r"(?<![ \t])[ \t]++$", "", text, flags=re.MULTILINE)).strip()


def _simplify(tree: "Tag") -> None:
    """Leave what a reader sees, in such tags as the converter knows; each step finds what the steps before it have left."""
    _show_formulas(tree)
    _take_out_unread(tree)
    _show_inline(tree)
    _rename_blocks(tree)
    _tell_headings_apart(tree)
    _simplify_tables(tree)


def _take_out_unread(tree: "Tag") -> None:
    """Take out what is not seen, or not for reading: scripts, arrows that link to a place, numbers of lines."""
    for tag in tree.find_all(_NOT_SEEN):
        tag.decompose()
    for link in tree.find_all("a"):
        if link.get_text(strip=True) in _ARROWS:
            link.decompose()
    for tag in tree.find_all(class_=_NO_TEXT):
        tag.decompose()
    for tag in tree.find_all(class_=[*_OF_LINE_NUMBERS, *_ONLY_HEARD]):
        # The columns of a page are called gutters too.
        if not tag.decomposed and ({*_ONLY_HEARD} & {*tag["class"]} or not any(map(str.isalpha, tag.get_text()))):
            tag.decompose()


def _show_inline(tree: "Tag") -> None:
    """Words in place of pictures and fields, and blanks around what a page sets apart by its looks alone."""
    from bs4 import Tag

    for image in tree.find_all(["img", "area"]):
        words = "" if image.find_parent("pre") or _is_caption(image) else _words(image, "alt").strip()
        inline = isinstance(image.previous_sibling, str) and image.previous_sibling.strip()
        image.replace_with(f"{' ' if inline else ''}{words} " if words else "")
    for raised in tree.find_all("sup"):
        _set_apart(raised)
    for box in tree.find_all("input"):
        if box.get("type", "text") in ("text", "submit", "button", "search") and box.get("value"):
            box.replace_with(f" {box['value']} ")
    for tag in tree.find_all(["option", "dt"]):
        tag.append("\n")
    for tag in tree.find_all(_BOXES):
        if tag.find_parent("pre") is not None or re.search("copy|clipboard", _words(tag, "class")):
            tag.decompose()  # what copies code
        else:
            tag.insert_before(" ")
            tag.insert_after(" ")
    for tag in tree.find_all(_APART):
        if isinstance(tag.next_sibling, Tag) and tag.next_sibling.name == tag.name and tag.find_parent(["pre", "code"]) is None:
            tag.insert_after(" ")


def _rename_blocks(tree: "Tag") -> None:
    """Blocks and lists of all names as those that the converter knows; readings, classifiers and labels beside their words."""
    for tag in tree.find_all(_BLOCKS):
        tag.name = "div"
    for listing in tree.find_all("div", class_="fragment"):  # of Doxygen
        lines = listing.find_all("div", class_="line")
        for line in lines:
            if isinstance(line.next_sibling, str) and not line.next_sibling.strip():
                line.next_sibling.extract()
            line.append("\n")
            line.unwrap()
        if lines:  # steps of slides are called fragments, too
            listing.name = "pre"
    for title in tree.select("p.MsoTitle, .doc-content > p.title"):  # of Word and of Google Docs
        title.name = "h1"
    for item in tree.find_all("p", class_=re.compile("MsoList")):
        _set_bullet(item)
    for heading in tree.find_all(["div", "span", "p"], {"role": "heading"}):  # of SharePoint
        if heading.find_parent(["table", *_HEADINGS]) is None:
            heading.name = f"h{level}" if (level := _words(heading, "aria-level")) in [*"123456"] else "h2"
    for tag in tree.find_all(["menu", "dir"]):
        tag.name = "ul"
    for ruby in tree.find_all("ruby"):
        _set_reading_apart(ruby)
    for tag in tree.find_all("span", class_="classifier"):
        tag.insert_before(" : ")
    for label in tree.find_all("span", class_="label"):
        note = label.find_next_sibling()
        if note is not None and note.name == "p":
            note.insert(0, f"{label.extract().get_text()} ")


def _set_bullet(item: "Tag") -> None:
    """A hyphen for the bullet that Word writes as a text of its own, with blanks behind it."""
    strings = [text for text in item.strings if text not in " \r\n"]
    if len(strings) > 1 and _BULLET_OF_WORD.fullmatch(strings[0]):
        strings[0].replace_with("- ")
        for text in strings[1:]:
            text.replace_with(text.lstrip())
            if text.strip():
                break


def _tell_headings_apart(tree: "Tag") -> None:
    """Headings on one line and none without words; a paragraph that would look like one gets a mark (see to_markdown)."""
    for heading in tree.find_all(_HEADINGS):
        for line in heading.find_all("br"):
            line.replace_with(" ")
        if not heading.get_text(strip=True):
            heading.unwrap()
    for paragraph in tree.find_all(["p", "div", "li", "dd", "blockquote"]):
        first = next((text for text in paragraph.strings if text.strip()), None)
        if first is not None and re.match(r"\s*#{1,6}\s", first) and first.find_parent([*_HEADINGS, "pre"]) is None:
            first.replace_with("\ue000" + first.lstrip())


def _simplify_tables(tree: "Tag") -> None:
    """Tables as Markdown has them; those that lay out a page as plain blocks."""
    for table in tree.find_all("table"):
        _fill_spanned_rows(table)
        _name_columns(table)
    for part in tree.find_all(["thead", "tbody", "tfoot"]):
        part.unwrap()
    # Tables that lay out a page: what stands in their cells has a structure of its own.
    for table in tree.find_all("table"):
        if table.get("role") in ("presentation", "none") or table.find([*_HEADINGS, "pre", "table"]) or not _columns(table):
            cells = table.find_all(["tr", "td", "th", "tbody", "thead", "tfoot"])
            for part in [table, *(part for part in cells if part.find_parent("table") is table)]:
                part.name = "div"
        else:
            _begin_with_row(table)
            for words in table.find_all(string=re.compile("[|]")):
                words.replace_with(words.replace("|", "\\|"))


def _begin_with_row(table: "Tag") -> None:
    """Leave a table nothing in front of its first row, which the converter takes for the names of columns only there."""
    for part in table.find_all(["caption", "colgroup", "col"]):
        if part.name == "caption" and part.get_text(strip=True):
            part.name = "p"
            table.insert_before(part.extract())
        else:
            part.decompose()
    for row in table.find_all("tr"):
        if row.find(["td", "th"]) is None:
            row.decompose()


def _show_formulas(tree: "Tag") -> None:
    """Formulas once, as their source if it is there: pages hold them as drawn, to be read out, and as a picture as well."""
    for script in tree.find_all("script", type=re.compile("^math/tex")):
        drawn = script.find_previous_sibling()
        if drawn is None or not drawn.get_text(strip=True) or "MathJax" not in _words(drawn, "class"):
            script.replace_with(script.get_text())
    for formula in tree.find_all("math"):
        source = formula.find("annotation", encoding="application/x-tex")
        if words := source.get_text() if source else _words(formula, "alttext"):
            formula.replace_with(_without_delimiters(words))
    for tag in tree.find_all(class_="math"):
        if not tag.decomposed and _TEX.fullmatch(tag.get_text().strip()):
            tag.string = _without_delimiters(tag.get_text())
    for tag in tree.find_all(class_=["katex-html", "mwe-math-fallback-image-inline", "mwe-math-fallback-image-display"]):
        if tag.find_previous_sibling() is not None:
            tag.decompose()


def _without_delimiters(words: str) -> str:
    match = _TEX.fullmatch(words.strip())
    return (next(filter(None, match.groups()), "") if match else words).strip()


def _is_caption(image: "Tag") -> bool:
    """Whether the words that stand in for a picture are read below it as well."""
    figure = image.find_parent("figure")
    caption = figure.find("figcaption") if figure else None
    return caption is not None and line_key(_words(image, "alt")) in line_key(caption.get_text(" "))


def _set_apart(raised: "Tag") -> None:
    """Keep raised digits from becoming a part of the word or number before them: 10⁶, m², and footnote marks as [1]."""
    words = raised.get_text(strip=True)
    # The link of a note holds its mark alone; in others 10 m² may stand.
    around = raised.parent
    link = around if around is not None and around.name == "a" and raised.previous_sibling is None else None
    before = link.previous_sibling if link else raised.previous_sibling
    word = re.search(r"\w*$", before[-LOOKED_AT:])[0] if isinstance(before, str) else ""
    is_note = link is not None or raised.find("a") is not None or (word.isalpha() and len(word) > LONGEST_UNIT)
    if re.fullmatch(r"\[?[\d,]{1,9}\]?|[*†‡]", words) and is_note:
        raised.replace_with(f"[{words.strip('[]')}]")
    elif re.fullmatch(r"[-−+]?\d{1,3}", words):
        raised.replace_with(raised_digits(word, words))


def raised_digits(word: str, digits: str) -> str:
    """Raised digits behind a word: a note behind a long one, else raised; as they are where there is none."""
    if word.isalpha() and len(word) > LONGEST_UNIT and digits.isdecimal():
        return f"[{digits}]"
    return digits.translate(_RAISED) if word else digits


def _set_reading_apart(ruby: "Tag") -> None:
    """Put what is written small above or beside characters in brackets behind them, as browsers without ruby do."""
    for bracket in ruby.find_all("rp"):
        bracket.decompose()
    for reading in ruby.find_all("rt"):
        words = reading.get_text(strip=True)
        reading.replace_with(f"({words})" if words else "")


def _name_columns(table: "Tag") -> None:
    """Leave a table one row with the names of its columns, of which Markdown has no more: joined from several, or empty.

    A row of one name is a caption. Where each row begins with its own name, as in a data sheet, the first one names no column.
    """
    rows = [row for row in table.find_all("tr") if row.find_parent("table") is table]
    cells = [row.find_all(["td", "th"], recursive=False) for row in rows]
    if len(rows) < 2 or not cells[0]:
        return
    if cells[0][0].get_text(strip=True) and all([cell.name for cell in row[:2]] == ["th", "td"] for row in cells):
        rows[0].insert_before(_row_of([""] * len(cells[0])))
        return
    has_names = rows[0].th is not None  # some have all their rows in <thead>
    heads = len(list(itertools.takewhile(lambda row: row.find_parent("thead") and (row.th is not None or not has_names), rows)))
    heads = heads or len(list(itertools.takewhile(lambda row: row and all(cell.name == "th" for cell in row), cells)))
    if heads == 1:  # a name that reaches down has others beside it
        heads = max(_span(cell, "rowspan", MOST_ROWS_SPANNED) for cell in cells[0])
    if not 1 < heads < len(rows) or heads > MOST_ROWS_OF_NAMES:
        return
    names: dict[int, dict[str, None]] = {}  # column → its names, outermost first
    for found in cells[:heads]:
        if len(found) == 1 and _span(found[0], "rowspan", MOST_ROWS_SPANNED) == 1:
            found[0].name = "p"
            table.insert_before(found[0].extract())
            continue
        columns = itertools.count()
        for cell in found:
            for column in itertools.islice(columns, _span(cell, "colspan", MOST_COLUMNS_SPANNED)):
                names.setdefault(column, {})[cell.get_text(" ", strip=True)] = None
    rows[0].insert_before(_row_of([" ".join(filter(None, names[column])) for column in sorted(names)]))
    for row in rows[:heads]:
        row.decompose()


def _row_of(names: Sequence[str]) -> "Tag":
    from bs4 import Tag as NewTag

    row = NewTag(name="tr")
    for name in names:
        cell = NewTag(name="th")
        cell.string = name
        row.append(cell)
    return row


def _fill_spanned_rows(table: "Tag") -> None:
    """Put an empty cell where one from a row above reaches down, so that the cells behind it stay below their names."""
    from bs4 import Tag as NewTag

    above: dict[int, tuple[int, str]] = {}  # column → rows that a cell above reaches into from here, and its kind
    left = MOST_CELLS_FILLED
    for row in table.find_all("tr"):
        cells = row.find_all(["td", "th"], recursive=False)
        if row.find_parent("table") is not table:
            continue
        below = {column: (rows - 1, kind) for column, (rows, kind) in above.items() if rows > 1}
        column = 0
        for cell in cells:
            while column in above and left:
                cell.insert_before(NewTag(name=above[column][1]))
                column, left = column + 1, left - 1
            height = _span(cell, "rowspan", MOST_ROWS_SPANNED)
            for _ in range(_span(cell, "colspan", MOST_COLUMNS_SPANNED)):
                if height > 1:
                    below[column] = height - 1, cell.name
                column += 1
        for missing in range(column, max(above, default=-1) + 1)[: left if cells else 0]:
            row.append(NewTag(name=above.get(missing, (0, "td"))[1]))
            left -= 1
        above = below


def _span(cell: "Tag", attribute: str, most: int) -> int:
    """How many columns or rows a cell takes."""
    number = _words(cell, attribute).strip()
    return min(max(1, int(number)), most) if number.isdecimal() and number.isascii() and len(number) < 6 else 1


def _columns(table: "Tag") -> bool:
    """Whether a row of the table has at least two cells."""
    return any(len(row.find_all(["td", "th"], recursive=False)) > 1 for row in table.find_all("tr"))


def _language(pre: "Tag") -> str:
    """The language of a piece of code, from the classes that highlighters put on it, or on what is around it."""
    around = [pre, *pre.find_all("code", limit=1), *list(pre.parents)[:2]]
    for tag in around:
        for name in tag.get("class") or ():
            if match := re.fullmatch(r"(?:language|lang|highlight|highlight-source|brush:?)[-:]([\w+#-]{1,20})", name):
                return "" if match[1] in ("default", "none", "text") else match[1]
    return ""
