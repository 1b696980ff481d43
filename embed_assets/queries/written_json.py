"""The JSON in what a language model wrote, also where it is not quite JSON, and the questions in it."""

import contextlib
import json
import re
from collections import deque
from collections.abc import Collection, Iterator
from typing import Any

_FENCES = re.compile(r"^\s*```\w*|```\s*$")
# Only where JSON may begin: each time that the decoder finds none, it counts the lines of all the text before.
_OPENING_BRACKET = re.compile(r"\{(?=\s*+[\"}])|\[(?=\s*+[\"{\[\]\d\-tfnNI])")
_COMMA_TOO_MANY = re.compile(r",(\s*[}\]])")
_COMMENT = re.compile(r"(?:^|(?<=[{\[,]))[ \t]*(?://|#)[^\n]*$|(?<=[{\[,\s])/\*[^*]{0,2000}\*/", re.MULTILINE)
_OPENING_QUOTE = re.compile(r"(?<=[{\[,:])\s*[“”„«]")
_CLOSING_QUOTE = re.compile(r"[”“»](?=\s*[}\],:])")
# A text in JSON, or in the way of Python: it ends where a comma, a colon or a bracket follows.
_TEXT = re.compile(
    r"""(?<=[{\[,:])(\s*)(["'])((?:[^\\]|\\.){0,5000}?)\2(?=\s*(?:[:}\]]|,\s*(?:["'{\[}\]\d-]|true|false|null|True|False|None)))""",
    re.DOTALL,
)
_NO_ESCAPE = re.compile(r'\\(?!["\\/bfnrt]|u[0-9A-Fa-f]{4})')
_BARE_QUOTE = re.compile(r'(\\.)|"', re.DOTALL)
_PYTHON = re.compile(r"(?<=[\[,:])(\s*)(True|False|None)(?=\s*[,}\]])")
_OF_PYTHON = {"True": "true", "False": "false", "None": "null"}
# Half of a surrogate pair is no character: nothing can write it, or hash it.
HALF = re.compile("[\ud800-\udfff]")
_QUERY = ("query", "question", "q")
_ABOUT_QUESTIONS = re.compile(r"quer|question|frage|pregunta|domand|pergunt|requête|вопрос|问题|問題|質問|질문")
_NUMBER = re.compile(r"q?\d+")
DEEPEST = 50


def json_values(text: str) -> list[Any]:
    """The JSON values in a text: as they stand, or mended.

    Mended are comments, commas too many, typographic quotation marks, quotation marks and backslashes that lack their escape,
    and the texts and constants of Python. Of these readings, that counts which takes in most of the text. The names of objects
    are in lower case, with _ for what is neither letter nor digit.
    """
    with contextlib.suppress(ValueError, RecursionError):
        whole = _FENCES.sub("", text).strip()
        if whole.startswith('"') and isinstance(inner := json.loads(whole, strict=False), str):
            text = inner  # JSON in a text of JSON
    best = _strict_values(text)
    if not best or len(text) - sum(length for _, length in best) > 2:
        readings = [best]
        for version in dict.fromkeys((text, _COMMENT.sub("", text))):  # what looks like a comment may stand in a question
            less = _COMMA_TOO_MANY.sub(r"\1", version)
            straight = _CLOSING_QUOTE.sub('"', _OPENING_QUOTE.sub('"', less))
            readings += map(_strict_values, (less, straight, _mended(straight)))
        best = max(readings, key=lambda found: sum(length for _, length in found))
    return [value for value, _ in best]


def is_json(text: str) -> bool:
    """Whether a text is a JSON object or a list, and nothing else."""
    if text.lstrip()[:1] not in ("{", "["):
        return False
    with contextlib.suppress(ValueError, RecursionError):
        json.loads(text, strict=False)
        return True
    return False


def _mended(text: str) -> str:
    def as_json(found: re.Match[str]) -> str:
        inner = found[3].replace("\\'", "'") if found[2] == "'" else found[3]
        inner = _BARE_QUOTE.sub(lambda quote: quote[1] or '\\"', _NO_ESCAPE.sub(r"\\\\", inner))
        return f'{found[1]}"{inner}"'

    return _PYTHON.sub(lambda found: found[1] + _OF_PYTHON[found[2]], _TEXT.sub(as_json, text))


def _strict_values(text: str) -> list[tuple[Any, int]]:
    """The outermost JSON objects and lists in a text, each with its length."""
    decoder, start, found = json.JSONDecoder(strict=False), 0, []
    while (opening := _OPENING_BRACKET.search(text, start)) is not None:
        start = opening.start()
        try:
            value, end = decoder.raw_decode(text, start)
            found.append((_tidied(value), end - start))
            start = end
        except ValueError:  # no JSON, or a number of thousands of digits
            start += 1
        except RecursionError:
            break
    return found


def _tidied(value: Any, depth: int = 0) -> Any:
    """A JSON value with plain names, whose texts hold no half of a surrogate pair, as an escape may leave one."""
    if depth > DEEPEST:
        raise RecursionError
    if isinstance(value, str):
        return HALF.sub("", value)
    if isinstance(value, list):
        return [_tidied(item, depth + 1) for item in value]
    if not isinstance(value, dict):
        return value
    plain = {re.sub(r"\W+", "_", HALF.sub("", name)).strip("_").lower(): item for name, item in value.items()}
    return {name: _tidied(item, depth + 1) for name, item in plain.items()}


def and_what_is_in_them(values: list[Any]) -> Iterator[Any]:
    """The values and all that is in them, the outermost first; JSON that stands in a text counts, such as that of tool calls."""
    waiting = deque(values)
    while waiting:
        value = waiting.popleft()
        yield value
        if isinstance(value, dict | list):
            waiting += value.values() if isinstance(value, dict) else value
        elif isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
            waiting += json_values(value)


def questions_in(values: list[Any], styles: Collection[str] = ()) -> list[dict[str, Any]]:
    """The questions in JSON values, however deep, each an object with ``query``: those of the value that has most of them.

    Where each value has one at most, as JSON lines do, they are joined.

    Args:
        values: from json_values.
        styles: names of styles, under which questions may stand.
    """
    found = [list(_questions(value, "questions", styles)) for value in values]
    most = max(found, key=len, default=[])
    return most if len(most) > 1 else [question for questions in found for question in questions]


def _questions(value: Any, name: str, styles: Collection[str]) -> Iterator[dict[str, Any]]:
    """Those in a value that stands under a name."""
    if isinstance(value, list):
        for item in value:
            yield from _questions(item, name, styles)
    elif isinstance(value, dict) and sum(key in styles and isinstance(item, str) for key, item in value.items()) > 1:
        for key, item in value.items():  # "question" is the name of a style here
            yield from _questions(item, key, styles)
    elif isinstance(value, dict):
        is_named = name in styles or _ABOUT_QUESTIONS.search(name)
        texts = (value.get(key) for key in (*_QUERY, *(["text"] if is_named else [])))
        if query := next((text for text in texts if isinstance(text, str) and text.strip()), None):
            yield ({"style": name} if name in styles else {}) | value | {"query": query}
            return
        for key, item in value.items():
            yield from _questions(item, name if is_named and _NUMBER.fullmatch(key) else key, styles)
    elif isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        for item in json_values(value):
            yield from _questions(item, name, styles)
    elif isinstance(value, str) and value.strip():
        if name in styles:
            yield {"query": value, "style": name}
        elif _ABOUT_QUESTIONS.search(name):
            yield {"query": value}
