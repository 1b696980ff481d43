"""What keeps a splitter from cutting a long paragraph anywhere but at the ends of its sentences."""

import re
from collections.abc import Iterable

# A splitter of Markdown takes the beginning of emphasis, code or a link, and each apostrophe, for a better place to cut than
# the end of a sentence, and so does one of plain text the end of a line. It is given other signs, one for one: such as hardly
# any text has, which end words and sentences alike (https://www.unicode.org/reports/tr29/).
_SIGNS = dict(zip("\"'[]<>_*`~\\", "\u201f\u201b\u2e22\u2e23\u2e24\u2e25\u2054\ue000\ue001\ue002\ue003", strict=True))
_SIGNS_OF_RUNS = {"'": "\uff07", "-": "\ue004", ".": "\u2024"}
_RUNS = re.compile(r"(?<=\w)'(?=\w)|-{2,}|\.{3,}")  # would be a dash, and an ellipsis
_LINE_END = "\t"
_HIDDEN, _HIDDEN_OF_RUNS = str.maketrans(_SIGNS), str.maketrans(_SIGNS_OF_RUNS)
_SHOWN = str.maketrans({hidden: sign for sign, hidden in [*_SIGNS.items(), *_SIGNS_OF_RUNS.items()]})
# What makes a line a quotation, an item of a list or a box to tick.
_MARKS_OF_LINE = re.compile(r"^[\s>]*(?:(?:[-*+]|\d{1,9}[.)])\s+)*(?:\[[ xX]\]\s)?")
# A long line that ends no sentence. If one in a paragraph goes on with a small letter, the paragraph was wrapped.
_LONG_LINE = r"^(.{40,}[^\s.!?:;|\\] ?)\n"
_WRAPPED, _WRAPPED_PLAIN = (re.compile(_LONG_LINE + before, re.MULTILINE) for before in (r"(?=[ \t>]*(\S))", r"(?=(\S))"))
_BLANK_LINE = re.compile(r"(\n[ \t\r]*\n)")


def hide_marks(text: str, paragraphs: Iterable[tuple[int, int]] | None) -> str:
    """The text with other signs for those, and for those line ends, at which none of its sentences ends.

    Args:
        text: Markdown or plain text.
        paragraphs: where those of Markdown begin and end; None for plain text, in which line ends alone are taken.

    Returns:
        A text of the same length.
    """
    if paragraphs is None:
        return "".join(_unwrapped(paragraph, _WRAPPED_PLAIN) for paragraph in _BLANK_LINE.split(text))
    parts, place = [], 0
    for start, end in paragraphs:
        parts += [text[place:start], *map(_without_marks, _unwrapped(text[start:end], _WRAPPED).splitlines(keepends=True))]
        place = end
    return "".join([*parts, text[place:]])


def show_marks(text: str) -> str:
    """What hide_marks made of a text, or of a part of it, as it was, but for the kind of white space."""
    return text.translate(_SHOWN)


def _unwrapped(paragraph: str, line: re.Pattern[str]) -> str:
    if any(found[2].islower() for found in line.finditer(paragraph)):
        return line.sub(lambda found: found[1] + _LINE_END, paragraph)
    return paragraph


def _without_marks(line: str) -> str:
    rest = _MARKS_OF_LINE.sub("", line)
    return line[: len(line) - len(rest)] + _RUNS.sub(lambda run: run[0].translate(_HIDDEN_OF_RUNS), rest).translate(_HIDDEN)
