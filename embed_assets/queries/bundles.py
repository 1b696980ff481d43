"""Chunks that belong together, for questions that need several."""

import hashlib
import itertools
import posixpath
import re
from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl

from embed_assets.models.encoders import Encoder
from embed_assets.queries.settings import QuestionsSettings
from embed_assets.text.columns import Texts, identifiers_of, rows_of

MOST_ALIKE = 0.95
MOST_NAMED = 0.1  # an identifier in a larger share of the chunks joins nothing
LINK = re.compile(r"\]\(([^)#?\s]{1,500})")


class Bundles:
    """Finds the chunks to show together with a chunk, near-duplicates left out.

    The ways of belonging together that ``bundle_by`` names take turns; which is first is drawn from the passage, so that
    each has about the same share. Within each, what is most similar comes first.

    Args:
        chunks: the collection's chunks.
        usable: whether each chunk says enough to be shown.
        encoder: the base model.
        settings: how many are shown together at most, and by what.
    """

    def __init__(self, chunks: pl.DataFrame, usable: Sequence[bool], encoder: Encoder, settings: QuestionsSettings):
        self._passages, self._usable, self._settings = chunks["passage"].to_list(), usable, settings
        self._vectors = encoder.encode_passages(self._passages) if settings.most_hops > 1 else None
        self._pools = _Pools(chunks, settings)
        # Each further sample of a chunk asks for them again.
        self._around: dict[int, tuple[int, ...]] = {}

    def around(self, row: int) -> tuple[int, ...]:
        """The rows of the chunks that belong to a chunk, which itself is not among them; as many as there are hops but one."""
        if row not in self._around:
            self._around[row] = self._find(row)
        return self._around[row]

    def _find(self, row: int) -> tuple[int, ...]:
        if self._vectors is None:
            return ()
        similarity = self._vectors @ self._vectors[row]
        similarity[row] = -1
        order = np.argsort(-similarity, kind="stable").tolist()
        place = np.empty(len(order), dtype=int)
        place[order] = np.arange(len(order))
        ways = _turned(self._settings.bundle_by, self._passages[row])
        ranked = [
            (it for it in order if similarity[it] > 0)
            if way == "similar"
            else sorted(self._pools.of(way, row), key=place.__getitem__)
            for way in ways
        ]
        chosen: list[int] = []
        for other in _in_turns(ranked):
            if len(chosen) == self._settings.most_hops - 1:
                break
            alike = self._vectors[[row, *chosen]] @ self._vectors[other] >= MOST_ALIKE
            if other != row and other not in chosen and self._usable[other] and not alike.any():
                chosen.append(other)
        return tuple(chosen)


class _Pools:
    """Which chunks belong to a chunk, by identifiers that both name, by links, or by their document."""

    def __init__(self, chunks: pl.DataFrame, settings: QuestionsSettings):
        self._documents = chunks["document_id"].to_list()
        self._texts = Texts(chunks["text"])
        self._rows_of = rows_of(self._documents)
        self._named: list[list[str]] = []
        self._naming: dict[str, list[int]] = {}
        if "identifier" in settings.bundle_by:
            self._named = list(identifiers_of(chunks, settings.identifiers.all_patterns))
            for row, names in enumerate(self._named):
                for name in names:
                    self._naming.setdefault(name, []).append(row)

    def of(self, way: str, row: int) -> set[int]:
        match way:
            case "identifier":
                naming = [self._naming[name] for name in self._named[row]]
                return {other for rows in naming if len(rows) <= max(2, MOST_NAMED * len(self._texts)) for other in rows} - {row}
            case "link":
                return {other for name in self._linked(row) for other in self._rows_of[name]}
            case _:
                return {*self._rows_of[self._documents[row]]} - {row}

    def _linked(self, row: int) -> set[str]:
        """The other documents of the collection that a chunk links to."""
        folder = posixpath.dirname(self._documents[row])
        targets = {posixpath.normpath(posixpath.join(folder, target)) for target in LINK.findall(self._texts[row])}
        return (targets & self._rows_of.keys()) - {self._documents[row]}


def _turned(ways: Sequence[str], passage: str) -> list[str]:
    first = hashlib.sha256(passage.encode()).digest()[0] % len(ways)
    return [*ways[first:], *ways[:first]]


def _in_turns(lists: Sequence[Iterator[int] | list[int]]) -> Iterator[int]:
    """One of each list, then the next of each; a list that has ended is passed over."""
    return (item for turn in itertools.zip_longest(*lists) for item in turn if item is not None)
