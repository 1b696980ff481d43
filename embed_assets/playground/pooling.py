"""The first documents of all systems, in an order that does not tell which system found them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from embed_assets.playground.systems import Answer

DEPTH = 10


@dataclass(frozen=True)
class Pooled:
    """A document that is judged, its passages that were found, and what a person has said of it (None: nothing)."""

    document_id: str
    passages: list[str]
    mark: int | None


def pool(query: str, answers: Sequence[Answer], marks: Mapping[str, int], depth: int = DEPTH) -> list[Pooled]:
    """The union of the first documents of several systems (pooling, as TREC does it), and those that were marked before.

    Whoever judges must not see what a system thinks, so the order is that of a hash.

    Args:
        query: the query.
        answers: what the systems found, best first.
        marks: document id → relevance, of those that are judged already.
        depth: how many documents of each system.
    """
    passages: dict[str, dict[str, None]] = {document_id: {} for document_id in marks}
    for answer in answers:
        first = list(dict.fromkeys(hit.document_id for hit in answer.hits))[:depth]
        for hit in answer.hits:
            if hit.document_id in first:
                passages.setdefault(hit.document_id, {})[hit.passage] = None
    names = sorted(passages, key=lambda name: sha256(f"{query}\0{name}".encode()).digest())
    return [Pooled(name, list(passages[name]), marks.get(name)) for name in names]
