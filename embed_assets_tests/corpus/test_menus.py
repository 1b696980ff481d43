from embed_assets.corpus.menus import without_menus
from embed_assets.corpus.readers.html import read_html

MENU = "<div><p>ACME Inc.</p><ul>" + "".join(f"<li><a href={i}>Chapter {i}</a></li>" for i in range(4)) + "</ul></div>"
WARNING = "<p>Switch it off first.</p>"


def pages(count: int) -> dict:
    page = "{menu}<h1>Chapter {i}</h1><p>Part {i} of the pump.</p>{warning}<p>Then part {i} is rinsed.</p><p>© ACME</p>"
    return {f"{i}.html": read_html(page.format(i=i, menu=MENU, warning=WARNING).encode()) for i in range(count)}


def test_menus_heads_and_feet_of_most_pages_are_left_out_and_a_repeated_warning_stays():
    found = without_menus(pages(4))
    assert found["2.html"].text == "# Chapter 2\n\nPart 2 of the pump.\n\nSwitch it off first.\n\nThen part 2 is rinsed."
    assert found["2.html"].notes == ("6 lines left out that most pages have",)


def test_two_pages_are_too_few_to_tell_a_menu():
    assert without_menus(pages(2)) == pages(2)
