"""Bytes of a text file as text, in whatever encoding it was saved."""

import codecs
import contextlib
import re
import unicodedata
from collections import Counter
from typing import TYPE_CHECKING

from embed_assets.text.tokens import with_vowel_am

if TYPE_CHECKING:
    from webencodings import Encoding

# The longest mark first: that of UTF-32 begins with that of UTF-16.
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# Beginning of a text that its encoding is guessed from, in bytes.
SAMPLE = 1 << 20
# A character of UTF-8 beyond ASCII, or a byte that is part of none.
_BEYOND_ASCII = re.compile(
    rb"([\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3})"
    rb"|([\x80-\xff])"
)
# How the characters of windows-1252 begin in UTF-8.
_OF_WINDOWS_1252, FEWEST_WESTERN = (b"\xc2", b"\xc3", b"\xe2\x80", b"\xe2\x82"), 3
MIXED, TWICE = "utf-8 and windows-1252", "utf-8, encoded twice"
# Runs beyond ASCII, and what the first byte of a character of UTF-8 is in windows-1252.
_RUNS_BEYOND_ASCII, _LEAD_BYTE, FEWEST_TWICE = re.compile(r"[^\x00-\x7f]+"), re.compile("[\u00c2-\u00f4]"), 4
# In a word or beside one, a word of another script, or a sign that stands alone: "Ã¤, Ã¶" and "â€™" only name them, and NESCAFÉ®
# has a sign behind É.
_MEANT = re.compile(
    "(?<=\\w)[\x80-\u017f\u2010-\u2122]|[\x80-\u017f\u2010-\u2122](?=\\w)|[\u0180-\u1fff\u3040-\U0010ffff]{2}"
    "|[\xa1-\xa7\xac\xaf-\xb1\xb6\xb7\xbf\xd7\xf7\u2010-\u2017\u2020-\u2027\u2030-\u2121\u2123-\u2bff\U0001f000-\U0001faff]"
)
# What languages write beyond ASCII: German; French; Spanish; Portuguese; Italian; Catalan; Swedish and Finnish; Danish and
# Norwegian; Icelandic; Dutch; those of windows-1250: Croatian and Slovene; Czech; Slovak; Polish; Hungarian; Romanian; and
# Turkish.
_ALPHABETS = [
    *("äöüß", "àâæçéèêëîïôœùûüÿ", "áéíñóúü", "áâãàçéêíóôõúü", "àèéìíòóùú", "àçéèíïóòúü"),
    *("åäöéšž", "æøåé", "áéíóúýþðæö", "éëïöüáóèê"),
    *("čćđšž", "áčďéěíňóřšťúůýž", "áäčďéíĺľňóôŕšťúýž", "ąćęłńóśźż", "áéíóöőúüű", "âăîșşțţ"),
    "çğıöşü",
]
# A letter beyond ASCII; a sign within a word that is no apostrophe, dot or dash; and one that stands behind no word.
_LETTER = re.compile(
    r"[^\W\x00-\x7fªºµ²³¹]|(?<=[a-z])[^\x00-\x7f\w’‘´·…•§\xad–—×÷\s](?=[a-z])|(?<=[a-z])[‚„†‡ˆ‰‹˜¢¤¬\ufffd](?![a-z])"
)
_CAPITALS = f"[{''.join(filter(str.isupper, map(chr, range(0xC0, 0x180))))}]"
_CAPITAL_BEHIND = re.compile(f"(?<=[a-z]){_CAPITALS}")
_CAPITAL_ALONE = re.compile(rf"(?<!\w){_CAPITALS}(?!\w)")  # © in another encoding
# Of latin-9, which has a euro where windows-1252 has a sign for any currency, and œ and Ÿ in place of fractions.
_OF_LATIN_9 = re.compile(r"\d\s?¤|¤\s?\d|(?<=[A-Za-z])[½¼¾](?=[A-Za-z])")
FEWEST_LETTERS, MOST_FOREIGN = 3, 0.1  # of another encoding
# Encodings that say with escapes what follows: their bytes are those of ASCII.
_ESCAPED = re.compile(rb"\x1b\$[@B]")
_SEVEN_BITS = re.compile(r"(?:csiso-?|iso-?)2022[\w-]*|hz(?:-gb-2312)?|utf-?7", re.IGNORECASE)
# Codecs of Python that are none of a text file, or were tried already.
_NOT_OF_FILES = ("utf", "punycode", "idna", "raw", "unicode", "undefined")
# What nobody sees: colours of a terminal, control characters, soft hyphens, blanks without width (but in scripts that part words
# with them: Thai, Lao, Burmese, Khmer), marks of direction, hidden letters (tags, but in flags, and runs of selectors), and
# joiners between letters that never join.
_CONTROL, _HIDDEN = r"\0-\x08\x0e-\x1b\x7f", r"\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\U000e0000-\U000e007f"
_BLANK, _BLANK_PARTS_WORDS = r"\u200b", r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
_JOINERS, _SELECTORS = r"\u200c\u200d", r"\ufe00-\ufe0f\U000e0100-\U000e01ef"
_MAY_BE_UNSEEN = re.compile(rf"[{_CONTROL}\x80-\x9f\xad{_BLANK}{_HIDDEN}{_JOINERS}{_SELECTORS}]")
_UNSEEN = re.compile(
    r"(\U0001f3f4[\U000e0020-\U000e007e]+\U000e007f)"
    r"|\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b\n]*(?:\x07|\x1b\\)|[()*+][0-9A-Z])"
    r"|\xad(?:[ \t]*\r?\n[ \t]*(?=[^\W\d_]))?"
    rf"|[{_CONTROL}{_HIDDEN}]|[{_SELECTORS}]{{2,}}"
    rf"|{_BLANK}(?![{_BLANK_PARTS_WORDS}])(?:(?<![{_BLANK_PARTS_WORDS}]{_BLANK})|(?!\w))"
    rf"|(?<=[!-\u024f])[{_JOINERS}]+(?=[!-\u024f])"
)
_STRUCK_OVER = re.compile(r"[^\n\x08]\x08")
_CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1a]")
MOST_CONTROLS = 0.01
A_FEW = 2  # of them are no reason to lose a short text
# The control characters that UTF-8 makes of windows-1252 read as latin-1; U+0085 ends a line.
_C1 = {byte: bytes([byte]).decode("windows-1252", "replace") for byte in range(0x80, 0xA0) if byte != 0x85}
# Letters and digits as wide as a Chinese character, and what joins them to names.
_WIDE, _WIDE_MARKS = r"\uff10-\uff19\uff21-\uff3a\uff41-\uff5a", r"\uff0d\uff0e\uff0f\uff3f"
_HYPHENS = dict.fromkeys("\u2010\u2011\u2212", "-")
_UNLIKE_KEYBOARDS = re.compile(rf"[\u2010\u2011]|[{_WIDE}]+|(?<=[0-9A-Za-z{_WIDE}])[\u2212{_WIDE_MARKS}](?=[0-9A-Za-z{_WIDE}])")


def _as_latin_1(error: UnicodeError) -> tuple[str | bytes, int]:
    """Bytes that windows-1252 leaves open are control characters, as in browsers."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return error.object[error.start : error.end].encode("latin-1"), error.end


codecs.register_error("as_latin_1", _as_latin_1)


class BinaryDataError(ValueError):
    """The bytes are no text."""


def byte_order_mark(content: bytes) -> tuple[bytes, str] | None:
    """The byte order mark that a file begins with, and the encoding that it stands for; the first four bytes will do."""
    return next((it for it in _BYTE_ORDER_MARKS if content.startswith(it[0])), None)


def decode(content: bytes, declared: str | None = None) -> tuple[str, str]:
    """The text of a file, and the encoding that it was read in ("" for UTF-8).

    A byte order mark decides, then UTF-8 if the bytes are valid, or most of what is beyond ASCII is (parts of several
    files, one after another), then what the file says of itself, then a guess by chardetng, which is what Firefox asks
    for pages that say nothing. Labels mean what browsers take them for (https://encoding.spec.whatwg.org): latin-1 is
    windows-1252. Bytes that stand for nothing become U+FFFD.

    Raises:
        BinaryDataError: the bytes are no text.
    """
    import webencodings
    from chardetng_py import detect

    if marked := byte_order_mark(content):
        mark, encoding = marked
        return _checked(content[len(mark) :].decode(encoding, "replace")), "" if encoding == "utf-8" else encoding
    if wide := _without_mark(content):
        return _checked(content.decode(wide, "replace")), wide
    if narrow := _of_seven_bits(content, declared or ""):
        return narrow
    try:
        text = content.decode()
    except UnicodeDecodeError:
        pass
    else:
        once = _encoded_twice(text)
        return (_checked(text), "") if once is None else (_checked(once), TWICE)
    label = webencodings.lookup(declared or "") or _known_to_python(declared or "")
    if label is not None and label.name == "utf-8" and len(_wrong(content)) * 100 < len(content):
        return _checked(content.decode(errors="replace")), ""
    if _mostly_utf8(content[:SAMPLE]):
        return _checked(_decode_mixed(content)), MIXED
    if label is None or label.name in ("utf-8", "utf-16le", "utf-16be"):
        guess = detect(content[:SAMPLE], allow_utf8=False)
        label = webencodings.lookup(guess) or _known_to_python(guess) or webencodings.lookup("windows-1252")
    text, name = label.codec_info.decode(content, "replace")[0], label.name
    if name in ("windows-1252", "windows-1250") and declared is None:
        text, name = _before_windows(content, text, name)
    return _checked(text), name


def _encoded_twice(text: str) -> str | None:
    """The text that was saved as UTF-8, read as windows-1252 and saved again (Ã¶ for ö); None: it was not."""
    first = _RUNS_BEYOND_ASCII.search(text)
    if first is None or not _LEAD_BYTE.match(first[0]):
        return None
    with contextlib.suppress(UnicodeError):
        once = _RUNS_BEYOND_ASCII.sub(lambda found: found[0].encode("windows-1252", "as_latin_1").decode(), text)
        many = sum(map(len, _RUNS_BEYOND_ASCII.findall(text))) >= FEWEST_TWICE
        return once if many and _MEANT.search(once) else None
    return None


def _before_windows(content: bytes, text: str, name: str) -> tuple[str, str]:
    """The text of a file of DOS or an old Macintosh, whose letters windows-1252 takes for signs and those of no one language.

    Or of latin-9.
    """
    if name == "windows-1252" and _OF_LATIN_9.search(text) and not re.search(rb"[\x80-\x9f]", content):
        return content.decode("iso8859-15"), "iso8859-15"
    own, foreign, _ = _letters(text)
    best = None
    for other in ("cp850", "mac_roman", "cp852", "cp857") if foreign >= max(2, own) else ():
        once = content.decode(other, "replace")
        own, foreign, alphabet = _letters(once)
        rank = (own - foreign, -alphabet)  # a long alphabet fits more by chance
        if own >= FEWEST_LETTERS and foreign <= MOST_FOREIGN * own and (best is None or rank > best):
            best, text, name = rank, once, other
    return text, name


def _letters(text: str) -> tuple[int, int, int]:
    """How many letters beyond ASCII are of the language that they fit best, how many are not, and how many letters it has."""
    within_words = _CAPITAL_ALONE.sub("", _CAPITAL_BEHIND.sub("\ufffd", text[:SAMPLE]))
    found = Counter(_LETTER.findall(within_words.lower()))
    own, size = max((sum(found[letter] for letter in alphabet), -len(alphabet)) for alphabet in _ALPHABETS)
    return own, found.total() - own, -size


def _mostly_utf8(content: bytes) -> bool:
    """Whether there are characters of UTF-8 beyond ASCII, twice as many as bytes that are none: elsewhere that hardly happens.

    Of those that windows-1252 has too, as many are enough.
    """
    valid = wrong = western = 0
    for match in _BEYOND_ASCII.finditer(content):
        valid, wrong = valid + (match[1] is not None), wrong + (match[2] is not None)
        western += match[1] is not None and match[1].startswith(_OF_WINDOWS_1252)
    return valid >= max(1, 2 * wrong) or (western == valid >= max(FEWEST_WESTERN, wrong))


def _decode_mixed(content: bytes) -> str:
    """The bytes as UTF-8, those that are no part of a character as windows-1252."""

    def mended(match: re.Match[bytes]) -> bytes:
        return match[1] or match[2].decode("windows-1252", "replace").encode()

    return _BEYOND_ASCII.sub(mended, content).decode(errors="replace")


def _wrong(content: bytes) -> str:
    return "".join(character for character in content.decode(errors="replace") if character == "\ufffd")


def _of_seven_bits(content: bytes, declared: str) -> tuple[str, str] | None:
    """Text in ISO-2022-JP, as Japanese mails are, or in another such encoding that a mail or page says it is in."""
    for encoding in filter(
        None, [declared if _SEVEN_BITS.fullmatch(declared) else "", _ESCAPED.search(content) and "iso2022_jp"]
    ):
        with contextlib.suppress(LookupError, ValueError):
            return _checked(content.decode(encoding)), codecs.lookup(encoding).name
    return None


def _known_to_python(declared: str) -> "Encoding | None":
    """An encoding that browsers do not know by this name, such as cp874 or mac_cyrillic."""
    from webencodings import Encoding

    with contextlib.suppress(LookupError, ValueError):
        found = codecs.lookup(declared)
        # There are codecs for compressed bytes and the like as well.
        if getattr(found, "_is_text_encoding", False) and not found.name.startswith(_NOT_OF_FILES):
            return Encoding(found.name, found)
    return None


def _without_mark(content: bytes) -> str | None:
    """UTF-16 without its mark: it has zero bytes, of blanks and line ends at least, and only one order makes words of it."""
    sample = content[: min(len(content), 4096) // 2 * 2]
    if len(sample) < 8 or len(content) % 2 or b"\0" not in sample:
        return None
    return next((encoding for encoding in ("utf-16-le", "utf-16-be") if _is_prose(sample, encoding)), None)


def _is_prose(sample: bytes, encoding: str) -> bool:
    """Whether the bytes are letters for the most part, with blanks or line ends between them, and nothing unassigned."""
    try:
        text = codecs.getincrementaldecoder(encoding)().decode(sample)
    except UnicodeDecodeError:
        return False
    kinds = Counter(unicodedata.category(character) for character in text if character not in "\t\r\n")
    letters = sum(number for kind, number in kinds.items() if kind[0] in "LMN")
    spaced = sum(map(text.count, " \r\n"))
    return not kinds.keys() & {"Cn", "Co", "Cs", "Cc"} and letters > 0.5 * kinds.total() and spaced > 0


def _checked(text: str) -> str:
    text = text.rstrip("\0\x1a")  # what a crash, and DOS, left at the end of a file
    if is_binary(text[:SAMPLE]):
        raise BinaryDataError("binary data")
    text = text.replace("\0", "")  # a few are what a crash or another program left in a text
    return with_newlines(text)


def with_newlines(text: str) -> str:
    """The text whose lines end as those of Unix do, and not as those of Windows or of old Macintoshes."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def is_binary(text: str) -> bool:
    """Whether more than A_FEW characters, and one in a hundred, are control characters that no text has."""
    text = _STRUCK_OVER.sub("", text) if "\b" in text else text
    return len(_CONTROLS.findall(text)) > max(A_FEW if re.search(r"\w{2}", text) else 0, MOST_CONTROLS * len(text))


def composed(text: str) -> str:
    """The text in Unicode's composed form (NFC), without what nobody sees in it and halves of surrogate pairs.

    Hyphens are the one of keyboards, and so are the full-width letters of Chinese and Japanese: a name with them, or with a
    hyphen that forbids a line break, is found like any other.
    """
    if _MAY_BE_UNSEEN.search(text):
        text = _UNSEEN.sub(lambda match: match[1] or "", _STRUCK_OVER.sub("", text)).translate(_C1)
    if not text.isascii():
        text = with_vowel_am(unicodedata.normalize("NFC", text.encode("utf-8", "replace").decode()))
        text = _UNLIKE_KEYBOARDS.sub(lambda found: _HYPHENS.get(found[0]) or unicodedata.normalize("NFKC", found[0]), text)
    return text
