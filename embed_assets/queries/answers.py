"""What is meant in the answer of a language model: without its reasoning, greeting, fences, labels and quotation marks."""

import re
from itertools import groupby
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from embed_assets.corpus.encodings import composed
from embed_assets.queries.passage_talk import speaks_of_its_task
from embed_assets.queries.written_json import HALF, and_what_is_in_them, is_json, json_values, questions_in
from embed_assets.text.tokens import count_words

# How models mark what they think before they answer: (begin, end).
_TAGS = "think|thinking|thought|reasoning|analysis|reflection|scratchpad|longcat_think|seed:think|mm:think"
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
_TOKEN = (
    r"(?:<\|(?:start_of_role|start_header_id|im_start)\|>\w+(?:<\|(?:end_of_role|end_header_id)\|>)?"
    r"|<\|start\|>assistant|<[|｜][\w ▁]+[|｜]>|</?s>|<(?:start|end)_of_turn>(?:model)?|\[/?INST\]|<turn\|>|<eos>)"
)
# Between words it is what is asked about.
_SPECIAL_TOKEN = re.compile(rf"(?<!\w ){_TOKEN}|{_TOKEN}(?![ ]?[\w?,.)])")
# What an answer may end with: behind that and a token some models begin another one.
_ENDS_ANSWER = '.?!。？！؟"}]>`'
# At the edge of a line they are around the answer; elsewhere they may be what is asked about.
_WRAPPER = re.compile(
    r"^[ \t]*(?:<(?:answer|response|question|query|output)s?(?:\s[^<>\n]{1,200})?>[ \t]*){1,3}"
    r"|(?:</(?:answer|response|question|query|output)s?>[ \t]*){1,3}$",
    re.MULTILINE,
)
# What models write beside the question in elements of their own; questions side by side are parted by lines.
_ANSWER_ELEMENT = re.compile(
    r"(?<=>)\s*<(answer|explanation|reasoning|rationale|context|style|type|reasoning_type|complexity|passages?)>"
    r"[^<>]{0,2000}</\1>(?=\s*<|\s*$)",
    re.IGNORECASE,
)
_BETWEEN_ELEMENTS = re.compile(r"(</(?:question|query)>)[ \t]*(?=<)", re.IGNORECASE)
# A whole line in it: what mathematicians frame, a list of one, and an element of HTML.
_FRAME = re.compile(
    r"(?:\$*|\\[\[(]\s*)\\boxed\{(?:\\text\{)?([^{}]*)\}{1,2}(?:\$*|\s*\\[\])])|\[\s*[\"']([^\[\]]*)[\"']\s*\]"
    r"|<(?:p|b|strong|em|i|li|div|span)>([^<>]*)</(?:p|b|strong|em|i|li|div|span)>|([^<>]*[?？؟])<br ?/?>"
)
_ENDS_ASKING = r"(?<=[?？؟])"
_STYLE = (
    r"(?:how[-_ ]to|question|search|symptom|problem|(?:identifier|structural|contextual)[-_ ]question|contextual|structural|"
    r"multi[-_ ]hop|factual|relational|procedural|inferential|temporal|causal|visual)"
)
_REMARK = re.compile(
    rf"(?<=[?？؟.])\s*\((?:th(?:is|e) (?:question|query)|note|explanation|answer|hinweis|anmerkung|remarque)\b[^()]*\)$"
    rf"|{_ENDS_ASKING}\s?[(\[](?:(?:style|type)\W+)?(?:{_STYLE}|passages? [\d, &and]+)[)\]]$"
    rf"|{_ENDS_ASKING}\s?(?:[(\[]sources?\b[^()\[\]]*[)\]]|\[\d+\]|【[^【】]*】)$",
    re.IGNORECASE,
)
_FENCE = re.compile(r"^\s*(?:```|~~~)\w*\s*$")
_NUMBERED = r"(?:(?:\(?\d{1,2}[.):]|\(?(?:[a-z]|[ivx]{2,4})\)|[#]\d{1,2}(?:[.):]|(?=\s+[^\sa-z])))\s+|(?:\d{1,2}[、．]|[①-⑳])\s*)"
_BULLET = re.compile(
    rf"^(?:>\s*|#+\s+|{_NUMBERED}|\*\*\d{{1,2}}[.):]\*\*\s+|[-*•]\s+|[–—]\s+|(?:->|=>|→|➡|[👉✅❓❔💡🤔🔍🔎📝📌🔹🔸▶💬])\ufe0f?\s*)+"
)
_QUESTION = (
    r"(?:question|query|frage|anfrage|requête|pregunta|consulta|domanda|pergunta|vraag|fråga|spørgsmål|spørsmål|kysymys|pytanie|"
    r"otázka|kérdés|întrebare|soru|вопрос|запрос|питання|问题|問題|查询|質問|질문|câu hỏi|คำถาม|प्रश्न|سؤال|السؤال)"
)
_ANSWER = (
    r"(?:answer|antwort|réponse|respuesta|risposta|resposta|antwoord|svar|odpowiedź|odpověď|ответ|答案|回答|答え|답변|답|إجابة|"
    r"الإجابة)"
)
_NUMBER = r"\s*+#?\d*+\s*+(?:(?:of|/)\s?\d++\s*+)?(?:\([^()\n]{1,40}\)\s*+)?[:：]\s*"
_ASKED = re.compile(
    rf"^(?:the )?(?:(?:final|search|user|generated|example|keyword|suggested|possible|passage \d{{1,2}})\s+)*"
    rf"(?:{_QUESTION}|q|how[-_ ]to|problem|symptom|search|"
    rf"(?:identifier|structural|contextual)[-_ ]question|structural|contextual|multi[-_ ]hop){_NUMBER}|^q\d+\s*[.)]\s+",
    re.IGNORECASE,
)
_LABEL = re.compile(
    rf"{_ASKED.pattern}|^[(\[]{_STYLE}[)\]][:：]?\s+|^(?:final )?{_ANSWER}{_NUMBER}"
    r"|^(?:user|human|assistant|ai|response|output)[:：]\s+",
    re.IGNORECASE,
)
_LABEL_ALONE = re.compile(
    rf"(?:assistant|model|output|questions?|queries|fragen|(?:the )?(?:(?:final|user|generated) )?{_QUESTION}) ?#?\d*[:：]?", re.I
)
# What a model says of a question beside it.
_FIELD = re.compile(
    rf"^(?:(?:the )?(?:expected |correct )?{_ANSWER}|a\d*+|(?:question )?(?:style|type|kind)|reasoning(?: type)?|"
    r"complexity|difficulty|passages?|source|context|explanation|rationale|reason|note|title|topic|keywords?|language|"
    r"begründung|erklärung|hinweis|stil|schwierigkeit|explication|explicación|spiegazione|explicação|пояснение|解释|解説|설명)"
    r"\s*+#?\d*+\s*+[:：]",
    re.IGNORECASE,
)
_ANSWER_BEHIND = re.compile(
    rf"(?:{_ENDS_ASKING}\W{{0,9}}|\s[*_|]{{1,3}})(?:(?:expected |correct )?{_ANSWER}|(?-i:A))\d*[*_]*\s*[:：].*$",
    re.IGNORECASE | re.DOTALL,
)
_GREETING = re.compile(
    r"^(?:sure(?: thing)?|certainly|of course|absolutely|okay|ok|great|alright|no problem|happy to help|gladly|"
    r"natürlich|gerne|klar|bien sûr|voici|certainement|claro(?: que sí)?|por supuesto|certo|certamente|natuurlijk|"
    r"oczywiście|конечно|вот|当然(?:可以)?|好的|以下是|はい|もちろん(?:です)?|承知しました|네|물론(?:입니다|이죠)?)"
    r"(?:,? i(?: (?:can|will|would)|['’][dl]{1,2})\b[^.!?:\n]{0,60}(?=[.!:]))?"
    r"(?:[!.,:;…—]+(?=\s|$)|[!！。，、：—]+|\s+[-–](?=\s))\s*",
    re.IGNORECASE,
)
_ANNOUNCEMENT = re.compile(r"[:：]\s*$")
_COLON = r"(?:[:：]\s*$|:\s+|：|,\s+(?=[\"“„«]))"
# In a few words before a colon; a "query" there may be one of a database.
_WORD_FOR_QUESTION = (
    r"(?:question|frage|pregunta|domanda|pergunta|vraag|fråga|spørgsmål|spørsmål|kysymys|pytanie|otázka|kérdés|întrebare|soru|"
    r"вопрос|питання|въпрос|pertanyaan|ερώτηση|שאלה|سؤال|سوال|câu hỏi|प्रश्न|सवाल)"
)
# A question about questions: "What is the question type: single or multiple choice?"
_ASKS_ITSELF = r"(?:how|what|which|where|when|why|who|whose|is|are|can|could|does|do|did|should|will)\b"
_HERE_IS = re.compile(
    r"^(?:here(?:['’]s| is| are)|hier (?:ist|sind|kommt)|voici|aquí (?:está|tienes)|aqui está|ecco|вот|this is|below (?:is|are)|"
    rf"i(?:['’]d| would) (?:ask|suggest))\b[^:：]*{_COLON}"
    r"|^(?:(?:based on|given|according to|from) [^,:?\n]{1,80}, )?"
    r"(?:(?:an?|one|another|my|the) )?(?:(?:possible|suitable|good|great|natural|realistic|suggested|potential|relevant|likely|"
    rf"sample|simple|short|plain|typical|search|how-to|user) )*(?:question|query)(?: (?:is|could be|might be|would be))?{_COLON}"
    r"|^(?:an?|one|another) (?:[\w-]+ ){0,3}(?:question|query)\b[^:：?？\n]{0,80}\b(?:is|be|answers?|passage|text|document)"
    rf"{_COLON}"
    rf"|^(?!{_ASKS_ITSELF})(?:[^\W\d_]+,? ){{0,5}}{_WORD_FOR_QUESTION}(?: [^\W\d_]+){{0,3}}{_COLON}"
    r"|^(?:as an? [^,:?\n]{1,60}, )?(?:an?|the|they|you|people|users|one|i) "
    r"(?:[\w-]+ ){0,4}?(?:might|could|would|may) (?:ask|search(?: for)?|type)"
    rf"(?: [\w-]+){{0,3}}{_COLON}"
    r"|^(?:eine?|der|une?|una|um) (?:[\w-]+ ){1,3}(?:könnte|würde|pourrait|podría|potrebbe|poderia) (?:fragen|suchen|demander|"
    rf"chercher|preguntar|buscar|chiedere|cercare|perguntar)\b[^:：]{{0,20}}{_COLON}",
    re.IGNORECASE,
)
_SINGLE = r"(?:[^']|(?<=\w)'(?=\w))*"
_QUOTES = re.compile(
    rf"(?:\"([^\"]*)\"|“([^”]*)”|„([^“”]*)[“”]|«([^»]*)»|「([^」]*)」|'({_SINGLE})'|‘([^‘]*)’|`{{1,3}}([^`]*)`{{1,3}})[.。]?"
    r"|[\"“]([^\"“”]+[?？])[\"”]\s*(?:[-–—(:].*|[A-Z][^?]*)"
)
# **How ...?** - asks about the procedure
_ASKED_AND_TOLD = re.compile(r"^\*\*([^*]+[?？])\*\*\s*(?:[-–—(:].*)$")
# "Here you go: {"question": …}", but for a question about such JSON
_BEFORE_JSON = re.compile(r"^[^{}?？؟]{0,200}?[:：>]\s*(?=\{\s*\")(?!.*[?？؟]\s*$)")
_PAIR_OF_JSON = re.compile(rf"[\"']{_QUESTION}[\"']\s*:\s*([\"'].*[\"']),?", re.IGNORECASE)
_EMPHASIS = re.compile(r"(\*\*\*|\*\*|__|\*|_)((?:(?!\1).)+)\1")
_ROW = re.compile(r"^\s*\|(.+)\|\s*$")
_SURE = ("?", "？", "؟")
LONGEST_LINE = 10_000  # characters; a longer one is no question, and its marks would be taken off one by one
Model = TypeVar("Model", bound=BaseModel)


def without_reasoning(text: str) -> str:
    """The answer behind the reasoning of a model, without special tokens.

    Of reasoning that does not end nothing is left; where only its end stands, the chat template had begun it. A line that asks
    about <think> is none, and neither is JSON with nothing around it.
    """
    # A hyphen or a blank that forbids a line break, as some models write them, is none that anybody types.
    text = composed(HALF.sub("", text))
    if is_json(text):
        return text.strip()
    for begin, end in _REASONING[1:] if _asks_about_a_tag(text) else _REASONING:
        while (closing := re.search(end, text, re.IGNORECASE)) is not None:
            opening = re.search(begin, text[: closing.start()], re.IGNORECASE)
            text = text[: opening.start() if opening else 0] + text[closing.end() :]
        if (opening := re.search(begin, text, re.IGNORECASE)) is not None:
            text = text[: opening.start()]
    text = _SPECIAL_TOKEN.sub(_in_place_of_token, text).strip()
    text = _BETWEEN_ELEMENTS.sub(r"\1\n", _ANSWER_ELEMENT.sub("", text))
    return _WRAPPER.sub("", text).strip()


def _in_place_of_token(token: re.Match[str]) -> str:
    """A new line where another answer begins; else nothing, as a new line would cut a question about the token."""
    before, after = token.string[max(0, token.start() - 1) : token.start()], token.string[token.end() : token.end() + 2]
    return "\n" if before in _ENDS_ANSWER and after.lstrip()[:1].isalnum() else ""


def _asks_about_a_tag(text: str) -> bool:
    """Whether there are words before the first tag in its line, and below that line nothing closes it."""
    begin, end = _REASONING[0]
    if (tag := re.search(begin, text, re.IGNORECASE)) is None:
        return False
    before, _, below = text[: tag.start()].rpartition("\n")[2], *text[tag.end() :].partition("\n")[1:]
    return re.search(r"\w", _SPECIAL_TOKEN.sub("", before)) is not None and re.search(end, below, re.IGNORECASE) is None


def read_json(text: str, model: type[Model]) -> Model | None:
    """The first JSON value in an answer that the model accepts, be it fenced, in prose or in another; None if there is none.

    An empty value is none, and neither is one without any field of the model.
    """
    for value in and_what_is_in_them(json_values(without_reasoning(text))):
        if not isinstance(value, dict) or not any(value.get(name) for name in model.model_fields):
            continue
        try:
            return model.model_validate(value)
        except ValidationError:
            continue
    return None


def read_list(text: str) -> list[str]:
    """The questions of an answer that is a list: with labels, numbers or bullets, or in a table; else its lines that ask.

    What stands below a question, such as its answer, is none.
    """
    lines = [line for line in without_reasoning(text).splitlines() if line.strip() and not _FENCE.match(line)]
    listed = _labelled(lines) or _in_table(lines) or _with_bullets(lines)
    asking = [
        line
        for line in lines
        if line.rstrip(' *_"”»').endswith(_SURE) and not _is_field(line) and not speaks_of_its_task(line.strip())
    ]
    found = [_bare(line.strip()) for line in (listed or asking)]
    return [question for question in found if question]


def _is_field(line: str) -> bool:
    return _FIELD.match(_plain(line)) is not None


def _plain(line: str) -> str:
    """A line without its bullet and marks of emphasis."""
    return re.sub(r"[*_]{2,}", "", _BULLET.sub("", line.strip())).lstrip("*_ ")


def _labelled(lines: list[str]) -> list[str]:
    """The lines with a label such as "Question 2:", or below one that stands alone; of one alone, if an answer is with it."""
    found = []
    for number, line in enumerate(lines):
        alone = _LABEL_ALONE.fullmatch(_bare_label(line)) and number + 1 < len(lines)
        if alone and re.search(r"\d|[:：]", line) and not _BULLET.match(lines[number + 1].lstrip()):
            found.append(lines[number + 1])
        elif (label := _ASKED.match(_plain(line))) and _plain(line)[label.end() :].strip():
            found.append(line)
    return found if len(found) > 1 or (found and any(map(_is_field, lines))) else []


def _bare_label(line: str) -> str:
    return _plain(line).strip("*_ ")


def _in_table(lines: list[str]) -> list[str]:
    """The cells of the column of a Markdown table that holds the questions."""
    rows = [[cell.strip() for cell in row[1].split("|")] for line in lines if (row := _ROW.match(line))]
    if len(rows) < 3:
        return []
    column = next((place for place, cell in enumerate(rows[0]) if re.fullmatch(rf"{_QUESTION}s?|queries", cell, re.I)), None)
    if column is None:
        return []
    return [row[column] for row in rows[1:] if len(row) == len(rows[0]) and row[column].strip(":- ")]


def _with_bullets(lines: list[str]) -> list[str]:
    """The items of the outermost list that are no heading: those with numbers, or else with bullets."""

    def form(line: str) -> tuple[bool, int]:
        return re.match(_NUMBERED, line.lstrip()) is None, len(line) - len(line.lstrip())

    bullets = [line for line in lines if _BULLET.match(line.lstrip()) and not line.lstrip().startswith("#")]
    items = [line for line in bullets if not _is_field(line)]
    for _, alike in groupby(sorted(items, key=form), key=form):
        group = list(alike)
        questions = [
            line for line in group if count_words(_bare(line.strip())) > 1 and not _ANNOUNCEMENT.search(line.rstrip("*_ "))
        ]
        if 2 * len(questions) > len(group) and len(bullets) > 1:
            return questions
    return []


def read_question(text: str) -> str:
    """The question in an answer: of several, the first one; "" if there is none.

    One with a label such as "Question:" comes before lines that do not ask, and so does any that asks before a sentence or a
    field such as "Title:", as models tell what they think without a mark.
    """
    lines = [" ".join(line.split()) for line in without_reasoning(text).splitlines()]
    lines = [line for line in lines if line and not _FENCE.match(line)]
    if table := _in_table(lines):
        return _bare(table[0])
    first = ""
    lists_end = max((number for number, line in enumerate(lines) if line.rstrip("`,;").endswith("]")), default=-1)
    asks = [number for number, line in enumerate(lines) if line.rstrip(' *_"”»`').endswith(_SURE) and not _is_field(line)]
    last_asking = max(asks, default=-1)
    may_hold_json = True
    for number, line in enumerate(lines):
        is_last = number + 1 == len(lines)
        if may_hold_json and (json := _BEFORE_JSON.sub("", _LABEL.sub("", line))).startswith(
            ("{", '"{', "[") if number <= lists_end else ("{", '"{')
        ):
            if question := _question_in_json([json, *lines[number + 1 :]]):
                return question
            may_hold_json = False  # what is below was read with it
        question = _bare(line)
        # "Sure! Here is one good question:" announces what follows.
        if not question or (not is_last and (_LABEL_ALONE.fullmatch(question) or _only_greets(question) or _is_rule(question))):
            continue
        if not is_last and _ANNOUNCEMENT.search(line.rstrip("*_ ")):
            continue
        if (not is_last and _is_field(line)) or (
            number < last_asking and (question.endswith((".", "!", "。")) or (line.startswith("#") and number not in asks))
        ):
            continue
        if _ASKED.match(_plain(line)) or (not first and question.endswith(_SURE)):
            return question
        first = first or question
    return first


def _question_in_json(lines: list[str]) -> str:
    """The first question of the JSON in some lines."""
    found = questions_in(json_values("\n".join(lines)))
    return _bare(found[0]["query"].strip()) if found else ""


def _is_rule(question: str) -> bool:
    return re.search(r"\w", question) is None


def _only_greets(question: str) -> bool:
    return not _GREETING.sub("", f"{question}!").strip("!., ")


def _bare(line: str) -> str:
    """A line without bullet, greeting, label, emphasis and quotation marks, and without the answer behind its question."""
    before = None
    line = _ANSWER_BEHIND.sub("", line[:LONGEST_LINE]).strip()
    while line != before:
        before = line
        for mark in (_BULLET, _GREETING, _HERE_IS, _LABEL):
            line = mark.sub("", line, count=1).strip()
        line = _ASKED_AND_TOLD.sub(r"\1", line)
        if emphasized := re.match(r"\*{1,2}([^*]+?)\*{1,2}\s*[:：]?\s*(?=\S)", line):  # **Question:** how …
            label = emphasized[1] if emphasized[1].rstrip().endswith((":", "：")) else f"{emphasized[1]}:"
            line = line[emphasized.end() :] if _LABEL.fullmatch(label.strip() + " ") else line
        # __init__ is a name.
        if (whole := _EMPHASIS.fullmatch(line)) and (whole[1][0] == "*" or " " in whole[2]):
            line = whole[2].strip()
        if pair := _PAIR_OF_JSON.fullmatch(line):
            line = pair[1]
        if framed := _FRAME.fullmatch(line):
            line = next(filter(None, framed.groups()), "").strip()
        line = _REMARK.sub("", line)
        if quoted := _QUOTES.fullmatch(line):
            line = next(filter(None, quoted.groups()), "").strip()
    return line
