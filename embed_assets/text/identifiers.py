"""Identifiers: the bug IDs, versions, flags and error codes of a text."""

import re
from collections.abc import Sequence


def find_identifiers(text: str, patterns: Sequence[str]) -> list[str]:
    """The identifiers in a text, each once, in order of appearance; of two that overlap, the first and longer one."""
    found = [(match.start(), -match.end(), match.group(0)) for pattern in patterns for match in re.finditer(pattern, text)]
    identifiers, end = [], 0
    for start, negative_end, identifier in sorted(found):
        if identifier and start >= end:
            identifiers.append(identifier)
            end = -negative_end
    return list(dict.fromkeys(identifiers))
