"""What keeps a splitter from cutting a long paragraph anywhere but at the ends of its sentences."""

import re
from collections.abc import Iterable

import regex

# A splitter of Markdown takes the beginning or end of emphasis, code, a formula or a link, an entity, and each apostrophe, for a
# better place to cut than the end of a sentence, and so does one of plain text the end of a line. It is given other signs, one
# for one, such as hardly any text has: those that close stay with the full stop before them, those of words with their word
# (https://www.unicode.org/reports/tr29/).
_CLOSING = dict(zip("\"'[]<>*_`~", "\u201f\u201b\u2e22\u2e23\u2e24\u2e25\u2e26\u2e27\u2e28\u2e29", strict=True))
_OTHERS = dict(zip("\\$^&", "\ue000\ue001\ue002\ue003", strict=True))
_IN_WORDS = dict(zip("'*_`~", "\uff07\u203f\u2054\u2040\ufe33", strict=True))
_NO_ENDS = dict(zip("-.!?", "\ue004\u2024\ue005\ue006", strict=True))
# Signs at a word; what would be a dash or an ellipsis; a question that is the text of a link, and what is no end in an address.
_RUNS = re.compile(
    r"(?<=\w)'(?=\w)|(?<![*_`~])[*_`~]++(?=\w)|(?<=[^\W_])[*_`~]+|-{2,}|\.{3,}"
    r"|[!?](?=[A-Za-z0-9=&/%#<\[]|[*_`~]*\]\()"
)
_LINE_END = "\u1680"  # a space
# The full stops of a small letter, as in e.g. and p. ex. (but not of a unit, as in 5 m., of can't, and of a name, as in "for all
# k. Then"), of an abbreviation before a number (but not "the lid. 2. Close it"), and of a date as Korean has it.
_ABBREVIATED = regex.compile(
    r"(?<![\w'’])(?:(?<!\d[ \xa0])(?!(?<=\p{L}[ \xa0])[a-z\p{Greek}]\.[ \xa0]\p{Lu}(?!\.))[\p{Ll}\p{Arabic}\p{Devanagari}]"
    r"|[\p{L}\p{M}]{2,4}(?=\.[ \xa0]\d)(?!(?<!\p{Lu}\p{L}{1,3})\.[ \xa0]\d{1,2}[.)][ \xa0])"
    r"|\d{4}\.[ \xa0]\d{1,2}\.[ \xa0]\d{1,2})\.(?=[ \xa0])"
)
_FULL_STOP = "\ue007"
_HIDDEN, _HIDDEN_OF_RUNS = str.maketrans(_CLOSING | _OTHERS), str.maketrans(_IN_WORDS | _NO_ENDS)
_ALL_SIGNS = (_CLOSING, _OTHERS, _IN_WORDS, _NO_ENDS, {"\n": _LINE_END, ".": _FULL_STOP})
_SIGNS = {hidden: sign for signs in _ALL_SIGNS for sign, hidden in signs.items()}
_OWN = {hidden: chr(0x10FF00 + i) for i, hidden in enumerate(_SIGNS)}  # for those that a text itself has
_OWN_HIDDEN = str.maketrans(_OWN)
# In this order: what a text itself has is shown last, so that it is not taken for hidden signs.
_SHOWN = [*_SIGNS.items(), *((own, hidden) for hidden, own in _OWN.items())]
# What makes a line a quotation, an item of a list or a box to tick.
_MARKS_OF_LINE = re.compile(r"^[\s>]*(?:(?:[-*+]|\d{1,9}[.)])\s+)*(?:\[[ xX]\]\s)?")
# A long line that ends no sentence, and how the next one goes on: in plain text with a word below its first one, since code and
# logs stand there as well.
_WRAPPED = re.compile(r"^(.{40,}[^\s.!?:;|\\] ?)\n(?=[ \t>]*(\S))", re.MULTILINE)
_WRAPPED_PLAIN = re.compile(r"^(([ \t>]*+)\S.{40,}[^\s.!?:;|\\] ?)\n(?=\2(\S+))", re.MULTILINE)
FEWEST_WRAPPED = 0.25  # of such lines that go on in small letters: fewer are in logs and lists
_BLANK_LINE = re.compile(r"(\n[ \t\r]*\n)")


def hide_marks(text: str, paragraphs: Iterable[tuple[int, int]] | None) -> str:
    """The text with other signs for those, and for those line ends, at which none of its sentences ends.

    Args:
        text: Markdown or plain text.
        paragraphs: where those of Markdown begin and end; None for plain text, in which line ends alone are taken.

    Returns:
        A text of the same length.
    """
    text = text.translate(_OWN_HIDDEN)
    if paragraphs is None:
        return _without_abbreviations("".join(_unwrapped(paragraph, _WRAPPED_PLAIN) for paragraph in _BLANK_LINE.split(text)))
    parts, place = [], 0
    for start, end in paragraphs:
        parts += [text[place:start], *map(_without_marks, _unwrapped(text[start:end], _WRAPPED).splitlines(keepends=True))]
        place = end
    return "".join([*parts, text[place:]])


def show_marks(text: str) -> str:
    """What hide_marks made of a text, or of a part of it, as it was."""
    for hidden, sign in _SHOWN:  # twenty times as fast as str.translate, which looks up every letter
        text = text.replace(hidden, sign)
    return text


def _unwrapped(paragraph: str, line: re.Pattern[str]) -> str:
    nexts = [found[line.groups].rstrip(",.;:)") for found in line.finditer(paragraph)]
    if sum(word.islower() and word.isalpha() for word in nexts) < max(1, FEWEST_WRAPPED * len(nexts)):
        return paragraph
    return line.sub(lambda found: found[1] + _LINE_END, paragraph)


def _without_abbreviations(text: str) -> str:
    return _ABBREVIATED.sub(lambda found: found[0].replace(".", _FULL_STOP), text)


def _without_marks(line: str) -> str:
    rest = _without_abbreviations(_MARKS_OF_LINE.sub("", line))
    return line[: len(line) - len(rest)] + _RUNS.sub(lambda run: run[0].translate(_HIDDEN_OF_RUNS), rest).translate(_HIDDEN)
