"""The language that a text is in."""

import functools

FEWEST_WORDS_OF_A_LANGUAGE = 5
SURE_OF_THE_LANGUAGE, SURE_ENOUGH = 0.99, 0.9


@functools.cache
def _language_identifier():
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


def differs_in_language(query: str, passage: str, words: int) -> bool:
    """Whether the query is surely in another language than the passage; short ones say too little."""
    if words < FEWEST_WORDS_OF_A_LANGUAGE:
        return False
    language, probability = _language_identifier().classify(query)
    other, sure = _language_identifier().classify(passage)
    # A passage of code and identifiers is of no language.
    return probability >= SURE_OF_THE_LANGUAGE and sure >= SURE_ENOUGH and language != other
