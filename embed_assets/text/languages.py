"""The language that texts are in, and what is known of it: its stemmer, its stop words, its name in LanceDB."""

import functools
from collections import defaultdict
from collections.abc import Sequence

ENGLISH = "en"
# As Lucene has them.
ENGLISH_STOP_WORDS = frozenset(
    (
        *("a", "an", "and", "are", "as", "at", "be", "but", "by", "for", "if", "in", "into", "is", "it", "no", "not", "of", "on"),
        *("or", "such", "that", "the", "their", "then", "there", "these", "they", "this", "to", "was", "will", "with"),
    )
)
FEWEST_WORDS_OF_A_LANGUAGE = 5
FEWEST_LETTERS_TO_BE_SURE = 60
SURE_OF_THE_LANGUAGE = 0.99
NO_LANGUAGE = "zxx"  # code and the like
# Varieties that the identifier tells from the language that they are written as: much of traditional Chinese is Cantonese to it.
_WRITTEN_AS = {"yue": "zh", "wuu": "zh", "arz": "ar", "ary": "ar", "hbo": "he", "grc": "el", "uzs": "uz"}
MOST_TEXTS_LOOKED_AT, LONGEST_TEXT = 200, 2000
# Written without spaces between words: found by pairs of characters, so that no stemmer is missed.
SPACELESS = frozenset({"zh", "ja", "th", "lo", "km", "my"})
# ISO 639-1 code → Snowball's name of the language, which is that of the list of stop words as well, where there is one.
SNOWBALL = {
    "ar": "arabic",
    "ca": "catalan",
    "cs": "czech",
    "da": "danish",
    "de": "german",
    "el": "greek",
    "en": "english",
    "es": "spanish",
    "et": "estonian",
    "eu": "basque",
    "fa": "persian",
    "fi": "finnish",
    "fr": "french",
    "ga": "irish",
    "hi": "hindi",
    "hu": "hungarian",
    "hy": "armenian",
    "id": "indonesian",
    "it": "italian",
    "lt": "lithuanian",
    "ne": "nepali",
    "nl": "dutch",
    "no": "norwegian",
    "pl": "polish",
    "pt": "portuguese",
    "ro": "romanian",
    "ru": "russian",
    "sr": "serbian",
    "sv": "swedish",
    "ta": "tamil",
    "tr": "turkish",
    "yi": "yiddish",
}
# Norwegian has three codes.
SNOWBALL |= {"nb": "norwegian", "nn": "norwegian"}
_MORE_STOP_WORDS = {"bg": "bulgarian", "gu": "gujarati", "he": "hebrew", "ja": "japanese", "ko": "korean", "ms": "malaysian"}
_MORE_STOP_WORDS |= {"sk": "slovak", "uk": "ukrainian", "vi": "vietnamese", "zh": "chinese"}
# What the package lacks: questions of Arabic, modern Greek, and Romanian with its letters.
_OWN_STOP_WORDS = {
    "ar": ("هل ماذا كيف متى أين لماذا قد لقد كما ثم كل أي لدى عندما"),
    "el": (
        "αν από απο αυτά αυτές αυτή αυτής αυτό αυτοί αυτός αυτού αυτών για δε δεν δηλαδή δια εάν εδώ εκεί ένα "
        "έναν ένας ενός επί έτσι έχει έχετε έχουν έως ή η θα ίδια ίδιο και κάθε κάποια κάποιο κάποιος κατά κι λόγω "
        "μας με μέσα μετά μέχρι μη μην μία μια μόνο μπορεί να ναι ξανά ο οι όλα όλες όλοι όλο όπου όπως όσο όταν "
        "ότι όχι παρά περί ποια ποιες ποιο ποιοι ποιος πολύ που πού πρέπει πριν προς πώς πως σαν σας σε στα στη "
        "στην στις στο στον στους συν σύμφωνα τα τη την της τι τις το τον του τους των ώστε χωρίς είναι ήταν ως "
        "αλλά"
    ),
    "ro": (
        "și în să că dacă până fără după când într însă către câte cât atât ați ești îi îl își lângă mâine niște "
        "noștri nouă această același aceeași cărei cărui încât înainte totuși numește"
    ),
}
# Of scripts without spaces, whose pairs of characters need no such list: they are no keywords.
_OWN_WORDS_WITHOUT_MEANING = {
    "ja": (
        "こと とき ため もの ところ ほか ほど うち あと まま よう など なお また および または すべて それぞれ さらに ただし "
        "ある いる なる する できる ない いずれ 場合 以上 以下 以内 以外 以降 "
        "さん ください 基づき これら ついて において により によって における に対して として"
    ),
    "th": (
        "กับ การ ก็ ก่อน ของ ขึ้น ขณะ ข้าง คือ ความ จะ จาก จึง ซึ่ง ด้วย ดัง ต้อง ตั้งแต่ ตาม แต่ ต่อ ต่าง ถ้า ถึง "
        "ถูก ทั้ง ทาง ที่ ทุก ทำ ทำให้ นั้น นี้ นอก ใน บาง เป็น เป็นต้น เพื่อ เพราะ ไป มา มาก มี เมื่อ ไม่ ยัง "
        "เรื่อง และ แล้ว ว่า ส่วน ส่ง สามารถ หรือ หาก ให้ ได้ อยู่ อย่าง อาจ อีก เอง โดย โดยเฉพาะ กรุณา ควร ครั้ง "
        "เช่น เข้า ลง ออก ไว้"
    ),
}
# Those that LanceDB's full-text search can stem.
_IN_LANCEDB = (
    "ar",
    "da",
    "de",
    "el",
    "en",
    "es",
    "fi",
    "fr",
    "hu",
    "it",
    "nb",
    "nl",
    "nn",
    "no",
    "pt",
    "ro",
    "ru",
    "sv",
    "ta",
    "tr",
)


def find_language(texts: Sequence[str]) -> str:
    """The ISO 639-1 code of the language that most of the texts are in; English where nothing tells.

    At most MOST_TEXTS_LOOKED_AT texts, spread evenly, are looked at. Each votes with its letters and with how sure it is:
    tables of identifiers hardly count, and code and logs, which are of no language, do not count at all.
    """
    votes: dict[str, float] = defaultdict(float)
    for text in texts[:: -(-len(texts) // MOST_TEXTS_LOOKED_AT) or 1]:
        part = text[:LONGEST_TEXT]
        if letters := sum(map(str.isalpha, part)):
            language, probability = _classify(part)
            if len(language) == 2:  # neither NO_LANGUAGE nor a pidgin of English
                votes[language] += letters * probability
    return min(votes, key=lambda language: (-votes[language], language)) if votes else ENGLISH


def name_of(language: str) -> str:
    """The English name of a language, as in "German"; "" where only its code is known."""
    return (SNOWBALL | _MORE_STOP_WORDS).get(language, "").capitalize()


def same_language(one: str, other: str) -> bool:
    """Whether two codes name the same language, as those of Norwegian do."""
    return one == other or name_of(one) == name_of(other) != ""


def is_supported(language: str) -> bool:
    """Whether words of the language are found in other forms as well; else only as they are written."""
    return language in SNOWBALL or language in SPACELESS or language == "ko"


@functools.cache
def stop_words(language: str) -> frozenset[str]:
    """Words that say nothing, in lower case: those of Lucene for English, else those of the package stop-words."""
    return ENGLISH_STOP_WORDS if language == ENGLISH else _long_list(language)


@functools.cache
def words_without_meaning(language: str) -> frozenset[str]:
    """The longer list of stop words, in lower case: none of them is a keyword."""
    if language == ENGLISH:
        from sklearn.feature_extraction import text

        return text.ENGLISH_STOP_WORDS
    return _long_list(language).union(_OWN_WORDS_WITHOUT_MEANING.get(language, "").split())


def _long_list(language: str) -> frozenset[str]:
    from stop_words import StopWordError, get_stop_words

    own = _OWN_STOP_WORDS.get(language, "").split()
    try:
        listed = get_stop_words(SNOWBALL.get(language) or _MORE_STOP_WORDS.get(language, language))
    except StopWordError:
        listed = []
    words = {word.strip('",').lower() for word in (*listed, *own)}  # those of Hebrew stand in quotes
    if language == "ar":  # listed without the hamza that most write: الى for إلى
        words |= {hamza + word[1:] for word in words if word.startswith("ا") for hamza in "أإ"}
    return frozenset(words - {""})


def full_text_options(language: str) -> dict[str, object]:
    """How LanceDB's full-text index takes the words of the language: arguments of lancedb.index.FTS.

    Scripts without spaces are cut into words by ICU's dictionaries, and Korean, whose words end in particles, into pairs of
    characters. Other languages are stemmed as far as LanceDB can. Words are found without their accents, too.
    """
    if language == "ko":
        return {
            "base_tokenizer": "ngram",
            "ngram_min_length": 2,
            "ngram_max_length": 2,
            "stem": False,
            "remove_stop_words": False,
        }
    if language in SPACELESS or language not in _IN_LANCEDB:
        return {"base_tokenizer": "icu", "stem": False, "remove_stop_words": False}
    return {"language": SNOWBALL[language].capitalize()}


@functools.cache
def _language_identifier():
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


def _classify(text: str) -> tuple[str, float]:
    """The code of the language that a text is most likely in, and how likely it is."""
    likely: dict[str, float] = defaultdict(float)
    for language, probability in _language_identifier().rank(text):
        likely[_WRITTEN_AS.get(language, language)] += probability
    return max(likely.items(), key=lambda one: (one[1], one[0]))


def sure_language(text: str) -> str | None:
    """The ISO 639-1 code of the language that a text is surely in; None where it is short, or hardly of any language.

    Of 12,000 passages of English documentation, tables and code among them, this takes none for another language.
    """
    part = text[:LONGEST_TEXT]
    if sum(map(str.isalpha, part)) < FEWEST_LETTERS_TO_BE_SURE:
        return None
    language, probability = _classify(part)
    return language if probability >= SURE_OF_THE_LANGUAGE and language != NO_LANGUAGE else None


def differs_in_language(query: str, language: str, words: int) -> bool:
    """Whether the query is surely in another language than this one, an ISO 639-1 code; short ones say too little."""
    if words < FEWEST_WORDS_OF_A_LANGUAGE:
        return False
    found, probability = _classify(query)
    return probability >= SURE_OF_THE_LANGUAGE and not same_language(found, language)
