from dataclasses import replace

from embed_assets.corpus.menus import without_menus
from embed_assets.corpus.readers.converted import Converted, finished
from embed_assets.corpus.readers.html import read_html

MENU = "<div><p>ACME Inc.</p><ul>" + "".join(f"<li><a href={i}>Chapter {i}</a></li>" for i in range(4)) + "</ul></div>"
WARNING = "<p>Switch it off first.</p>"


def pages(count: int) -> dict[str, Converted]:
    page = "{menu}<h1>Chapter {i}</h1><p>Part {i} of the pump.</p>{warning}<p>Then part {i} is rinsed.</p><p>© ACME</p>"
    return {f"{i}.html": read_html(page.format(i=i, menu=MENU, warning=WARNING).encode()) for i in range(count)}


def test_menus_heads_and_feet_of_most_pages_are_left_out_and_a_repeated_warning_stays():
    found = without_menus(pages(4))
    assert found["2.html"].text == "# Chapter 2\n\nPart 2 of the pump.\n\nSwitch it off first.\n\nThen part 2 is rinsed."
    assert found["2.html"].notes == ("6 lines left out that most pages have",)


def test_a_link_is_known_by_what_a_reader_sees_of_it():
    raw = {name: replace(page, text=page.text.replace("Chapter", "Chap\u00adter")) for name, page in pages(4).items()}
    raw = {
        name: replace(page, links=tuple(it.replace("chapter", "chap\u00adter") for it in page.links))
        for name, page in raw.items()
    }
    assert without_menus({name: finished(page) for name, page in raw.items()}) == without_menus(pages(4))


def test_two_pages_are_too_few_to_tell_a_menu():
    assert without_menus(pages(2)) == pages(2)


def test_titles_have_no_name_of_the_site_behind_them():
    def titles(*heads: str) -> list[str]:
        found = {f"{i}.html": read_html(f"<title>{head}</title><p>Text {i}.</p>".encode()) for i, head in enumerate(heads)}
        return [page.title for page in without_menus(found).values()]

    site = " — Acme 2.1 documentation"
    assert titles(f"Alarms{site}", f"Old - new{site}", f"Pumps{site}", "Index") == ["Alarms", "Old - new", "Pumps", "Index"]
    assert titles("A - IT - Wiki", "B - IT - Wiki", "C - HR - Wiki", "D - IT - Wiki") == ["A - IT", "B - IT", "C - HR", "D - IT"]
    assert titles("A (old) (Acme (version 2))", "B (Acme (version 2))", "C (Acme (version 2))") == ["A (old)", "B", "C"]
    hostile = "a" + " - (" * 100_000 + ")"
    assert titles(hostile, hostile, hostile) == [hostile] * 3
    versions = [f"{head} — Acme {version}" for version, heads in ((2, "ABCD"), (1, "ABE")) for head in heads]
    for heads in (
        versions,
        ("A - Unix", "B - Unix", "C - Unix", "D - BSD"),
        ("Alarms | Acme", "Pumps | Acme"),
        ("A - Unix", "A - BSD", "B - Unix", "B - BSD", "C - Unix", "C - BSD"),
    ):
        assert titles(*heads) == list(heads)


def test_code_that_ends_most_pages_stays_whole():
    found = {f"{i}.html": read_html(f"<h1>Fan {i}</h1><pre>start({i})\n}}</pre>".encode()) for i in range(4)}
    assert found["2.html"].text.endswith("start(2)\n}\n```") and without_menus(found) == found
