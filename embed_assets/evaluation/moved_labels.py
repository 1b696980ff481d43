"""Where the text of a label is, after its document was edited."""

# A window of the document with at least this share of the label's characters in place, in percent, is its text.
LEAST_ALIKE = 80.0


def follow(text: str, start: int, document: str) -> tuple[int, int] | None:
    """The span of a text in a document: where it was, where it moved to, or where it has changed a little.

    Args:
        text: the labelled text.
        start: where it began.
        document: as it is now.

    Returns:
        Start and end (exclusive), in characters; None where nothing in the document is like it.
    """
    if document[start : start + len(text)] == text:
        return start, start + len(text)
    # An edit seldom moves a text far: of several places the nearest is taken, and what is like it is looked for there first.
    if (place := _nearest(text, start, document)) is not None:
        return place, place + len(text)
    near = max(0, start - len(text))
    for offset, window in ((near, document[near : start + 2 * len(text)]), (0, document)):
        if (span := _most_alike(text, window)) is not None:
            return offset + span[0], offset + span[1]
    return None


def _nearest(text: str, start: int, document: str) -> int | None:
    """Where a text begins in a document, of several places that which is nearest to its old one; None where it is nowhere."""
    places = (document.rfind(text, 0, start + len(text)), document.find(text, start))
    return min((place for place in places if place >= 0), key=lambda place: abs(place - start), default=None)


def _most_alike(text: str, window: str) -> tuple[int, int] | None:
    from rapidfuzz.fuzz import partial_ratio_alignment, ratio

    if not window.strip() or len(window) < len(text) / 2:
        return None
    # A window that is shorter than the text would be looked for in it: then the two are compared as a whole.
    if len(window) <= len(text):
        return (0, len(window)) if ratio(text, window, score_cutoff=LEAST_ALIKE) else None
    found = partial_ratio_alignment(text, window, score_cutoff=LEAST_ALIKE)
    return (found.dest_start, found.dest_end) if found is not None and found.dest_end > found.dest_start else None
