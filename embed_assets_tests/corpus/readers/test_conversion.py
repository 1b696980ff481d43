import base64
import email.message
import io
import json
import random
import textwrap
import time
import zipfile

import pytest

from embed_assets.corpus.readers.conversion import convert
from embed_assets.corpus.readers.converted import Converted, without_base64, without_data_uris
from embed_assets_tests.corpus.test_documents import WORD

NAMES = "Raise MAX_RETRY_COUNT in other_config, *not* in `c:\\temp`."
PICTURE = "data:image/png;base64," + "iVBORw0KGgoAAAANSUhEUg" * 50
ENCODED = base64.b64encode(random.Random(1).randbytes(400)).decode()
WRAPPED = "\n".join(textwrap.wrap(ENCODED, 64))
CERTIFICATE = f"-----BEGIN CERTIFICATE-----\n{WRAPPED}\n-----END CERTIFICATE-----"


def read(extension: str, content: str | bytes) -> Converted:
    result = convert(content.encode() if isinstance(content, str) else content, extension)
    assert isinstance(result, Converted), result
    return result


def docx(body: str) -> bytes:
    office = "http://schemas.openxmlformats.org"
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(
            "[Content_Types].xml",
            f'<Types xmlns="{office}/package/2006/content-types"><Default Extension="rels" '
            'ContentType="application/vnd.openxmlformats-package.relationships+xml"/><Override PartName="/word/document.xml" '
            'ContentType="application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"/></Types>',
        )
        archive.writestr(
            "_rels/.rels",
            f'<Relationships xmlns="{office}/package/2006/relationships"><Relationship Id="r1" '
            f'Type="{office}/officeDocument/2006/relationships/officeDocument" Target="word/document.xml"/></Relationships>',
        )
        archive.writestr("word/document.xml", f"<w:document {WORD}><w:body>{body}</w:body></w:document>")
    return out.getvalue()


@pytest.mark.parametrize(
    ("extension", "content"),
    [
        (".html", f"<p>{NAMES}</p>"),
        (".docx", docx(f"<w:p><w:r><w:t>{NAMES}</w:t></w:r></w:p>")),
        (".rst", NAMES.replace("*not*", "\\*not\\*").replace("`c:\\temp`", "\\`c:\\\\temp\\`")),
        (".txt", NAMES),
        (".md", NAMES),
        (".csv", f"a\n{NAMES.replace(',', ' and')}\n".replace(" and *not*", ", *not*").replace(", *", " *")),
    ],
)
def test_no_mark_of_a_converter_reaches_the_text(extension, content):
    text = read(extension, content).text
    assert "Raise MAX_RETRY_COUNT in other_config" in text and "*not*" in text and "`c:\\temp`" in text


def test_needless_escapes_of_exporters_are_taken_out_of_markdown_and_code_is_left_alone():
    text = read(".md", "Raise MAX\\_RETRY\\_COUNT and \\_start.\n\n`a\\_b`\n\n```\nc\\_d\n```\n").text
    assert text == "Raise MAX_RETRY_COUNT and _start.\n\n`a\\_b`\n\n```\nc\\_d\n```\n"


def test_a_price_leaves_no_escapes_in_a_page_and_formulas_keep_theirs():
    assert read(".md", "It costs \\$5\\.\n\nTake x\\-y\\.\n").text == "It costs $5.\n\nTake x-y.\n"
    assert read(".md", "From $5 on, x\\-y.\n").text == "From $5 on, x-y.\n"
    assert read(".md", "So $a\\,b$ is x\\-y.\n\nOf x\\-y.\n").text == "So $a\\,b$ is x\\-y.\n\nOf x-y.\n"
    display = "Of x\\-y.\n\n$$\na\\,b\n$$\n"
    assert read(".md", display).text == display


RST = """Links
=====

.. option:: --mtu <bytes>

   Sets the largest frame.

.. versionchanged:: 2.4
   Jumbo frames.

.. code-block:: console
   :caption: Set it

   $ linkctl mtu 9000

.. tabs::

   .. tab:: Linux

      Run the installer.

.. list-table::
   :unknown: option

   * - port
     - name

====  ===
a     b
====  ===
1     too wide for its column
====

See :ref:`the chapter <x>`, :func:`~a.connect` and |release|.
"""


def test_nothing_of_what_sphinx_knows_and_docutils_does_not_is_lost():
    text = read(".rst", RST).text
    expected = ["--mtu <bytes>", "Sets the largest frame.", "2.4", "Jumbo frames.", "Set it", "$ linkctl mtu 9000", "Linux"]
    expected += ["Run the installer.", "| port | name |", "too wide for its column", "See the chapter, a.connect and release."]
    assert [words for words in expected if words not in text] == []
    assert "System Message" not in text and "::" not in text


def test_restructured_text_opens_no_file_and_says_what_it_left_out(tmp_path):
    secret = tmp_path / "secret.svg"
    secret.write_text("<svg>swordfish</svg>")
    source = f".. image:: {secret}\n   :loading: embed\n   :alt: a pump\n\n.. include:: {secret}\n\nText.\n\n"
    page = read(".rst", f"{source}.. csv-table::\n   :file: {secret}\n\n.. raw:: html\n   :file: {secret}\n")
    assert "a pump" in page.text and "Text." in page.text and "swordfish" not in page.text
    assert page.notes == ("directive include left out (1)", "directive raw left out (1)")


def test_what_stands_below_a_directive_that_reads_code_is_text():
    page = read(".rst", ".. autoclass:: acme.Fan\n   :members:\n\n   Turns.\n\n.. automodule:: acme\n\n   All of it.\n")
    assert page.text == "acme.Fan\n\nTurns.\n\nAll of it."
    assert page.notes == ("directive autoclass left out (1)", "directive automodule left out (1)")


HTML = """<html><head><title>Fans</title><style>p {color: red}</style></head><body>
<nav><a href=1>One</a></nav><header><a href=2>Home</a></header>
<div class="sidebar"><ul><li><a href=3>Three</a></li><li><a href=4>Four</a></li></ul></div>
<main><h1>Fan <code>x_y</code><a class=headerlink href=#a>¶</a></h1><p># no heading</p><p>Rinse <b>it</b>
<a href="http://x.y/">often</a>.</p><table><tr><th>port_a</th><th>name</th></tr><tr><td>1|2</td><td>x<br>y</td></tr></table>
<pre class="language-sh"><code># comment
run_me --x</code></pre><table><tr><td><h2>Layout</h2><p>Prose.</p></td><td>Beside.</td></tr></table>
<img src="x.png" alt="diagram of the fan"></main><footer>Imprint</footer><script>track()</script></body></html>"""


def test_a_page_keeps_headings_tables_and_code_and_loses_menus():
    page = read(".html", HTML)
    assert page.title == "Fans"
    assert page.text == (
        "# Fan x_y\n\n#\u00a0no heading\n\nRinse it\noften.\n\n| port_a | name |\n| --- | --- |\n| 1\\|2 | x y |\n\n"
        "```sh\n# comment\nrun_me --x\n```\n\n## Layout\n\nProse.\n\nBeside.\n\ndiagram of the fan"
    )


def test_word_files_lose_no_text_of_moves_fields_boxes_and_tables():
    body = (
        "<w:p><w:moveTo w:id='1'><w:r><w:t>moved</w:t></w:r></w:moveTo><w:ins w:id='2'><w:r><w:t> inserted</w:t></w:r></w:ins>"
        "<w:del w:id='3'><w:r><w:delText> deleted</w:delText></w:r></w:del></w:p>"
        "<w:p><w:fldSimple w:instr='REF x'><w:r><w:t>field</w:t></w:r></w:fldSimple></w:p>"
        "<w:sdt><w:sdtContent><w:p><w:r><w:t>box</w:t></w:r></w:p></w:sdtContent></w:sdt>"
        "<w:tbl><w:tr><w:tc><w:p><w:r><w:t>port_a</w:t></w:r></w:p></w:tc>"
        "<w:tc><w:p><w:r><w:t>name</w:t></w:r></w:p></w:tc></w:tr></w:tbl>"
    )
    assert read(".docx", docx(body)).text.startswith("moved inserted\n\nfield\n\nbox\n\n| port_a | name |")


@pytest.mark.parametrize(
    ("source", "metadata", "title", "text"),
    [
        (
            "---\ntitle: Fan\nweight: 30\ntags: [a, b]\n---\n# F\n",
            {"title": "Fan", "weight": 30, "tags": ["a", "b"]},
            "Fan",
            "# F\n",
        ),
        ("---\ntitle: Fans: how to\n---\nText.\n", {"title": "Fans: how to"}, "Fans: how to", "Text.\n"),
        (
            "---\ntitle: Fans: how to\nweight: 30\nprice: -2.5\nold: false\ncode: '007'\n---\nText.\n",
            {"title": "Fans: how to", "weight": 30, "price": -2.5, "old": False, "code": "007"},
            "Fans: how to",
            "Text.\n",
        ),
        ('{\n "title": "Fan", "weight": 3\n}\n\nText.\n', {"title": "Fan", "weight": 3}, "Fan", "\n\nText.\n"),
        ('{\n "title": "data, no page"\n}\n', {}, "", '{\n "title": "data, no page"\n}\n'),
        ("{\n broken: [\n\nText.\n", {}, "", "{\n broken: [\n\nText.\n"),
        ('+++\ntitle = "Fan"\n+++\nText.\n', {"title": "Fan"}, "Fan", "Text.\n"),
        ('---toml\ntitle = "Fan"\n---\nText.\n', {"title": "Fan"}, "Fan", "Text.\n"),
        (
            "Title: Fan &amp; <b>seal</b>\nDate: 2024-01-01\nTags: a,\n    b\n\nText.\n",
            {"title": "Fan &amp; <b>seal</b>", "date": "2024-01-01", "tags": "a, b"},
            "Fan & seal",
            "\nText.\n",
        ),
        ("Note: no title here\nDate: today\n\nText.\n", {}, "", "Note: no title here\nDate: today\n\nText.\n"),
        ("Title: Fan\nText goes on.\n", {}, "", "Title: Fan\nText goes on.\n"),
        ("Name: Ann\nTitle: Chief\nPhone: 7\n\nText.\n", {}, "", "Name: Ann\nTitle: Chief\nPhone: 7\n\nText.\n"),
        ("Title: Fan\nSummary: It turns.\n", {}, "", "Title: Fan\nSummary: It turns.\n"),
        ("---\n\nA rule above.\n\n---\n", {}, "", "---\n\nA rule above.\n\n---\n"),
        (
            "---\ntitle: '`kubectl` *apply* of 2 * 3 **kw'\n---\nText.",
            {"title": "`kubectl` *apply* of 2 * 3 **kw"},
            "kubectl apply of 2 * 3 **kw",
            "Text.",
        ),
        ("Text.\n\n---\na: b\n---\n", {}, "", "Text.\n\n---\na: b\n---\n"),
    ],
)
def test_front_matter_is_metadata(source, metadata, title, text):
    page = read(".md", source)
    assert (page.metadata, page.title, page.text) == (metadata, title, text)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (f"Pull it. ![a fan]({PICTURE}) Done.", "Pull it. a fan Done."),
        (f"Pull it. ![][image1]\n\n[image1]: <{PICTURE}>\n", "Pull it. \n\n"),
        (f'<img src="{PICTURE}" alt="a fan"> and <img alt="b" src="{PICTURE}">', "a fan and b"),
        (f"<img src='{PICTURE}' alt='a pump' width=10>", "a pump"),
        (f"url({PICTURE})", "url()"),
        ("The scheme data:text/plain,hello is short.", "The scheme data:text/plain,hello is short."),
        (f"`{PICTURE}`, and {PICTURE}|next", "``, and |next"),
        (f"![a](data:image/png;base64,{WRAPPED})\n\nDone.", "a\n\nDone."),
        (f"![a](data:image/png;base64,\n{WRAPPED}\n)\n\nDone.", "a\n\nDone."),
        (f"{PICTURE}\nDone is the rest.", "\nDone is the rest."),
        (f"{PICTURE}\nInstallation\n> Note", "\nInstallation\n> Note"),
        ("![a](data:image/svg+xml;utf8,) b ![](data:image/gif;base64,R0lGODlhAQABAAAAACw=)", "a b "),
    ],
)
def test_data_uris_never_become_text(source, text):
    assert without_data_uris(source)[0] == text


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (
            f"Trust it:\n\n{CERTIFICATE}\n\nRestart.",
            "Trust it:\n\n-----BEGIN CERTIFICATE-----\n\n-----END CERTIFICATE-----\n\nRestart.",
        ),
        (f"  tls.crt: {ENCODED}\n  kind: tls", "  tls.crt: \n  kind: tls"),
        (f"See:\n{WRAPPED}\nDone with it.", "See:\n\nDone with it."),
        (f"{WRAPPED}\nInstallation\n", "\nInstallation\n"),
    ],
)
def test_base64_by_itself_never_becomes_text(source, text):
    assert without_base64(source) == (text, 1)


@pytest.mark.parametrize(
    "source",
    [
        "org/springframework/boot/autoconfigure/jdbc/DataSourceTransactionManagerAutoConfiguration/Inner/" * 2,
        "ACGTACGTTGCA" * 20,
        random.Random(1).randbytes(100).hex(),
        "/Users/Ann/Library/Application2Support/Google/Chrome/Default/Extensions/Abc123/Def456/" * 2,
        base64.b64encode(random.Random(1).randbytes(40)).decode(),
        "C6H12O6/NaCl/H2SO4/MgSO4/Al2O3/Fe2O3/CaCO3/KMnO4/HNO3/NaOH/C2H5OH/CO2/H2O/SiO2/TiO2/ZnO/CuSO4/AgNO3/BaSO4/NaHCO3/PbO2",
        "CC1CCcOCCCcCCOC1NCcCCCCCOCCOCCNcCCOCC4C3" * 4,
        "\n".join("".join(random.Random(line).choices("ACGTacgt", k=60)) for line in range(6)),
        "/".join(f"A{number % 10}b{number % 7}" for number in range(40)),
        "IsAToBInCDoEFoG" * 10,
    ],
)
def test_long_names_are_no_base64(source):
    assert without_base64(source) == (source, 0)


def test_the_title_of_a_note_is_none_of_the_page():
    page = read(".rst", ".. admonition:: Take care\n\n   The pump is hot.\n\nNothing else.\n")
    assert (page.title, page.text) == ("", "Take care\n\nThe pump is hot.\n\nNothing else.")


def test_links_and_labels_that_stand_side_by_side_are_words_apart():
    page = read(".html", "<p><a>pump</a><a>valve</a></p><label>Linux</label><label>Mac</label><pre><a>std</a><a>::x</a></pre>")
    assert page.text == "pump valve\n\nLinux Mac\n\n```\nstd::x\n```"


def test_a_link_to_a_file_within_the_page_leaves_its_words():
    page = f'<a href="data:application/pdf;base64,{ENCODED.rstrip("=") * 9}" download="a.pdf">The sheet</a> of it.'
    assert read(".md", page).text == "The sheet of it."


def test_data_uris_take_linear_time():
    started = time.process_time()
    for start in ("![x](data:image/png,", "![x](data:image/png;base64,AAAAAAAA"):
        without_data_uris(start * 10_000)
    assert time.process_time() - started < 5


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("a\\_b `c\\_d` e\\_f", "a_b `c\\_d` e_f"),
        ("``c\\_d` e\\_f`` g\\_h", "``c\\_d` e\\_f`` g_h"),
        ("`c\\_d\n` e\\_f", "`c_d\n` e_f"),
        ("````\nc\\_d\n```\nc\\_d\n````\ne\\_f", "````\nc\\_d\n```\nc\\_d\n````\ne_f"),
        ("~~~ py\nc\\_d\n", "~~~ py\nc\\_d\n"),
        ("`a\\_b` `c\\_d` e\\_f `g\\_h`", "`a\\_b` `c\\_d` e_f `g\\_h`"),
    ],
)
def test_code_is_what_markdown_takes_for_code(source, text):
    assert read(".md", source).text == text


MDX = "import T from 'x'\n\n# Fan\n\n<Tabs>\n<Tab title=\"Linux\">\nRun it.\n</Tab>\n</Tabs>\n"


def notebook() -> str:
    cells = [
        {"cell_type": "markdown", "source": ["# Pump\n", "Start it."]},
        {"cell_type": "code", "source": "run_me()", "outputs": [{"text": ["42\n"]}, {"data": {"image/png": "iVBO"}}]},
    ]
    return json.dumps({"cells": cells, "metadata": {}})


def mail() -> bytes:
    message = email.message.EmailMessage()
    message["Subject"], message["From"] = "Größe of the pump", "a@example.com"
    message.set_content("The pump_speed is 3.\n# no heading\n")
    message.add_attachment(b"x", maintype="application", subtype="pdf", filename="plan.pdf")
    return message.as_bytes()


def workbook() -> bytes:
    import openpyxl

    book, out = openpyxl.Workbook(), io.BytesIO()
    book.active.title = "Ports"
    for row in (["port_a", "name"], [22, "ssh"], [1.5, None]):
        book.active.append(row)
    book.save(out)
    return out.getvalue()


@pytest.mark.parametrize(
    ("extension", "content", "text", "notes"),
    [
        (".csv", "port;name\n22;\"ssh\nold\"\n", "| port | name |\n| --- | --- |\n| 22 | ssh old |", ()),
        (".xlsx", workbook(), "## Ports\n\n| port_a | name |\n| --- | --- |\n| 22 | ssh |\n| 1.5 |  |", ()),
        (".ipynb", notebook(), "# Pump\nStart it.\n\n```python\nrun_me()\n```\n\n```\n42\n```", ("1 pictures left out",)),
        (".mdx", MDX, "\n# Fan\n\n\nLinux\nRun it.\n\n\n", ()),
        (".py", "# no heading\nrun_me()", "# no heading\nrun_me()", ()),
    ],
)  # fmt: skip
def test_other_formats(extension, content, text, notes):
    page = read(extension, content)
    assert (page.text, page.notes) == (text, notes)


def test_outputs_of_notebooks_are_what_a_reader_sees_and_broken_cells_cost_no_others():
    outputs = [
        {"data": {"text/plain": ["<IPython.core.display.Markdown object>"], "text/markdown": ["**Seven** pears"]}},
        {"data": {"text/plain": ["<pandas.Styler at 0x7f>"], "text/html": ["<table><tr><td>plum</td><td>9</td></tr></table>"]}},
        {"data": {"text/plain": ["   kg\\n0  12"], "text/html": ["<table></table>"]}},
        None,
        {"data": None},
        {"data": {"text/html": ["<p>only <b>here</b></p><script>no()</script>"]}},
    ]
    cells = [
        None,
        7,
        {"cell_type": "code", "source": "", "outputs": None},
        {"cell_type": "code", "source": "show()", "outputs": outputs},
        {"cell_type": "markdown", "source": "End."},
    ]
    page = read(".ipynb", json.dumps({"cells": cells, "metadata": {}}))
    assert page.text.startswith("```python\nshow()\n```\n\n**Seven** pears\n\n|") and page.text.endswith("only here\n\nEnd.")
    assert "plum | 9" in page.text and "0  12" in page.text and "object>" not in page.text and "Styler" not in page.text
    assert page.notes == ("2 broken cells left out",)


def test_errors_of_a_notebook_are_read_and_its_language_is_known():
    error = {"output_type": "error", "ename": "KeyError", "evalue": "'MAX_X'", "traceback": ["\x1b[31mline 3\x1b[0m"]}
    cells = [{"cell_type": "code", "source": "get()", "outputs": [error]}]
    page = read(".ipynb", json.dumps({"cells": cells, "metadata": {"kernelspec": None, "language_info": {"name": "R"}}}))
    assert page.text == "```R\nget()\n```\n\n```\nline 3\nKeyError: 'MAX_X'\n```"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
def test_a_mail_that_an_editor_saved_anew_is_one(encoding):
    assert read(".eml", "Subject: Pump\n\nIt runs.\n".encode(encoding)).text == "Pump\n\nIt runs."


def test_a_japanese_mail_is_read_as_it_says():
    message = email.message.EmailMessage()
    message["Subject"] = "ポンプ"
    message.set_content("電源を切る。\n", charset="iso-2022-jp")
    assert read(".eml", message.as_bytes()).text == "ポンプ\n\n電源を切る。"


@pytest.mark.parametrize("encoding", ["windows-1252", "utf-8"])
def test_the_head_of_an_old_mail_is_in_the_encoding_of_its_text(encoding):
    page = read(".eml", "From: Jörg <j@example.org>\nSubject: Größe\n\nÜber schöne Pumpen.\n".encode(encoding))
    assert page.title == "Größe" and page.text == "Größe\n\nFrom: Jörg <j@example.org>\n\nÜber schöne Pumpen."


def test_the_html_of_a_mail_is_read_where_its_plain_text_is_empty():
    message = email.message.EmailMessage()
    message["Subject"] = "Pump"
    message.set_content(" \n")
    message.add_alternative("<p>It <b>runs</b>.</p>", subtype="html")
    assert read(".eml", message.as_bytes()).text == "Pump\n\nIt runs."


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("10<sup>6</sup> m<sup>2</sup> s<sup>-1</sup> H<sub>2</sub>O", "10⁶ m² s⁻¹ H2O"),
        ("the word<sup>3</sup> ends", "the word[3] ends"),
        ("is so<sup><a href=#f>2</a></sup>.", "is so[2]."),
        ("the 4<sup>th</sup> try", "the 4th try"),
        ('Prune<a href="#n"><sup>1</sup></a>.', "Prune[1]."),
        ('See <a href="/r">rooms of 10 m<sup>2</sup></a>.', "See rooms of 10 m²."),
        ('Prune.<a href="#r">↩︎</a>', "Prune."),
    ],
)
def test_raised_digits_are_no_part_of_the_word_before_them(source, text):
    assert read(".html", f"<p>{source}</p>").text == text


TEX = '<annotation encoding="application/x-tex">x^2</annotation>'
MATH = f"<math><semantics><msup><mi>x</mi><mn>2</mn></msup>{TEX}</semantics></math>"


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (f"Let {MATH} be.", "Let x^2 be."),
        (
            f'Let <span class="katex"><span class="katex-mathml">{MATH}</span>'
            '<span class="katex-html"><i>x</i><sup>2</sup></span></span> be.',
            "Let x^2 be.",
        ),
        ('Let <span class="katex"><span class="katex-html"><i>x</i></span></span> be.', "Let x be."),
        (
            '<span class="mwe-math-element"><span><math alttext="{\\displaystyle x^2}"><mi>x</mi></math></span>'
            '<img class="mwe-math-fallback-image-inline" alt="{\\displaystyle x^2}"></span>',
            "x^2",
        ),
        ("Let <math><mi>x</mi></math> be.", "Let x be."),
        ('Let <span class="math notranslate">\\(x^2\\)</span> be.', "Let x^2 be."),
        ('Let <script type="math/tex">x^2</script> be.', "Let x^2 be."),
        ('Let <span class="MathJax">x2</span><script type="math/tex">x^2</script> be.', "Let x2 be."),
        ('<figure><img alt="Fan tray"><figcaption>1: Fan tray</figcaption></figure>', "1: Fan tray"),
        ('<figure><img alt="A worn tray"><figcaption>Fan</figcaption></figure>', "A worn tray\n\nFan"),
        ('Next<span class="visually-hidden">Next page</span>', "Next"),
        ("u<address>At home</address>v <details><summary>More</summary>of it</details>", "u\n\nAt home\n\nv\n\nMore\n\nof it"),
        ("<button>Start</button><button>Stop</button><pre>a<button>Copy</button></pre>", "Start  Stop\n\n```\na\n```"),
        ("<ruby>漢字<rt>かんじ</rt></ruby>と<ruby>東<rp>(</rp><rt>とう</rt><rp>)</rp></ruby>", "漢字(かんじ)と東(とう)"),
        ("<h1></h1>x<menu><li>y</li></menu>", "x\n\n- y"),
        ("<pre>\n\n  ```\n  # x\n</pre>", "````\n  ```\n  # x\n````"),
        (
            "<table><tr><th>a|b</th><th>c</th></tr><tr><td>1</td><td>2</td></tr></table>",
            "| a\\|b | c |\n| --- | --- |\n| 1 | 2 |",
        ),
        ('Dry<aside class="note">Never wet</aside><aside><a href="a">Another page</a></aside>', "Dry\n\nNever wet"),
        ('<div class="row gutter">Dry</div><pre><i class="lineno">1</i>x</pre>', "Dry\n\n```\nx\n```"),
        ("<dl><dt>jumbo</dt><dd><p>Large.</p><pre>a\nb</pre></dd></dl>", "jumbo\nLarge.\n\n```\na\nb\n```"),
    ],
)
def test_what_a_reader_sees_once_stands_once(source, text):
    assert read(".html", f"<body>{source}</body>").text == text


def test_cells_that_reach_over_rows_move_no_cell_below_another_name():
    rows = "<tr><td rowspan=2>fan</td><td colspan=2 rowspan=2>big</td><td>1</td></tr><tr><td>2</td></tr><tr><td>pump</td></tr>"
    text = read(".html", f"<table><tr><th>a</th><th>b</th><th>c</th><th>d</th></tr>{rows}</table>").text
    assert [line.split() for line in text.splitlines()[2:]] == [
        ["|", "fan", "|", "big", "|", "|", "1", "|"],
        ["|", "|", "|", "|", "2", "|"],
        ["|", "pump", "|"],
    ]


def test_names_that_reach_into_the_rows_and_rows_with_cells_left_out_move_no_cell_either():
    rows = "<tr><td>fan<td>1</tr><tr><td>pump<td>2<td rowspan=2>loud</tr><tr><td>belt</tr><tr><td>hose<td>4<td>none</tr>"
    head = "<tr><th>part<th rowspan=2>id<th>note</tr><tr><th>name<th>of it</tr>"
    reaching = head.replace("<th>note", "<th rowspan=3>note").replace("<th>of it", "")
    assert read(".html", f"<table>{head}{rows}</table>").text.splitlines() == [
        "| part name | id | note of it |",
        "| --- | --- | --- |",
        "| fan | 1 |",
        "| pump | 2 | loud |",
        "| belt |  |  |",
        "| hose | 4 | none |",
    ]
    assert "| fan | 1 |  |" in read(".html", f"<table>{reaching}{rows}</table>").text.splitlines()


@pytest.mark.parametrize(
    "before", ["<colgroup><col><col></colgroup>", "<caption>Ports</caption>", "<thead></thead>", "<tr></tr>", "<col>"]
)
@pytest.mark.parametrize("body", ["{}", "<tbody>{}</tbody>"])
def test_a_table_has_its_columns_named_whatever_stands_before_its_rows(before, body):
    rows = "<tr><th>port</th><th>use</th></tr><tr><td>22</td><td>ssh</td></tr>"
    text = read(".html", f"<p>a</p><table>{before}{body.format(rows)}</table>").text
    table = "| port | use |\n| --- | --- |\n| 22 | ssh |"
    assert text == (f"a\n\nPorts\n\n{table}" if "Ports" in before else f"a\n\n{table}")


@pytest.mark.parametrize(
    ("rows", "first"),
    [
        ("<tr><th rowspan=2>fan<th colspan=2>load<tr><th>min<th>max<tr><td>a<td>1<td>2", "| fan | load min | load max |"),
        ("<thead><tr><td>fan<td>load<tr><td><td>in A</thead><tr><td>a<td>1", "| fan | load in A |"),
        ("<tr><th rowspan=2>fan<th colspan=2>load<tr><td>min<td>max<tr><td>a<td>1<td>2", "| fan | load min | load max |"),
        ("<tr><th colspan=2>Loads<tr><th>fan<th>load<tr><td>a<td>1", "Loads"),
        ("<tr><th>Part number<td>FT-9<tr><th>Weight<td>3 kg", "|  |  |"),
        ("<tr><th>fan<th>load<tr><th>a<td>1", "| fan | load |"),
        ("<tr><th><td>load<tr><th>a<td>1<tr><th>b<td>2", "|  | load |"),
        ("<thead><tr><th>fan<th>load<tr><td>a<td>1</thead><tr><td>b<td>2", "| fan | load |"),
        ("<tr><th>fan<th>load<tr><th>a<th>1", "| fan | load |"),
    ],
)
def test_the_columns_have_the_names_of_all_rows_of_names_and_no_value_for_a_name(rows, first):
    text = read(".html", f"<table>{rows}</table>").text
    assert text.splitlines()[0] == first and text.count("\n| ---") == 1


@pytest.mark.parametrize(
    ("part", "seen"),
    [
        ('<ul><li><a href="#a">Fans</a><ul><li><a href="#b">Seals</a></li></ul></li></ul>', ""),
        ('<dl><dt><a href="#a">Fans</a></dt><dd></dd><dt><a href="#b">Seals</a></dt></dl>', ""),
        ('<ul><li><a href="#a">Fans</a>: turn them</li><li><a href="#b">Seals</a></li></ul>', "- Fans: turn them\n- Seals\n\n"),
        ('<ul><li><a href="a.html">Fans</a></li><li><a href="#b">Seals</a></li></ul>', "- Fans\n- Seals\n\n"),
        ('<ol><li><a href="#a">Fans</a></li></ol>', "1. Fans\n\n"),
        ('<ul class="table-of-contents x"><li><a href="#a">Fans</a></li></ul>', ""),
        ('<div class="doc-toc-mobile"><a href="#a">Fans</a></div>', ""),
        ('<ul><li><a href="#">Fans</a></li><li><a href="#/b">Seals</a></li></ul>', "- Fans\n- Seals\n\n"),
    ],
)
def test_a_list_of_links_to_places_of_its_own_page_is_no_text(part, seen):
    page = f'<h1>Care</h1>{part}<h2 id="a">Fans</h2><p>Turn.</p><h2 id="b">Seals</h2><p>Grease.</p>'
    assert read(".html", page).text == f"# Care\n\n{seen}## Fans\n\nTurn.\n\n## Seals\n\nGrease."


def test_code_of_doxygen_and_titles_of_word_are_code_and_titles():
    lines = '<div class="line">int main() {</div>\n<div class="line">  f();</div><div class="line">}</div>'
    code = f'<div class="fragment">{lines}</div>'
    page = read(".html", f"<p class=MsoTitle>Foo</p><h2><a href='#a'>◆&nbsp;</a>f()</h2>{code}")
    assert (page.title, page.text) == ("", "# Foo\n\n## f()\n\n```\nint main() {\n  f();\n}\n```")
    assert read(".html", "<p>a</p><div class=fragment><p>A step.</p></div>").text == "a\n\nA step."


def test_lists_contents_and_titles_of_word_wikis_and_google_are_what_a_reader_sees():
    blanks = "<span style='font:7.0pt'>\u00a0\u00a0 </span>"
    page = f"<p class=MsoToc1><a href=#a>Pumps 2</a></p><p class=MsoListParagraph><span>·{blanks}</span>Off</p>"
    assert (
        read(".html", page + "<p class=MsoListParagraph>3. On</p><p class=MsoListParagraph>o</p>").text == "- Off\n\n3. On\n\no"
    )
    note = "<ol><li><a href=#r>↑</a> P. 4</li></ol>"
    wiki = "<h2>Refill<span class=mw-editsection>[<a href=e>edit</a>]</span></h2><p>Add oil.</p>"
    assert read(".html", wiki + note).text == "## Refill\n\nAdd oil.\n\n1. P. 4"
    page = "<body class='c5 doc-content'><p class='c3 title'>Handover</p><h1>At six</h1><p>Write.</p>"
    assert read(".html", page).text == "# Handover\n\n# At six\n\nWrite."
    assert read(".html", "<div class=topic><p class=title>Oil</p><p>Add.</p></div>").text == "Oil\n\nAdd."


def test_what_is_marked_as_a_heading_is_one():
    page = "<div role=heading aria-level=1>Travel</div><p>By train.</p><span role=heading aria-level=3>Hotels</span><p>Cheap.</p>"
    assert read(".html", page).text == "# Travel\n\nBy train.\n\n### Hotels\n\nCheap."


@pytest.mark.parametrize(
    ("part", "seen"),
    [
        ('<div id="cookie-banner"><p>We use cookies.</p><button>Yes</button></div>', False),
        ('<div class="cc cookieConsent"><h2>Your choice</h2>We use cookies. <input type="submit" value="Yes"></div>', False),
        ('<div id="cookie-law-info-bar">We use cookies. <a role="button">Yes</a></div>', False),
        ('<div role="alertdialog"><h2>Your choice</h2>We use cookies. <button>Yes</button></div>', False),
        ('<div class="cookie-banner"><p>We use cookies.</p><a class="x btn-ok">Yes</a></div>', False),
        ('<div role="dialog"><article>We use cookies.</article></div>', True),
        ('<section id="cookie-consent"><h2>Banner</h2><p>We use cookies.</p></section>', True),
        ('<div id="cookies"><p>We use cookies.</p><button>Try</button></div>', True),
    ],
)
def test_what_asks_for_consent_is_no_text_and_what_tells_of_it_is(part, seen):
    text = read(".html", f"{part}<h1>Fan</h1><p>It turns.</p>").text
    assert ("We use cookies." in text) == seen and "It turns." in text


def test_cells_of_a_notebook_are_read_as_markdown_files_are():
    cells = [
        {"cell_type": "raw", "source": "---\ntitle: Fans\n---\n"},
        {"cell_type": "markdown", "source": ["<div class='alert'><b>Note</b> MAX\\_RETRY &amp; more</div>\n", "<!-- todo -->"]},
        {"cell_type": "code", "source": "a\\_b", "outputs": [{"text": ["\r 10%\r 90%\r100%\n", "done\r\n"]}]},
        {"cell_type": "raw", "source": "<b>\\_x"},
    ]
    page = read(".ipynb", json.dumps({"cells": cells, "metadata": {}}))
    assert (page.title, page.metadata) == ("Fans", {"title": "Fans"})
    assert page.text == " Note MAX_RETRY & more\n\n\n```python\na\\_b\n```\n\n```\n100%\ndone\n```\n\n<b>\\_x"


def test_lines_between_rules_are_text_in_all_cells_of_a_notebook_but_the_first():
    cells = [{"cell_type": "markdown", "source": it} for it in ("# Fan", "---\nNote: keep dry\n---\nEnd", "% of the fans\nspin")]
    page = read(".ipynb", json.dumps({"cells": cells, "metadata": {}}))
    assert page.text == "# Fan\n\n---\nNote: keep dry\n---\nEnd\n\n% of the fans\nspin" and page.metadata == {}


def test_a_long_line_that_a_notebook_prints_is_read_in_time():
    started = time.process_time()
    outputs = [{"text": ["x" * 200_000 + "\n", "10%\r", "x" * 100 + "\r\n"]}]
    page = read(".ipynb", json.dumps({"cells": [{"cell_type": "code", "source": "f()", "outputs": outputs}], "metadata": {}}))
    assert len(page.text) > 200_000 and "10%" not in page.text
    assert time.process_time() - started < 3


def test_blanks_and_cells_without_end_take_neither_time_nor_memory():
    started = time.process_time()
    assert read(".html", f"<pre>a{' ' * 100_000}b</pre>").text.count(" ") == 100_000
    rows = "<tr></tr>" * 1000
    page = read(".html", f"<table><tr>{'<td colspan=999 rowspan=999>x</td>' * 100}</tr>{rows}<tr><td>last</td></tr></table>")
    assert "last" in page.text and len(page.text) < 2_000_000
    assert time.process_time() - started < 10


def test_authors_terms_and_notes_of_restructured_text_stand_once_and_as_they_are_seen():
    source = (
        "Guide\n=====\n\n:Author: Ada Moss\n:Version: 3\n\n.. sectionauthor:: Ada Moss <ada@example.org>\n\n"
        "See [1]_.\n\n.. [1] A note.\n\ndepth : int\n   In metres.\n"
    )
    assert read(".rst", source).text == (
        "# Guide\n\nAuthor:\nAda Moss\n\nVersion:\n3\n\nSee [1].\n\n[1] A note.\n\ndepth : int\nIn metres."
    )


def test_signatures_of_sphinx_are_no_markup_and_what_is_for_the_writer_is_not_seen():
    source = (
        ":orphan:\n\nTitle\n=====\n\n.. py:function:: send(to, *args, **more)\n\n"
        "   Sends.\n\n.. class:: Mailer\n\n   Keeps a box_.\n\n"
        ".. class:: lead\n\nFirst.\n\n.. only:: html\n\n   Inside.\n\n"
        ".. productionlist::\n   a: b\n\n.. code-block::\n   x = 1\n\n"
        ".. _box: /b\n\n:guilabel:`&Open` :menuselection:`A --> B`\n"
    )
    page = read(".rst", source)
    assert page.text == (
        "# Title\n\nsend(to, *args, **more)\n\nSends.\n\nMailer\n\nKeeps a box.\n\nFirst.\n\n"
        "Inside.\n\n```\na: b\n```\n\n```\nx = 1\n```\n\n"
        "Open A › B"
    )


def test_asciidoc_has_no_comments_and_its_sections_lie_below_its_title():
    source = "= Fans\n\n// todo\n\n////\nnot yet\n////\n\n== Start\n\n----\n// shown\n# root\n----\n"
    assert read(".adoc", source).text == "# Fans\n\n## Start\n\n```\n// shown\n# root\n```"


def test_the_title_of_asciidoc_has_the_values_of_its_attributes():
    page = read(".adoc", "= Care of {product} {edition}\n:product: Fan 3\n\nClean {product}.\n")
    assert page.text == "# Care of Fan 3 {edition}\n\nClean Fan 3."
    page = read(".adoc", ":page-layout: docs\n:!toc:\n// note\n= Care\n\nClean.\n")
    assert page.text == "# Care\n\nClean."


def test_a_mail_has_its_head_and_text_and_names_what_is_attached():
    page = read(".eml", mail())
    assert page.title == "Größe of the pump" and not page.markdown
    assert "From: a@example.com" in page.text and "The pump_speed is 3." in page.text
    assert page.notes == ("attached files left out: plan.pdf",)


def test_asciidoc_is_read_and_includes_are_not_followed():
    page = read(
        ".adoc",
        "= Fans\n\n== Start\n\nRaise `MAX_RETRY_COUNT`.\n\n|===\n|Port |Name\n\n|22 |ssh\n|===\n\ninclude::/etc/passwd[]\n",
    )
    assert "## Start" in page.text
    assert "Raise MAX_RETRY_COUNT." in page.text and "| Port | Name |" in page.text and "root:" not in page.text
    assert page.notes == ("directive include left out (1)",)
