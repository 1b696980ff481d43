"""What a word is, in every language: for BM25, look-ups, the rules for questions and the leak checks alike.

A word is a run of letters, marks, digits and _, so that no word is cut at an accent or a vowel sign. Scripts without spaces
between words are compared character by character and searched by pairs of characters, as Lucene's CJKAnalyzer does.
"""

import functools
import itertools
import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence

import regex

from embed_assets.text.languages import SNOWBALL, stop_words

# Scripts that write no space between words, with about this many characters in a word.
_SPACELESS = {r"\p{Han}\p{Hiragana}\p{Katakana}\u30fc": 2, r"\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}": 4}
_RUN = rf"[{''.join(_SPACELESS)}]"
# Korean has spaces, but its words end in particles: pairs of characters find them as well.
PAIRED = rf"[{''.join(_SPACELESS)}\p{{Hangul}}]"


def _compile(pattern: str) -> regex.Pattern:
    """A pattern in which W stands for a letter, mark, digit or _ of a script with spaces, and V for one that is not paired."""
    return regex.compile(pattern.replace("W", rf"[\w--{_RUN}]").replace("V", rf"[\w--{PAIRED}]"), regex.V1)


def _compile_ascii(pattern: str) -> re.Pattern:
    """The same for texts in ASCII, which re reads many times faster."""
    return re.compile(pattern.replace("W", r"\w").replace("V", r"\w"), re.ASCII)


# C++ and C# are words, and so are --no-verify, .NET and %LINK, operators that stand alone, such as => and ::, and what compares.
_SYMBOLIC = r"(?:\+\+|[+#](?!\+|W))"
_OPERATOR = (
    r"(?<![^\s\"'`(\[])(?:[=!]==|<=>|=>|::|:=|\*\*|<<|>>|\|>|[-+*/%&|^]=|\?[?.:](?=\s+\w)|\$[?!@*#$])(?![^\s\"'`)\].,;:?!])"
)
_SPACED_WORD = rf"(?:(?<![\w.])(?:--?|[.%$@/#])(?=W))?W+{_SYMBOLIC}?|{_OPERATOR}|[<>=!~]=|&&|\|\||[<>](?=\s*\.?\d)"
_WORD, _ASCII_WORD = _compile(rf"{_RUN}\p{{M}}*|{_SPACED_WORD}|[≤≥€£¥₹]"), _compile_ascii(_SPACED_WORD)
_SPACED_WHOLE = rf"W+(?:[-.:/]W+)*{_SYMBOLIC}?"
_WHOLE_WORD, _ASCII_WHOLE_WORD = _compile(rf"(?P<run>{_RUN}+)|{_SPACED_WHOLE}"), _compile_ascii(_SPACED_WHOLE)
# Dots within a word do not split it, as in Lucene's standard tokenizer: 3.9.2 is one term.
_SPACED_TERM = r"V+(?:\.V+)*(?:\+\+|#(?!V))?"
_TERM, _ASCII_TERM = _compile(rf"(?P<paired>{PAIRED}+)|{_SPACED_TERM}"), _compile_ascii(_SPACED_TERM)
# With commas of numbers (but not of lists, as 22,80,443, nor in 3.까지, the end of a date in Korean), joiners of Persian and the
# scripts of India, and the mark of abbreviations in Hebrew.
_INNER = (
    r"(?:W|[./%'’״׳\u200c\u200d-](?=W)(?<!\d\.(?=\p{Hangul}))|(?<=(?<![\w,./:])\d{1,3}(?:\.\d{3}){0,4}),(?=\d+\p{L}*(?![\w,]|[./:]\d))"
    r"|(?<=(?<![\w,./:])\d{1,3}(?:,\d{3}){0,4}),(?=\d{3}(?:,\d{3}){0,4}(?!\w|,\d))"
    r'|(?<=\p{Hebrew})"(?=\p{Hebrew}))'
)
_KEYWORD = _compile(rf"(?P<run>{_RUN}+)|(?:(?=[\p{{L}}\p{{N}}])W|%(?=W))(?:{_INNER}*[W--_])?(?:\+\+|#(?!W))?")
_NOT_A_WORD = regex.compile(r"[\d_.]")
_IGNORABLE = regex.compile(r"\p{Default_Ignorable_Code_Point}+")
_ELIDING = frozenset({"ca", "fr", "it"})
_KANA, _THAI, _HAN = (regex.compile(rf"[{script}]") for script in (r"\p{Hiragana}\p{Katakana}", r"\p{Thai}", r"\p{Han}"))
_DOTLESS = frozenset({"az", "tr"})
_WITH_CAPITAL_I = regex.compile(r"\w*I\w*")
# A number or a letter with a full stop, behind which a sentence may go on: der 3. Versuch, 3. madde, 2024. május.
_ORDINAL = regex.compile(r"(?<!\S)(?:\d{1,4}|\p{L})\.$")
LONGEST_ABBREVIATION = 20  # characters
# One that a number follows (art. 5, ст. 15, नं. 7), and one that is all there is of a sentence (Bkz., Réf., д.).
_BEFORE_NUMBER = regex.compile(r"(?<![\p{L}\p{M}])[\p{L}\p{M}]{1,5}\.$")
_ALONE = regex.compile(r"[\p{L}\p{M}.]{1,6}\.|\d{1,4}\.")
# The number of a step within a line (Tür zu. 2. Hahn auf.), of which there is another one; where it ends a part; and 2).
_STEP, _STEP_AT_END = regex.compile(r"(?:^|(?<=[.!?:;]\s))\d{1,2}(?=\.\s)"), regex.compile(r"(?<=[.!?]\s)(\d{1,2})\.\s*$")
_STEP_IN_BRACKETS = regex.compile(r"\d{1,2}\)")
_DATE = regex.compile(r"(?<!\d)\d{4}\. ?\d{1,2}\. ?\d{1,2}\.$")  # of Korean
# Those that a name follows, in small letters, which sentencex does not know.
_BEFORE_NAME = {
    "da": {"jf"},
    "de": {"az", "fa", "hrn"},
    "fr": {"réf"},
    "hi": {"डॉ", "श्री"},
    "nl": {"dhr"},
    "no": {"jf"},
    "pl": {"adw", "prof", "sygn"},
    "pt": {"exma", "exmo", "sra"},
    "ru": {"рис", "ст", "табл", "тов", "ул"},
    "tr": {"av", "bkz"},
    "vi": {"đc", "ths", "tp"},
}
_GERMAN_ORDINAL = regex.compile(
    r"\b(?:d(?:er|ie|as|em|en|es)|am|im|vom|zum|zur|beim|jede[mnrs]?|eine?[mnrs]?)\s\d{1,3}\.$", regex.I
)
# What is asked or called within a sentence of Chinese or Japanese.
_QUOTED_WITHIN = regex.compile(r"[！？!?][」』”’]$")
_SENTENCE_BEFORE_NUMBER = regex.compile(r"(?<=[。！？])(?=\d)")
# A space at a number, another script, a bracket or the sign of repetition ends no clause of Thai and its neighbours.
_CLAUSE_END = regex.compile(
    r"(?<=[\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}--\p{Nd}\u0e2f\u0e46\u0eaf\u0ec6\u17d7])\s+"
    r"(?=[\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}--\p{Nd}\u0e2f\u0e46\u0eaf\u0ec6\u17d7])|(?<=[!?;])\s+",
    regex.V1,
)
_HEBREW_QUOTE = regex.compile(r"(?<=\p{Hebrew})\"(?=\p{Hebrew})")
# Of Japanese: particles behind a word, what ends a noun made of a verb (取り付け, 漏れ, 取り外し), and what ends other words.
_PARTICLES = regex.compile(
    r"(?<=..)(?:[にでとへ][はもの]|(?:から|まで|より)の?|など|です|[はがをにでとものへやか])$|(?<=\p{Han})(?:です|[はがをにでとものへや])$"
)
_OKURIGANA = regex.compile(r"\p{Han}(?:\p{Hiragana}?[きぎちびみりえけげせれめべね]|(?<=\p{Hiragana}\p{Han})[いし])$")
_HIRAGANA = regex.compile(r"(?<=\P{Hiragana})\p{Hiragana}+$")
# Of Korean, behind a name in Latin letters: PS-200을, but not 24시간, LG전자 and 5도, which are words.
_PARTICLE = regex.compile(
    r"(?<=[\p{Latin}\p{Nd}])(?:(?:에서|에게|으로|까지|부터|에|로|와|과|만)(?:[는도의만은]|써)?|[은는이가을를의도나란인]|이나|이?랑|이?라도|이?라는"
    r"|이란|처럼|보다|마다|밖에|입니다|이다|이며|이고)$"
)
# Behind Korean words those alone that hardly any word ends with itself (을 only stands behind a consonant: 늦가을 is a word); and
# what ends a verb, which nobody looks for.
_ENDING_IN_A_VOWEL = "".join(map(chr, range(0xAC00, 0xD7A4, 28)))
_HANGUL_PARTICLE = regex.compile(
    rf"(?<=\p{{Hangul}}{{2}})(?:(?<![받있없않같많닫읽찾넣좋높낮{_ENDING_IN_A_VOWEL}])을|에서|에게|으로|까지|부터)$|(?<=\p{{Hangul}})를$"
)
_KOREAN_VERB = regex.compile(r"\p{Hangul}(?:니다|시오|세요|[하되이](?:며|고|여|면)|[한된]다)$")
_LATIN = regex.compile(r"\p{Latin}")
# Of Turkish and Azerbaijani, behind the apostrophe of a name: İzmir'de, but not Kur'an and O'Reilly.
_ENDING = regex.compile(
    r"(?:l[aeə]r)?(?:[ys]?[ıiuü])?(?:n?[ıiuü]n|[yn]?[ıiuüaeə]|n?[dt][aeə](?:n|ki(?:l[aeə]r)?(?:n?[ıiuüaeə]n?)?)?|y?l[aeə]|[cç][aeə]"
    r"|l[ıiuü](?:[kğ]?[ıiuüaeə]?n?)?|[dt][ıiuü]r)?"
)
_APOSTROPHES = regex.compile(r"['’]")
# NFKC makes letters of these, which would be a part of the word before or after them: Windows™ is Windows, and №7 is 7.
_NO_LETTERS = str.maketrans({"™": "", "℠": "", "№": " "})
_NUKTA = 7  # the combining class of the dots of Hindi's letters for foreign sounds
_WITHOUT_STROKE = str.maketrans({"đ": "d", "ð": "d", "ł": "l", "ø": "o", "ħ": "h", "ŧ": "t", "æ": "ae", "þ": "th"})
_LOOK_ALIKE = str.maketrans("авекмнорстухіαβεζηικμνορτυχ", "abekmhopctyxiabezhikmnoptyx")
_NO_LETTERS_OF_KEYWORDS = _NO_LETTERS | str.maketrans("", "", "ºª")
_APART = re.compile("([\u0e4d\u0ecd])([\u0e48-\u0e4b\u0ec8-\u0ecb]?)([\u0e32\u0eb2])")


def normalize(text: str) -> str:
    """The text with composed letters, without ligatures, full-width forms and invisible characters (NFKC)."""
    return text if text.isascii() else unicodedata.normalize("NFKC", _IGNORABLE.sub("", text).translate(_NO_LETTERS))


def with_vowel_am(text: str) -> str:
    """The text with the vowel am of Thai and Lao as keyboards write it, in one sign: NFKC and many PDFs have it in two."""
    return _APART.sub(lambda found: found[2] + ("\u0e33" if found[3] == "\u0e32" else "\u0eb3"), text)


def fold(text: str) -> str:
    """The text as it is compared: normalized, and without difference of case.

    Digits of all scripts are the same, an i without a dot is an i, œ is oe, as keyboards have it, and vowels that Arabic and
    Hebrew leave out are left out.
    """
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFKC", normalize(text).replace("\u0130", "i").casefold()).translate(_compared())


@functools.cache
def _compared() -> dict[int, str]:
    digits = {place: str(unicodedata.decimal(chr(place))) for place in range(128, 0x20000) if chr(place).isdecimal()}
    points = [*range(0x591, 0x5BE), 0x5BF, 0x5C1, 0x5C2, 0x5C4, 0x5C5, 0x5C7, 0x640, *range(0x64B, 0x653), 0x670]
    return digits | dict.fromkeys(points, "") | {ord("ı"): "i", ord("œ"): "oe", 0x2BC: "'", 0x66B: "."}


def _fold_turkish(text: str) -> str:
    """The text as it is compared in Turkish, with the i without a dot, whose capital is I: the stemmer tells the two apart."""
    return unicodedata.normalize("NFKC", normalize(text).translate({ord("I"): "ı", 0x130: "i"}).casefold())


def plain_letters(term: str) -> str:
    """A folded term as people type it who leave accents out: zawór as zawor, đ as d, फ़ as फ.

    In a name with digits, Cyrillic and Greek letters are the Latin ones that look like them: nobody sees which A40 begins with.
    """
    if term.isascii():
        return term
    apart = unicodedata.normalize("NFD", term).translate(_WITHOUT_STROKE)
    plain = unicodedata.normalize("NFC", "".join(sign for sign in apart if not _is_accent(unicodedata.combining(sign))))
    return plain.translate(_LOOK_ALIKE) if any(map(str.isdigit, plain)) else plain


def _is_accent(combining_class: int) -> bool:
    return 200 <= combining_class <= 240 or combining_class == _NUKTA


def words(text: str) -> list[str]:
    """The folded words of a text, with the symbols that make C++ another word than C#.

    In scripts without spaces each character stands for itself.
    """
    folded = fold(text)
    return (_ASCII_WORD if folded.isascii() else _WORD).findall(folded)


def count_words(text: str) -> int:
    """Number of words; in scripts without spaces estimated from the number of characters."""
    return sum_of_words(words(text))


def sum_of_words(found: Sequence[str]) -> int:
    """Number of words in what ``words`` gave."""
    return math.ceil(sum(map(share_of_a_word, found)))


@functools.lru_cache(maxsize=100_000)
def share_of_a_word(word: str) -> float:
    """1; less for a character of a script without spaces, of which several make a word."""
    for script, characters in _SPACELESS.items():
        if regex.match(f"[{script}]", word):
            return 1 / characters
    return 1.0


def whole_words(text: str) -> list[str]:
    """The folded words of a text, an identifier such as PRT-7719 or 3.9.2 as one; pairs of characters without spaces."""
    folded = fold(text)
    if folded.isascii():
        return _ASCII_WHOLE_WORD.findall(folded)
    found: list[str] = []
    for match in _WHOLE_WORD.finditer(folded):
        found += _pairs(match["run"]) if match["run"] else [match[0]]
    return found


def search_terms(texts: Iterable[str], language: str) -> Iterator[list[str]]:
    """The terms of each text that BM25 counts: folded, without stop words, stemmed; pairs in scripts without spaces.

    Args:
        texts: passages or queries.
        language: ISO 639-1 code; without a stemmer for it (languages.SNOWBALL) words stay as they are.
    """
    stems = _Stems(language)
    folding = _folding(language)
    return ([stem for term in _terms(folding(text)) if (stem := stems[term])] for text in texts)


def _folding(language: str) -> Callable[[str], str]:
    return _fold_turkish if language == "tr" else fold


class _Stems(dict[str, str]):
    """Term → its stem, which is computed once; "" for a stop word."""

    def __init__(self, language: str):
        super().__init__(dict.fromkeys(map(_folding(language), stop_words(language)), ""))
        self._stem = _stemmer(language)

    def __missing__(self, term: str) -> str:
        self[term] = stem = self._stem(term)
        return stem


def _terms(folded: str) -> Iterable[str]:
    return _ASCII_TERM.findall(folded) if folded.isascii() else _terms_of_any_script(folded)


def _terms_of_any_script(folded: str) -> Iterator[str]:
    for match in _TERM.finditer(folded):
        if match["paired"]:
            yield from _pairs(match["paired"])
        else:
            yield match[0]


def _pairs(run: str) -> list[str]:
    """Overlapping pairs of the characters (with their marks); a single one is itself."""
    characters = regex.findall(r"\X", run)
    return [first + second for first, second in itertools.pairwise(characters)] or characters


def _stemmer(language: str) -> Callable[[str], str]:
    """Stems words of the language; what holds a digit, a dot or _ is an identifier, and stays whole."""
    if language not in SNOWBALL:
        return lambda term: term
    import Stemmer

    stem = Stemmer.Stemmer(SNOWBALL[language]).stemWord
    if language == "tr":
        return lambda term: fold(term if _NOT_A_WORD.search(term) else stem(term))
    return lambda term: term if _NOT_A_WORD.search(term) else stem(term)


def keywords(text: str, language: str) -> list[str]:
    """The words of a text as a person would type them, in lower case: whole, in order, with repetitions.

    Scripts without spaces are cut into words by jieba (Chinese) or BudouX (Japanese, Thai); words of one character say too
    little there. In French, Italian and Catalan what stands before an apostrophe is another word. Endings of Turkish and
    particles of Korean, as in İzmir'de, PS-200을 and 볼트를, are no part of it; of Korean, no verbs are taken.
    """
    found: list[str] = []
    plain = unicodedata.normalize("NFKC", text.translate(_NO_LETTERS_OF_KEYWORDS))
    for match in _KEYWORD.finditer(_lower(with_vowel_am(plain), language)):
        if match["run"]:
            found += [word for word in _segmenter(_language_of(match["run"], language))(match["run"]) if len(word) > 1]
        elif not _KOREAN_VERB.search(match[0]):
            found += _without_elision(_without_particle(match[0]), language)
    return found


def _without_particle(word: str) -> str:
    if word.isascii():
        return word
    particle = (_PARTICLE if _LATIN.search(word) else _HANGUL_PARTICLE).search(word)
    return word[: particle.start()] if particle else word


def _lower(text: str, language: str) -> str:
    """The text in small letters; in Turkish I is the capital of an i without a dot, but in foreign words such as IP."""
    text = text.replace("\u0130", "i")
    if language in _DOTLESS and "I" in text:
        text = _WITH_CAPITAL_I.sub(lambda match: match[0] if match[0].isascii() else match[0].replace("I", "ı"), text)
    return text.lower()


def _without_elision(word: str, language: str) -> list[str]:
    parts = _APOSTROPHES.split(word)
    if language in _ELIDING:  # l'eau, but aujourd'hui
        while len(parts) > 1 and len(parts[0]) <= len("lorsqu"):
            parts.pop(0)
        parts = ["'".join(parts)]
    elif language in _DOTLESS:
        parts = parts[:1] if _ENDING.fullmatch("'".join(parts[1:])) else [word]
    elif language != "en":
        parts = [word]
    return [part for part in parts if len(part) > 1]


def _language_of(run: str, language: str) -> str:
    """The language of a run of a script without spaces, which may stand in a text of another one."""
    if _KANA.search(run):
        return "ja"
    if _THAI.search(run):
        return "th"
    return "zh" if language != "ja" and _HAN.search(run) else language


@functools.cache
def _segmenter(language: str) -> Callable[[str], list[str]]:
    """Cuts a run of a script without spaces into words."""
    if language == "ja":
        import budoux

        parser = budoux.load_default_japanese_parser()
        return lambda run: list(map(_japanese_word, parser.parse(run)))
    if language == "th":
        import budoux

        return budoux.load_default_thai_parser().parse
    if language == "zh":
        return _chinese_segmenter()
    return regex.compile(r"\X{2,4}").findall


def _japanese_word(unit: str) -> str:
    """The word of a unit of BudouX, which has its particles or its ending too."""
    word = _PARTICLES.sub("", unit)
    return word if _OKURIGANA.search(word) else _HIRAGANA.sub("", word)


def _chinese_segmenter() -> Callable[[str], list[str]]:
    import logging
    import tempfile

    import jieba

    jieba.setLogLevel(logging.WARNING)
    segmenter = jieba.Tokenizer()
    # Its cache would otherwise be read from, and left in, a folder that everybody can write to.
    with tempfile.TemporaryDirectory() as folder:
        segmenter.tmp_dir = folder
        segmenter.initialize()
    return segmenter.lcut


def sentences(text: str, language: str) -> list[str]:
    """The sentences of a text, by the rules of its language; a line break always ends one.

    Thai and its neighbours end a sentence with a space, and so do clauses.
    """
    return [found for line in text.splitlines() for part in _sentences(line, language) if (found := part.strip())]


def _sentences(line: str, language: str) -> list[str]:
    if language in ("th", "lo", "km", "my"):
        return _CLAUSE_END.split(line)
    from sentencex import segment

    found: list[str] = []
    place = 0
    # The mark of an abbreviation would be taken for the beginning of a quotation.
    for part in segment(language, _HEBREW_QUOTE.sub("״", line)):
        part = line[place : place + len(part)]
        place += len(part)
        if found and (not part.strip() or _goes_on(found[-1].rstrip(), part.strip(), language)):
            found[-1] += part
        else:
            found.append(part)
    if language in ("ja", "zh"):
        found = [sentence for part in found for sentence in _SENTENCE_BEFORE_NUMBER.split(part)]
    _move_steps(line, found)
    return found


def _move_steps(line: str, parts: list[str]) -> None:
    """Move the number of a step from the end of what is before it to the step."""
    steps = set(map(int, _STEP.findall(line)))
    for place in range(len(parts) - 1):
        end = _STEP_AT_END.search(parts[place][-LONGEST_ABBREVIATION:]) if len(steps) > 1 else None
        if end and steps & {int(end[1]) - 1, int(end[1]) + 1}:
            number = parts[place][end.start() - len(end.string) :]
            parts[place], parts[place + 1] = parts[place].removesuffix(number), number + parts[place + 1]


def _goes_on(before: str, part: str, language: str) -> bool:
    """Whether a part of a text goes on with the sentence before it, which seemed to end with an abbreviation or a number."""
    end, first = before[-LONGEST_ABBREVIATION:], part[0]
    if language in ("ja", "zh"):
        return _QUOTED_WITHIN.search(end) is not None
    if not end.endswith("."):
        return False
    if _ORDINAL.search(end) and (first.islower() or (language == "de" and _GERMAN_ORDINAL.search(end))):
        return True
    if language == "ko":  # which has no abbreviations
        return _DATE.search(end) is not None or (first.isdecimal() and end[-2:-1].isdecimal())
    if language == "en":  # whose abbreviations are known, and whose sentences begin with commands
        return False
    abbreviated = _BEFORE_NUMBER.search(end)
    return (
        first.islower()
        or first in "ºª°"
        or (first.isdecimal() and bool(abbreviated or _ORDINAL.search(end)) and not _STEP_IN_BRACKETS.match(part))
        or (language == "hu" and first == "§")
        or _ALONE.fullmatch(before) is not None
        or (
            abbreviated is not None
            and (len(abbreviated[0]) == 2 or abbreviated[0][:-1].lower() in _BEFORE_NAME.get(language, ()))
        )
    )
