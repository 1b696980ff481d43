"""What is meant in the answer of a language model: without its reasoning, greeting, fences, labels and quotation marks."""

import json
import re
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

# How models mark what they think before they answer: (begin, end).
_TAGS = "think|thinking|thought|reasoning|analysis|reflection|scratchpad|seed:think|mm:think"
_REASONING = (
    (rf"<({_TAGS})>", rf"</(?:{_TAGS})>"),
    # gpt-oss, where a server has taken out its special tokens
    (r"\A\s*(?-i:analysis(?=[A-Z]))", r"(?-i:assistantfinal)"),
    (r"\[THINK\]", r"\[/THINK\]"),
    (r"◁think▷", r"◁/think▷"),
    (r"<\|START_THINKING\|>", r"<\|END_THINKING\|>"),
    (r"<unused94>", r"<unused95>"),
    (r"<\|channel>", r"<channel\|>"),  # Gemma 4
    (r"Here(?:'s| is) my thought process:", r"Here(?:'s| is) my response:"),  # Granite
    (r"<\|channel\|>\s*(?:analysis|commentary)\b", r"<\|channel\|>\s*final\s*(?:<\|constrain\|>\s*\w+\s*)?<\|message\|>"),
)
_SPECIAL_TOKEN = re.compile(r"<\|[\w ]+\|>|</?s>|<(?:start|end)_of_turn>(?:model)?|\[/?INST\]|<turn\|>|<eos>")
# At the edge of a line they are around the answer; elsewhere they may be what is asked about.
_WRAPPER = re.compile(
    r"^[ \t]*<(?:answer|response|question|query|output)>|</(?:answer|response|question|query|output)>[ \t]*$", re.MULTILINE
)
# A whole line in it: what mathematicians frame, and a list of one.
_FRAME = re.compile(r"\$*\\boxed\{(?:\\text\{)?([^{}]*)\}{1,2}\$*|\[\s*[\"']([^\[\]]*)[\"']\s*\]")
_REMARK = re.compile(r"(?<=[?？؟.])\s*\((?:note|explanation|answer|hinweis|anmerkung|remarque)\b[^()]*\)$", re.IGNORECASE)
_FENCE = re.compile(r"^\s*(?:```|~~~)\w*\s*$")
_BULLET = re.compile(r"^(?:>\s*|#+\s+|\(?\d{1,2}[.):]\s+|[-*•]\s+|(?:->|=>|→|➡|👉|✅|❓|💡)\ufe0f?\s*)+")
_LABEL = re.compile(
    r"^(?:the )?(?:(?:final|search|user|generated|example)\s+)*(?:question|query|q|how-to|problem|search|answer|frage|requête|"
    r"вопрос|问题|質問)\s*\d*\s*[:：]\s*",
    re.IGNORECASE,
)
_LABEL_ALONE = re.compile(
    r"(?:assistant|model|output|(?:the )?(?:(?:final|user|generated) )?(?:question|query|frage|вопрос|问题|質問)) ?\d*", re.I
)
_GREETING = re.compile(
    r"^(?:sure(?: thing)?|certainly|of course|absolutely|okay|ok|great|alright|no problem|happy to help|gladly|"
    r"natürlich|gerne|klar|bien sûr|voici|certainement|конечно|вот|当然(?:可以)?|好的|以下是|はい|"
    r"もちろん(?:です)?)\b[^\w\s]+\s*",
    re.IGNORECASE,
)
_ANNOUNCEMENT = re.compile(r"[:：]\s*$")
_HERE_IS = re.compile(
    r"^(?:here(?:['’]s| is| are)|hier (?:ist|sind|kommt)|voici|aquí (?:está|tienes)|ecco|вот|this is|below (?:is|are)|"
    r"i(?:['’]d| would) (?:ask|suggest))\b[^:]*:\s*",
    re.IGNORECASE,
)
_QUOTES = re.compile(r"(?:\"([^\"]*)\"|“([^”]*)”|„([^“”]*)[“”]|«([^»]*)»|「([^」]*)」|'(.*)'|‘(.*)’|`([^`]*)`)[.。]?")
_EMPHASIS = re.compile(r"(\*\*|__|\*|_)(.+)\1")
_COMMA_TOO_MANY = re.compile(r",(\s*[}\]])")
_OPENING_BRACKET = re.compile(r"[{\[]")
_OPENING_QUOTE = re.compile(r"(?<=[{\[,:])\s*[“”„«]")
_CLOSING_QUOTE = re.compile(r"[”“»](?=\s*[}\],:])")
# Half of a surrogate pair is no character: nothing can write it, or hash it.
_HALF = re.compile("[\ud800-\udfff]")
Model = TypeVar("Model", bound=BaseModel)
_KEYS = ("question", "query", "text")


def without_reasoning(text: str) -> str:
    """The answer behind the reasoning of a model, without special tokens.

    Of reasoning that does not end nothing is left; where only its end stands, the chat template had begun it.
    """
    text = _HALF.sub("", text)
    for begin, end in _REASONING:
        while (closing := re.search(end, text, re.IGNORECASE)) is not None:
            opening = re.search(begin, text[: closing.start()], re.IGNORECASE)
            text = text[: opening.start() if opening else 0] + text[closing.end() :]
        if (opening := re.search(begin, text, re.IGNORECASE)) is not None:
            text = text[: opening.start()]
    return _WRAPPER.sub("", _SPECIAL_TOKEN.sub("", text).strip()).strip()


def read_json(text: str, model: type[Model]) -> Model | None:
    """The first JSON value in an answer that the model accepts, be it fenced or in prose; None if there is none.

    A list stands for an object with the list in its only field, and so do the objects of several lines.
    """
    names = list(model.model_fields)
    values = list(_json_values(without_reasoning(text)))
    candidates = [{names[0]: value} if isinstance(value, list) and len(names) == 1 else value for value in values]
    if len(names) == 1:
        candidates.append({names[0]: [value for value in values if isinstance(value, dict)]})
    for candidate in candidates:
        if not candidate or not isinstance(candidate, dict) or not any(candidate.values()):
            continue
        try:
            return model.model_validate(candidate)
        except ValidationError:
            continue
    return None


def _json_values(text: str) -> list[Any]:
    """The JSON values in a text: as they stand, without commas too many, or with typographic quotation marks made straight.

    Of these readings, that which takes in most of the text.
    """
    less = _COMMA_TOO_MANY.sub(r"\1", text)
    readings = [_strict_values(it) for it in (text, less, _CLOSING_QUOTE.sub('"', _OPENING_QUOTE.sub('"', less)))]
    best = max(readings, key=lambda found: sum(length for _, length in found))
    return [value for value, _ in best]


def _strict_values(text: str) -> list[tuple[Any, int]]:
    """The outermost JSON objects and lists in a text, each with its length."""
    decoder, start, found = json.JSONDecoder(strict=False), 0, []
    while (opening := _OPENING_BRACKET.search(text, start)) is not None:
        start = opening.start()
        try:
            value, end = decoder.raw_decode(text, start)
            found.append((_of_characters(value), end - start))
            start = end
        except ValueError:  # no JSON, or a number of thousands of digits
            start += 1
        except RecursionError:
            break
    return found


def _of_characters(value: Any) -> Any:
    """A JSON value whose texts hold no half of a surrogate pair, as an escape may leave one."""
    if isinstance(value, str):
        return _HALF.sub("", value)
    if isinstance(value, list):
        return [_of_characters(item) for item in value]
    return {_HALF.sub("", name): _of_characters(item) for name, item in value.items()} if isinstance(value, dict) else value


def read_list(text: str) -> list[str]:
    """The questions of an answer that is a list: numbered, with bullets or labels; without any of these, its lines that ask."""
    lines = [line.strip() for line in without_reasoning(text).splitlines() if line.strip() and not _FENCE.match(line)]
    marked = [line for line in lines if _BULLET.match(line) or _LABEL.match(line.lstrip("*_ "))]
    asking = [line for line in lines if line.rstrip('*_"”» ').endswith(("?", "？", "؟"))]
    found = [_bare(line) for line in (marked if len(marked) > 1 else asking)]
    return [question for question in found if question]


def read_question(text: str) -> str:
    """The question in an answer: of several, the first one; "" if there is none."""
    answer = without_reasoning(text)
    for value in _json_values(answer) if answer.lstrip("`json \n").startswith("{") else ():
        found = next((value[key] for key in _KEYS if isinstance(value, dict) and isinstance(value.get(key), str)), None)
        if found:
            return _bare(found)
    lines = [line.strip() for line in answer.splitlines() if line.strip() and not _FENCE.match(line)]
    for number, line in enumerate(lines):
        is_last = number + 1 == len(lines)
        question = _bare(line)
        # "Sure! Here is one good question:" announces what follows.
        if not is_last and _LABEL_ALONE.fullmatch(question):
            continue
        if question and (is_last or not _ANNOUNCEMENT.search(line.rstrip("*_ "))) and not _only_greets(question, is_last):
            return question
    return ""


def _only_greets(question: str, is_last: bool) -> bool:
    return not is_last and not _GREETING.sub("", f"{question}!").strip("!., ")


def _bare(line: str) -> str:
    """A line without bullet, greeting, label, emphasis and quotation marks."""
    before = None
    while line != before:
        before = line
        for mark in (_BULLET, _GREETING, _HERE_IS, _LABEL):
            line = mark.sub("", line, count=1).strip()
        if emphasized := re.match(r"\*\*([^*]+?)\*\*\s*[:：]?\s*(?=\S)", line):  # **Question:** how …
            label = emphasized[1] if emphasized[1].rstrip().endswith((":", "：")) else f"{emphasized[1]}:"
            line = line[emphasized.end() :] if _LABEL.fullmatch(label.strip() + " ") else line
        if whole := _EMPHASIS.fullmatch(line):
            line = whole[2].strip()
        if framed := _FRAME.fullmatch(line):
            line = (framed[1] or framed[2] or "").strip()
        line = _REMARK.sub("", line)
        if quoted := _QUOTES.fullmatch(line):
            line = next(filter(None, quoted.groups()), "").strip()
    return line
