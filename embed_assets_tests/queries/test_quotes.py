import time

import pytest

from embed_assets.queries.quotes import Quoted, same_words

RULES = """# Travel rules {#travel}

Book **second class** for trips below [four hours](classes.md "Which class"); ask [the desk][d] first.

- [x] Keep the *receipt*&nbsp;&mdash; a photo of it will do.
- Set `MAX\\_NIGHTS` to 3.

| City | Limit |
| ---- | ----: |
| Bern | 180 |

```yaml
limit: 180
```

Fl&uuml;ge <b>unter</b> 500 km sind nicht erlaubt. ![a map](map.png) Nehmen Sie den Zug.

[d]: https://desk.example/first "The desk"
"""


@pytest.mark.parametrize(
    ("passage", "begins", "ends"),
    [
        ("Book second class for trips below four hours; ask the desk first.", "Book", "first"),
        ("Book **second class** for trips below four hours", "Book", "hours"),
        ("Keep the receipt — a photo of it will do.", "Keep", "do"),
        ("Set MAX_NIGHTS to 3.", "Set", "3"),
        ("City\tLimit\nBern\t180", "City", "180"),
        ("the receipt", "the *receipt", "receipt"),
        ("Bern 180 limit: 180", "Bern", "limit: 180"),
        ("Flüge unter 500 km sind nicht erlaubt. Nehmen Sie den Zug.", "Fl&uuml;ge", "Zug"),
        ("Flu\u0308ge unter 500\u202fkm", "Fl&uuml;ge", "km"),
        ("[Book second class](https://elsewhere.example/) for “trips”", "Book", "trips"),
        ("Travel rules Book second class", "Travel", "class"),
    ],
)
def test_a_passage_is_found_as_a_reader_of_the_page_copies_it(passage, begins, ends):
    start, end = Quoted(RULES).find(passage)
    assert RULES[start:].startswith(begins) and RULES[start:end].rstrip(".*`").endswith(ends)


@pytest.mark.parametrize(
    "passage",
    [
        "Book first class for trips",
        "four hours classes md ask",
        "erlaubt a map Nehmen",
        "180 yaml limit",
        "Zug d https",
        "TO 3",
        "!!",
        "…",
    ],
)
def test_what_no_reader_sees_or_what_is_not_there_is_not_found(passage):
    assert Quoted(RULES).find(passage) is None


NUMBERS = (
    "The comparison of release 2019 shows that x < 5 holds. The **timeout** is 15 seconds; the limit is 1.5 GB, a third of -1.5."
)


@pytest.mark.parametrize(
    "passage",
    [
        "is on.",
        "5 %",
        "C++",
        "`x > 5` holds. The timeout",
        "the timeout is 1.5 seconds",
        "the *limit* is 15 GB, a third",
        "a *third* of 1.5.",
    ],
)
def test_another_number_or_a_part_of_a_word_is_not_found(passage):
    assert Quoted(NUMBERS).find(passage) is None


@pytest.mark.parametrize(
    "passage", ["`x < 5` holds. The timeout", "The timeout is 15 seconds", "limit is *1.5* GB", "a *third* of -1.5."]
)
def test_numbers_are_found_with_their_signs(passage):
    assert Quoted(NUMBERS).find(passage) is not None
    assert not same_words("x < 5", "x > 5") and not same_words("**-1.5**", "15") and same_words("**-1.5**", "-1.5")


def test_scripts_without_spaces_have_no_edges_of_words():
    assert Quoted("请按住**重置**按钮十秒钟以恢复出厂设置。").find("按住重置按钮十秒钟以恢复出厂") is not None


def test_words_are_first_looked_for_as_they_are_written():
    text = "Never use C-3 here. Later on, use c3 instead."
    start, end = Quoted(text).find("use c3")
    assert text[start:end] == "use c3" and start == 30


def test_passages_that_differ_in_marks_alone_are_the_same():
    assert same_words("Hold the **red** knob", "Hold the red\nknob.")
    assert not same_words("Hold the **red** knob", "Hold the blue knob")


@pytest.mark.parametrize("unit", ["[a](", "](", "<a ", "<!--", "&amp", "![a", "`", "[x]: ", "- [", "{#a ", "x](("])
def test_a_hostile_text_takes_no_longer_than_a_plain_one(unit):
    text = unit * (400_000 // len(unit))
    started = time.perf_counter()
    Quoted(text).find("words that are not there")
    assert time.perf_counter() - started < 10


@pytest.mark.parametrize(
    "passage",
    [
        "Keep it below 5 &lt; 6 bar",
        "Keep it below 5 < 6 bar",
        "Write <div> around the *body*",
        "Write &lt;div&gt; around the *body*",
        "Close the valve. Open the housing.",
        "• Close the valve.\n• Open the housing.",
        "1. Close the valve.\n2. Open the **housing**.",
    ],
)
def test_signs_and_tags_that_are_written_as_entities_and_numbered_steps_are_found(passage):
    text = "Keep it below 5 &lt; 6 **bar**. Write &lt;div&gt; around the body.\n\n1. Close the **valve**.\n2. Open the housing.\n"
    assert Quoted(text).find(passage) is not None
    assert Quoted(text).find(passage.replace("<", ">").replace("&lt;", "&gt;").replace("the", "no")) is None
