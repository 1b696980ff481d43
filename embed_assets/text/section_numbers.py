"""The numbers that count the sections of a document: 3, 3.2 and A.1 in front of its headings. They identify nothing."""

import re
from collections.abc import Collection, Iterable, Sequence

from embed_assets.text.identifiers import find_identifiers

# What stands before the number of a section; Windows and Error do not.
WORDS = (
    "(?:Step|Chapter|Section|Part|Appendix|Annex|Option|Phase|Lesson|Module|Schritt|Kapitel|Abschnitt|Teil|Anhang|Étape|Chapitre"
    "|Partie|Annexe|Paso|Capítulo|Parte|Passo|Capitolo)"
)
# 3.2 Care, B. Care, Chapter 4: Storage, Appendix A Parts, but not A pump, nor 404 Not found
NUMBERED = re.compile(rf"(?:(?i:{WORDS}) (?=[A-Z\d])|(?![A-Z]\s))((?:[A-Z]|\d{{1,2}})(?:\.\d{{1,3}})*)[.:)]?\s+(?=\S)")
_HEADING = re.compile(r"^#{1,6}[ \t]+(.{1,200})", re.MULTILINE)


def section_numbers(documents: Iterable[str], passages: Iterable[str]) -> dict[str, set[str]]:
    """Document → the numbers of its sections, for those that have any.

    3.2 counts a section where another one has the number 3, and 3 or B where one has the number before or after. So the
    versions in the headings of release notes are none.

    Args:
        documents: the id of each passage's document.
        passages: with the heading path in the first line, and headings in Markdown.
    """
    found: dict[str, set[str]] = {}
    for document, passage in zip(documents, passages, strict=True):
        path = passage[: passage.find("\n")] if "\n" in passage else ""
        for heading in (*path.split(" > "), *_HEADING.findall(passage)):
            if number := NUMBERED.match(heading):
                found.setdefault(document, set()).add(number[1])
    counted = {document: {number for number in numbers if _is_counted(number, numbers)} for document, numbers in found.items()}
    return {document: numbers for document, numbers in counted.items() if numbers}


def _is_counted(number: str, numbers: set[str]) -> bool:
    parent, _, last = number.rpartition(".")
    if parent:
        return parent in numbers
    beside = (str(int(last) - 1), str(int(last) + 1)) if last.isdecimal() else (chr(ord(last) - 1), chr(ord(last) + 1))
    return not numbers.isdisjoint(beside)


def identifiers_in(text: str, patterns: Sequence[str], numbers: Collection[str]) -> list[str]:
    """What find_identifiers finds, but for the numbers of the document's sections."""
    return [name for name in find_identifiers(text, patterns) if name not in numbers]


def without_number(heading: str, numbers: set[str]) -> str:
    """The heading without the number in front of it, if that counts a section: nobody types it."""
    number = NUMBERED.match(heading)
    return heading[number.end() :] if number and number[1] in numbers else heading
