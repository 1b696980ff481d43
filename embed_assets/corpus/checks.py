"""What can be wrong with documents and chunks."""

from embed_assets.artifacts.checks import Check, Finding
from embed_assets.text.languages import is_supported

MOST_DUPLICATES = 0.05
MOST_SKIPPED = 0.1

CORPUS_CHECKS = {
    "distinct_chunks": Check(f"At most {MOST_DUPLICATES:.0%} of the chunks repeat the text of another one."),
    "documents_read": Check(f"At most {MOST_SKIPPED:.0%} of the source files or rows were skipped."),
    "language_supported": Check("Words of the documents' language are found in other forms as well."),
}


def check_corpus(chunks: int, texts: int, language: str, documents: int, skipped: int) -> list[Finding]:
    """distinct_chunks, documents_read and language_supported.

    Args:
        chunks: how many there are.
        texts: how many different ones.
        language: of the collection.
        documents: files or rows that were read.
        skipped: files or rows that were not.
    """
    repeated = chunks - texts
    sources = documents + skipped
    return [
        Finding(
            "distinct_chunks",
            repeated <= MOST_DUPLICATES * chunks,
            f"{repeated} of {chunks} chunks repeat the text of another one",
        ),
        Finding("documents_read", skipped <= MOST_SKIPPED * sources, f"{skipped} of {sources} source files or rows were skipped"),
        _judge_language(language),
    ]


def _judge_language(language: str) -> Finding:
    supported = is_supported(language)
    without = "" if supported else ", for which there is no stemmer: words are found only as they are written"
    return Finding(
        "language_supported", supported, f"the language of the documents is {language!r}{without} (documents.language)"
    )
