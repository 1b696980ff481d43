"""Vectors of texts that a model knows nothing of."""

from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, models, pre_tokenizers

from embed_assets.models.encoders import Encoder
from embed_assets.models.hardware import Compute
from embed_assets.models.settings import BaseModelSettings


def test_a_text_without_a_known_word_is_like_no_other(tmp_path: Path):
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, "pump": 1, "filter": 2}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    static = StaticEmbedding(tokenizer, embedding_weights=np.eye(3, 4, k=-1, dtype=np.float32))
    SentenceTransformer(modules=[static], device="cpu").save_pretrained(str(tmp_path / "static"))
    encoder = Encoder(BaseModelSettings(name=str(tmp_path / "static")), tmp_path / "memos", compute=Compute("cpu"))
    vectors = encoder.encode_passages(["pump", "日本 ✓", "filter"])
    assert (vectors @ vectors.T).tolist() == [[1, 0, 0], [0, 0, 0], [0, 0, 1]]
