"""Documents cut into chunks at headings, paragraphs, sentences and words."""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import lru_cache, partial
from itertools import chain, islice
from typing import TYPE_CHECKING

import polars as pl

from embed_assets.corpus.child_processes import ChildProcesses, end_with_run
from embed_assets.corpus.documents import Document
from embed_assets.corpus.heading_paths import HeadingPaths, fit_path
from embed_assets.corpus.sentence_ends import hide_marks, show_marks
from embed_assets.corpus.settings import ChunkingSettings
from embed_assets.corpus.spans import CHUNK_SCHEMA
from embed_assets.corpus.structure import CHARACTERS_OF_A_PART, Block, Heading, Structure, headings_of_plain_text, read_structure
from embed_assets.in_parallel import MOST_WORKERS, in_order, workers_for
from embed_assets.models.hardware import OutOfMemoryError
from embed_assets.models.token_counts import TokenCounter

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Span = tuple[int, int]
# Documents are chunked together so far: their rows take many times their memory, until they are a table.
CHARACTERS_IN_A_BLOCK = 2**21
# A process takes about two seconds to start.
FEWEST_BLOCKS_OF_A_PROCESS = 4
CHARACTERS_FOR_A_TOKEN = 6
_OPENED = re.compile(r"[ \t>]*(`{3,}|~{3,})")
_BAR = re.compile(r"(?<!\\)\|")
LONGEST_FIRST_CELL = 80  # characters; a longer one is no name of what the row is about
_LONG_LINE = re.compile(r"[^\n]{20000,}")
# Where nothing but the number of characters tells where to cut, the splitter tokenizes a part again for each chunk of it.
_LONG_PART = re.compile(r".{1,10000}(?:\s|\Z)|.{1,2000}", re.DOTALL)


def chunk_documents(
    documents: Iterable[Document], settings: ChunkingSettings, tokenizer: "Tokenizer", room: int | None = None
) -> Iterator[tuple[list[Document], pl.DataFrame]]:
    """Cut documents into chunks, several of them at a time; what was not yet asked for is not held.

    Args:
        documents: documents in Markdown or plain text.
        settings: sizes, in tokens.
        tokenizer: counts the tokens; that of the base model.
        room: what the model reads of a passage, in tokens, prompt and special ones left out; a passage is kept within
            it: chunks leave an eighth of it for the heading path, which is shortened to what is left.

    Yields:
        Documents, in their order, and one row for each chunk of them: ``chunk_id``, ``document_id``, ``start`` and
        ``end`` (character span in the document's text), ``text`` (the span), ``passage`` (what is encoded: title
        and heading path, for a part of a table its column names and of a row its first cell, for one of a fence
        its fences, and the text) and
        ``tokens`` (of the passage).

    Raises:
        OutOfMemoryError: a process that helped was killed.
    """
    blocks = _blocks(documents)
    first = list(islice(blocks, 2 * FEWEST_BLOCKS_OF_A_PROCESS))
    workers = workers_for(MOST_WORKERS) if len(first) == 2 * FEWEST_BLOCKS_OF_A_PROCESS else 1
    blocks = chain(first, blocks)
    del first
    if workers < 2:
        counter = TokenCounter(tokenizer)
        for block in blocks:
            yield block, _chunk_block(block, settings, counter, room)
        return
    with ProcessPoolExecutor(workers, ChildProcesses(), initializer=_begin, initargs=(tokenizer.to_str(),)) as pool:
        try:
            yield from in_order(pool, partial(_chunk_in_process, settings=settings, room=room), blocks, 2 * workers)
        except BrokenProcessPool:
            raise OutOfMemoryError(
                f"one of {workers} processes that cut documents was ended from outside, as the kernel does when memory runs "
                "out: free some memory, or let the run use fewer cores"
            ) from None


def _blocks(documents: Iterable[Document]) -> Iterator[list[Document]]:
    """The documents in order, of so many characters together."""
    block: list[Document] = []
    characters = 0
    for document in documents:
        block.append(document)
        characters += len(document.text)
        if characters >= CHARACTERS_IN_A_BLOCK:
            yield block
            block, characters = [], 0
    if block:
        yield block


_counter_of_process: TokenCounter | None = None


def _begin(configuration: str) -> None:
    """Make a process ready that cuts documents."""
    global _counter_of_process
    from tokenizers import Tokenizer

    end_with_run()
    _counter_of_process = TokenCounter(Tokenizer.from_str(configuration))


def _chunk_in_process(documents: Sequence[Document], settings: ChunkingSettings, room: int | None) -> pl.DataFrame:
    assert _counter_of_process is not None
    return _chunk_block(documents, settings, _counter_of_process, room)


def _chunk_block(
    documents: Sequence[Document], settings: ChunkingSettings, counter: TokenCounter, room: int | None
) -> pl.DataFrame:
    limit = settings.max_tokens
    if room is not None:
        limit = max(8, min(limit, room - (room // 8 if settings.heading_path else 0)))
    cutter = _Cutter(counter, limit, settings.overlap_tokens)
    rows = []
    for document in documents:
        structure = read_structure(document.text) if document.markdown else Structure([], [], [])
        paths = HeadingPaths(document.title, structure.headings)
        for number, (start, end) in enumerate(cutter.cut(document.text, document.markdown, structure)):
            before, after = _around(document.text, structure.blocks, start, end)
            text = document.text[start:end]
            rows.append(
                {
                    "chunk_id": f"{document.document_id}::{number}",
                    "document_id": document.document_id,
                    "start": start,
                    "end": end,
                    "text": text,
                    "passage": cutter.header(before) + text + after,
                    "path": paths.at(start) if settings.heading_path else (),
                }
            )
    return _with_paths(rows, counter, room)


def _with_paths(rows: list[dict], counter: TokenCounter, room: int | None) -> pl.DataFrame:
    """The table of chunks, with each path put in front of its passage, as much of it as there is room for."""
    fit = lru_cache(maxsize=100_000)(lambda path, space: fit_path(path, space, counter.of))
    for row in rows:
        if path := fit(row.pop("path"), None if room is None else room - counter.of(row["passage"])):
            row["passage"] = f"{path}\n{row['passage']}"
        row["tokens"] = counter.of(row["passage"])
    return pl.DataFrame(rows, schema=CHUNK_SCHEMA)


def _around(text: str, blocks: Sequence[Block], start: int, end: int) -> tuple[str, str]:
    """What a chunk needs before and after it: column names if it begins among the rows of a table, a fence that it lacks."""
    before = after = ""
    i = bisect_right(blocks, start, key=lambda block: block.start) - 1
    if i >= 0 and blocks[i].body <= start < blocks[i].closing:
        before = blocks[i].before if blocks[i].after or "\n" in text[start:end] else _own_columns(text, blocks[i], start, end)
    j = bisect_left(blocks, end, key=lambda block: block.start) - 1
    if j >= 0 and max(start, blocks[j].body) < end <= blocks[j].closing:
        after = blocks[j].after
    return before, after


def _own_columns(text: str, table: Block, start: int, end: int) -> str:
    """What stands above a chunk within one row of a table: the row's first cell, and the names of the columns it has cells of."""
    row, row_end = text.rfind("\n", 0, start) + 1, text.find("\n", end, table.end)
    if not text[row:start].strip() and not text[end : row_end if row_end >= 0 else table.end].strip():
        return table.before
    # The bars around a row may be left out, in the names as well as in the row.
    names, outer = _names(table.before), text[row : row + 200].lstrip(" \t>").startswith("|")
    place = start + len(text[start:end]) - len(text[start:end].lstrip())
    place += text[place] == "|" and text[place - 1 : place] != "\\"
    first = max(0, _bars(text, row, place) - outer)
    own = "|".join(names[first : _bars(text, row, end) - outer + (text[end - 1] != "|")]).strip()
    return (_first_cell(text, table, row) if first else "") + (f"| {own} |\n" if own else "")


def _first_cell(text: str, table: Block, row: int) -> str:
    """The first cell of the row that begins there, behind its name: what the row is about. With the second, if it is a number.

    "" if it is long, or says nothing.
    """
    *cells, _ = map(str.strip, _BAR.split(text[row : row + LONGEST_FIRST_CELL].lstrip("> \t").removeprefix("|"), maxsplit=2))
    if not cells or not any(map(str.isalnum, cells[0])):
        return ""
    about = cells[:1] if any(map(str.isalpha, cells[0])) else cells
    named = zip(map(str.strip, _names(table.before)), about, strict=False)
    return ", ".join(f"{name}: {cell}" if name else cell for name, cell in named) + "\n"


@lru_cache(maxsize=8)
def _names(before: str) -> list[str]:
    return _BAR.split(before.strip().lstrip("> \t").removeprefix("|"))


def _bars(text: str, start: int, end: int) -> int:
    """How many cells end there. (A row may have a megabyte: no pattern.)"""
    return text.count("|", start, end) - text.count("\\|", start, end)


def _spans(splitter, text: str, start: int, end: int) -> list[Span]:
    return [(start + offset, start + offset + len(part)) for offset, part in splitter.chunk_indices(text[start:end])]


class _Cutter:
    """Cuts texts into spans of at most ``limit`` tokens, none of which is a heading, a fence or a dash alone."""

    def __init__(self, counter: TokenCounter, limit: int, overlap: int):
        self._limit, self._overlap = limit, min(overlap, limit - 1)
        self._tokenizer, self._tokens = counter.tokenizer, counter.of
        self.header = lru_cache(maxsize=10_000)(self._header)
        self._splitter = lru_cache(maxsize=1000)(self._new_splitter)

    def cut(self, text: str, markdown: bool, structure: Structure) -> list[Span]:
        """The chunks of a text, in order."""
        for start in range(0, len(text), CHARACTERS_OF_A_PART):  # many words at once, not a few whenever some are met
            self._tokens(text[start : start + CHARACTERS_OF_A_PART])
        large = [block for block in structure.blocks if self._tokens(text[block.start : block.end]) > self._limit]
        pieces: list[Span] = []
        place = 0
        shown = hide_marks(text, structure.paragraphs if markdown else None)
        for block in large:
            if block.start >= place:
                pieces += self._split_long(shown, place, block.start, markdown, structure)
                pieces += self._split_block(text, shown, block)
                place = block.end
        pieces += self._split_long(shown, place, len(text), markdown, structure)
        furniture = _furniture(structure) if markdown else headings_of_plain_text(text)
        return self._joined(text, shown, pieces, markdown, furniture)

    def _header(self, before: str) -> str:
        """The names of the columns, of which a very wide table keeps as many as take half of a chunk."""
        encoding = self._tokenizer.encode(before, add_special_tokens=False)
        if len(encoding) <= self._limit // 2:
            return before
        return before[: encoding.offsets[self._limit // 2][0]].rstrip() + "\n"

    def _new_splitter(self, limit: int, overlap: int, markdown: bool):
        from semantic_text_splitter import MarkdownSplitter, TextSplitter

        kind = MarkdownSplitter if markdown else TextSplitter
        return kind.from_callback(lru_cache(maxsize=1000)(partial(self._size, limit)), limit, overlap=overlap)

    def _size(self, limit: int, text: str) -> int:
        """Tokens of a text; of one that is much longer than the limit, those of its beginning, which are too many already.

        The splitter asks whether a text fits, and of most of those that do not, the greater part need not be read.
        """
        enough = CHARACTERS_FOR_A_TOKEN * limit
        cut = text.rfind(" ", 0, enough) if len(text) > enough else 0
        if cut > 0 and (begun := self._tokens(show_marks(text[:cut]))) > limit + 8:
            return begun
        return self._tokens(show_marks(text))

    def _split_long(self, text: str, start: int, end: int, markdown: bool, structure: Structure) -> list[Span]:
        """The spans of the parts of a text, each as _split finds them; no chunk goes over the end of a part, nor does an overlap.

        The splitter's time grows with the square of the elements of a text.
        """
        sizes = self._limit, self._overlap, markdown
        return [span for first, last in structure.parts(text, start, end) for span in self._split(text, first, last, *sizes)]

    def _split(self, text: str, start: int, end: int, limit: int, overlap: int, markdown: bool) -> list[Span]:
        """Spans at headings, paragraphs, sentences and words; long lines apart, in which its time is quadratic."""
        splitter, plain = self._splitter(limit, overlap, markdown), self._splitter(limit, overlap, False)
        found: list[Span] = []
        for line in _LONG_LINE.finditer(text, start, end):
            found += _spans(splitter, text, start, line.start())
            for part in _LONG_PART.finditer(text, line.start(), line.end()):
                found += _spans(plain, text, part.start(), part.end())
            start = line.end()
        return found + _spans(splitter, text, start, end)

    def _split_block(self, text: str, shown: str, block: Block) -> list[Span]:
        """Rows or lines packed into chunks that have room for the column names or the fences.

        A row or a line that is too long is cut as the splitter is shown it (hide_marks).
        """
        lines, place = [], block.start
        for line in text[block.start : block.end].splitlines(keepends=True):
            lines.append((place, place + len(line)))
            place += len(line)
        # The names of the columns stay with the first row, the closing fence with the last line.
        first = next((i for i, (start, _) in enumerate(lines) if start >= block.body), len(lines) - 1)
        last = next((i for i, (start, _) in enumerate(lines) if start >= block.closing), len(lines))
        units = [(block.start, lines[first][1]), *lines[first + 1 : last]]
        if last < len(lines):
            units[-1] = (units[-1][0], block.end)
        room = self._limit - self._tokens(self._header(block.before) + block.after)
        lengths = [self._tokens(text[start:end]) for start, end in units]
        packed: list[Span] = []
        used = room + 1
        for i, ((start, end), length) in enumerate(zip(units, lengths, strict=True)):
            capacity = self._limit if i == 0 else room
            if length > capacity and not block.after:
                size = room - self._tokens(_first_cell(text, block, lines[first][0] if i == 0 else start))
                packed += self._split(shown, start, end, max(size, self._limit // 4), 0, False)
                used = room + 1
            elif length > capacity:
                # There is room for the opening fence, which is no chunk by itself.
                opened = i == 0 and block.after and text[block.body : block.closing].strip()
                if opened and self._tokens(text[start : block.body]) <= self._limit - room:
                    (_, cut), *others = self._split(shown, block.body, end, room, 0, False)
                    packed += [(start, cut), *others]
                else:
                    packed += self._split(shown, start, end, capacity, 0, False)
                used = room + 1
            elif used + length <= room:
                packed[-1] = (packed[-1][0], end)
                used += length
            else:
                packed.append((start, end))
                used = length
        if block.after and packed[-1][0] >= block.closing and block.body < packed[-2][1]:  # any part has room for the fence
            packed[-2:] = [(packed[-2][0], packed[-1][1])]
        # Of a very wide table, pieces of the line below the names of its columns are left over; code may consist of signs.
        is_text = str.strip if block.after else lambda piece: any(map(str.isalnum, piece))
        return [_stripped(text, start, end) for start, end in packed if is_text(text[start:end])]

    def _joined(self, text: str, shown: str, pieces: Sequence[Span], markdown: bool, furniture: Sequence[Span]) -> list[Span]:
        """The pieces, with those that say nothing alone put in front of what follows, or at the end of what is before.

        What is cut again is cut as the splitter is shown it (hide_marks).
        """
        waiting: list[Span] = []
        done: list[Span] = []
        for start, end in pieces:
            # A piece that was cut again may begin after the overlap of the next one.
            first = max(start, done[-1][0]) if done else start
            if not _says_something(text, first, end, furniture):
                waiting.append((first, end))
            elif not waiting:
                done.append((first, end))
            else:
                done += self._joined_to_next(text, shown, waiting, first, end, markdown)
                # What did not fit may be the end of a table or of code.
                waiting = [] if _says_something(text, *done[-1], furniture) else [done.pop()]
        if waiting and done and self._tokens(text[done[-1][0] : waiting[-1][1]]) <= self._limit:
            done[-1] = (done[-1][0], waiting[-1][1])
        elif waiting and (not done or any(character.isalnum() for character in text[waiting[0][0] : waiting[-1][1]])):
            done += self._grouped(text, waiting)
        return done

    def _joined_to_next(self, text: str, shown: str, waiting: Sequence[Span], start: int, end: int, markdown: bool) -> list[Span]:
        *before, last = self._grouped(text, waiting)
        if self._tokens(text[last[0] : end]) <= self._limit:
            return [*before, (last[0], end)]
        fence = _OPENED.match(text, start, end)  # at which the splitter of Markdown would cut; the part gets a closing one
        room = self._limit - self._tokens(text[last[0] : start]) - (self._tokens(fence[1]) if fence else 0)
        if room < max(4, self._limit // 8):
            return [*before, last, (start, end)]
        cut = _spans(self._splitter(room, 0, markdown and fence is None), shown, start, end)[0][1]
        rest = _stripped(text, cut, end)
        return [*before, (last[0], cut), *([rest] if rest[0] < rest[1] else [])]

    def _grouped(self, text: str, pieces: Sequence[Span]) -> list[Span]:
        """Neighbouring pieces, as many in one as the limit allows; the last group is the fullest."""
        groups: list[Span] = []
        for start, end in reversed(pieces):
            if groups and self._tokens(text[start : groups[-1][1]]) <= self._limit * 3 // 4:
                groups[-1] = (start, groups[-1][1])
            else:
                groups.append((start, end))
        return groups[::-1]


def _furniture(structure: Structure) -> list[Span]:
    """Spans that say nothing alone: headings, the names of columns, the lines of fences."""
    headings: list[Heading] = [heading for heading in structure.headings if heading.is_short]
    spans = [(heading.start, heading.end) for heading in headings]
    for block in structure.blocks:
        spans += [(block.start, block.body), (block.closing, block.end)]
    return sorted(spans)


def _says_something(text: str, start: int, end: int, furniture: Sequence[Span]) -> bool:
    place = start
    for i in range(max(0, bisect_right(furniture, (start, start)) - 1), len(furniture)):
        first, last = furniture[i]
        if first >= end:
            break
        if any(character.isalnum() for character in text[place : max(place, first)]):
            return True
        place = max(place, last)
    return any(character.isalnum() for character in text[place:end])


def _stripped(text: str, start: int, end: int) -> Span:
    """The span without the line ends and blanks around it; the indentation of its first line stays."""
    part = text[start:end]
    stripped = part.rstrip()
    first = len(stripped) - len(stripped.lstrip())
    return start + stripped.rfind("\n", 0, first) + 1, start + len(stripped)
