"""Markdown that is mixed with HTML, and MDX."""

import time

import pytest

from embed_assets_tests.corpus.readers.test_conversion import read


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("A &amp; B&#95;C &lt;name&gt; `&amp;` &nbsp;x &#96;y", "A & B_C <name> `&amp;`  x &#96;y"),
        ("Text<!-- hidden\n\n# no --> end.\n\n```\n<!-- shown -->\n```\n", "Text end.\n\n```\n<!-- shown -->\n```\n"),
        ("<!-- `a --> b` c", " b` c"),
        ("Begin with <!-- and write on.\n\nMore.\n", "Begin with <!-- and write on.\n\nMore.\n"),
        ("Text.\n<!-- never closed\nat all", "Text.\n"),
        ("`<!--` x <!-- y --> z", "`<!--` x  z"),
        ("İki <table><tr><th>a</th><th>b</th></tr></table >", "İki \n\n| a | b |\n| --- | --- |\n\n"),
        ("Press <kbd>F1</kbd> or x<sub>1</sub>,<br>set <your-name> and List<String> for a < b.",
         "Press F1 or x1, set <your-name> and List<String> for a < b."),
        ("<details>\n<summary>More</summary>\n\nInside\n\n</details>\n", "\nMore\n\nInside\n\n\n"),
        ('<img src="a.png" alt="a pump"> <style>p {}</style>ok', "a pump ok"),
        ("<table><tr><th>port</th><th>use</th></tr><tr><td>22</td><td>ssh</td></tr></table>",
         "\n\n| port | use |\n| --- | --- |\n| 22 | ssh |\n\n"),
        ("[link](<a b.md>)", "[link](<a b.md>)"),
        ("<table>never closed <style> nor this", "never closed  nor this"),
        ('<div align="center">\n<h1 align="center">\n  <img src="a.png">\n  Fan <em>kit</em>\n</h1></div>\n',
         "\n\n\n# Fan kit\n\n\n"),
        ("| <h3>a</h3> | b |\n| --- | --- |\n| c | <ul><li>one</li><li>`x`</li></ul> |",
         "| a | b |\n| --- | --- |\n| c |  one  `x`  |"),
        ("10<sup>6</sup> m<sup>2</sup>, so<sup>th</sup> the word<sup>1</sup>", "10⁶ m², soth the word[1]"),
        ("x <svg><path d='M0'/><text>y</text></svg> <iframe src=a>old</iframe>z", "x  z"),
        ("<ruby>漢<rp>(</rp><rt>かん</rt><rp>)</rp>字<rt>じ</rt></ruby>です", "漢(かん)字(じ)です"),
    ],
)  # fmt: skip
def test_html_in_markdown_is_what_a_reader_sees_of_it(source, text):
    assert read(".md", source).text == text


def test_what_a_component_of_mdx_is_told_is_no_text_whatever_is_in_its_braces():
    source = "export const Mark = ({children}) => (\n  <span\n    style={{\n      color: 'red',\n    }}>\n    {children}\n"
    source += "  </span>\n);\n\n<Card\n  title=\"Fans\"\n  icon={<Icon name='fan'/>}\n"
    source += "  onClick={() => {\n    if (x > 3) { turn({}); }\n  }}\n>\nSpin.\n</Card>\n<Toc/>\n"
    assert read(".mdx", source).text.split() == ["Fans", "Spin."]


def test_braces_and_quotes_of_mdx_without_end_take_linear_time():
    began = time.process_time()
    read(".mdx", "<A " + "{" * 5000 + "\n" + "<A x={a<b" * 3000 + "<A '" * 5000 + '<A "' * 5000 + "{{{{a}" * 5000)
    assert time.process_time() - began < 5


@pytest.mark.parametrize(
    ("source", "title", "text"),
    [
        ("<!-- vale off -->\n---\ntitle: Fan\nweight: 3\n---\nText.\n", "Fan", "Text.\n"),
        ("---\ntitle:\tFan: how\n\tweight: 30\n---\nText.\n", "Fan: how", "Text.\n"),
    ],
)
def test_front_matter_may_follow_a_comment_and_have_tabs(source, title, text):
    page = read(".md", source)
    assert (page.title, page.text) == (title, text)


def test_mdx_has_imports_and_components_over_several_lines_and_comments():
    source = "import {\n  A,\n} from 'a'\nimport B from 'b'\n\n{/* note to self */}\n"
    source += "import 'c.css'\nexport const x = {\n  a: 1,\n}\n\nexport default Page\n\n"
    prose = "import the 'x' module first.\n\nexport default settings of \"y\" too.\n"
    assert read(".mdx", source + prose).text.strip() == prose.strip()
    source += '<Card\n  title="Fans"\n>\nSpin when 3 < 5 and 7 > 2.\n</Card>\n<>x</>\n'
    assert read(".mdx", source).text.split() == ["Fans", "Spin", "when", "3", "<", "5", "and", "7", ">", "2.", "x"]


@pytest.mark.parametrize("part", ["<style>", "<table>", "<table></table>", "<!--", "<a ", "<table>" * 9 + "</table>"])
def test_time_is_linear_whatever_is_not_closed(part):
    started = time.process_time()
    read(".md", part * (60_000 // len(part)) + " end")
    assert time.process_time() - started < 4


def test_raised_digits_behind_a_long_word_take_no_longer_than_others():
    started = time.process_time()
    assert read(".md", f"<table><tr><td>{'a' * 30_000} b<sup>2</sup></td></tr></table>").text.strip().endswith("b²")
    assert time.process_time() - started < 2


@pytest.mark.parametrize("inner", ["<div>", "<ul><li>", "<b></i>", "<table><b>"])
def test_a_table_whose_elements_are_nested_without_end_costs_no_time_and_no_page(inner):
    started = time.process_time()
    text = read(".md", f"Before <table><tr><td>{inner * 9_000}inside</table> after").text
    assert text.split() == ["Before", "inside", "after"]
    assert time.process_time() - started < 2
