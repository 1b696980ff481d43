"""Embedding models with random weights of the architectures that people fine-tune: two layers, 32 dimensions."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerFast

HIDDEN = 32
SIZES = {"hidden_size": HIDDEN, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
TEXTS = [
    "The pump of PX-7 is made of brass and has a long warranty of nine years.",
    "Oak is wood. Part 12 is made of slate and lies on shelf 84.",
    "How is the bearing greased? Every three months, when the machine is cold.",
]
LLAMA_CODE = """
from transformers import LlamaConfig, LlamaModel


class LlamaBidirectionalConfig(LlamaConfig):
    model_type = "llama_bidirectional"


class LlamaBidirectionalModel(LlamaModel):
    config_class = LlamaBidirectionalConfig

    def __init__(self, config):
        super().__init__(config)
        for layer in self.layers:
            layer.self_attn.is_causal = False

    def forward(self, input_ids=None, attention_mask=None, **kwargs):
        count, length = input_ids.shape
        mask = attention_mask[:, None, None, :].bool().expand(count, 1, length, length)
        return super().forward(input_ids=input_ids, attention_mask=mask, use_cache=False)
"""


def _bert() -> tuple["PretrainedConfig", type["PreTrainedModel"]]:
    from transformers import BertConfig, BertModel

    return BertConfig(max_position_embeddings=64, **SIZES), BertModel


def _xlm_roberta() -> tuple["PretrainedConfig", type["PreTrainedModel"]]:
    from transformers import XLMRobertaConfig, XLMRobertaModel

    # Positions begin after the padding token's number.
    return XLMRobertaConfig(max_position_embeddings=66, type_vocab_size=1, **SIZES), XLMRobertaModel


def _modernbert() -> tuple["PretrainedConfig", type["PreTrainedModel"]]:
    from transformers import ModernBertConfig, ModernBertModel

    return ModernBertConfig(max_position_embeddings=64, local_attention=8, **SIZES), ModernBertModel


def _llama() -> tuple["PretrainedConfig", type["PreTrainedModel"]]:
    from transformers import LlamaConfig, LlamaModel

    return LlamaConfig(num_key_value_heads=2, max_position_embeddings=64, **SIZES), LlamaModel


def _qwen3() -> tuple["PretrainedConfig", type["PreTrainedModel"]]:
    from transformers import Qwen3Config, Qwen3Model

    return Qwen3Config(num_key_value_heads=2, head_dim=8, max_position_embeddings=64, **SIZES), Qwen3Model


def _gemma() -> tuple["PretrainedConfig", type["PreTrainedModel"]]:
    from transformers import Gemma3TextConfig, Gemma3TextModel

    config = Gemma3TextConfig(
        num_key_value_heads=1,
        head_dim=8,
        sliding_window=16,
        layer_types=["sliding_attention", "full_attention"],
        max_position_embeddings=64,
        use_bidirectional_attention=True,
        **SIZES,
    )
    return config, Gemma3TextModel


# Configuration, pooling, the side of the padding, how a text ends and begins.
ARCHITECTURES: dict[str, tuple[Callable, str, str, str]] = {
    "bert": (_bert, "mean", "right", "[CLS] $A [SEP]"),
    "xlm_roberta": (_xlm_roberta, "cls", "right", "[CLS] $A [SEP]"),
    "modernbert": (_modernbert, "mean", "right", "[CLS] $A [SEP]"),
    "llama_bidirectional": (_llama, "mean", "right", "[CLS] $A"),
    "qwen3": (_qwen3, "lasttoken", "left", "$A [SEP]"),
    "gemma": (_gemma, "mean", "right", "[CLS] $A [SEP]"),
}


def write_model(folder: Path, architecture: str, dtype: str = "float32", **changes: Any) -> Path:
    """Write a sentence-transformers folder.

    Args:
        folder: where to.
        architecture: one of ARCHITECTURES.
        dtype: in which the weights are stored.
        changes: ``pooling`` and ``side`` other than the architecture's own.
    """
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling, Transformer

    build, pooling, side, template = ARCHITECTURES[architecture]
    tokenizer = _tokenizer(template, changes.get("side", side))
    config, kind = build()
    config.vocab_size, config.pad_token_id = len(tokenizer), tokenizer.pad_token_id
    torch.manual_seed(7)
    source = folder.with_name(f"{folder.name}-transformer")
    kind(config).to(getattr(torch, dtype)).save_pretrained(source)
    tokenizer.save_pretrained(source)
    if architecture == "llama_bidirectional":
        _add_code(source)
    trust = {f"{part}_kwargs": {"trust_remote_code": True} for part in ("config", "model", "processor")}
    transformer = Transformer(str(source), max_seq_length=48, **trust)
    modules = [transformer, Pooling(HIDDEN, changes.get("pooling", pooling))]
    if architecture == "gemma":  # as EmbeddingGemma
        sizes = ((HIDDEN, 64), (64, HIDDEN))
        modules += [Dense(*size, bias=False, activation_function=torch.nn.Identity()) for size in sizes]
    SentenceTransformer(modules=[*modules, Normalize()], device="cpu").to(getattr(torch, dtype)).save_pretrained(str(folder))
    return folder


def _tokenizer(template: str, side: str) -> "PreTrainedTokenizerFast":
    from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    numbers = [(token, tokenizer.token_to_id(token)) for token in special if token in template]
    tokenizer.post_processor = processors.TemplateProcessing(single=template, special_tokens=numbers)
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), special, strict=True))
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, padding_side=side, eos_token="[SEP]", bos_token="[CLS]", **names)


def _add_code(folder: Path) -> None:
    """Make the model one that is bidirectional by code of its own, as NVIDIA's are."""
    (folder / "llama_bidirectional.py").write_text(LLAMA_CODE)
    path = folder / "config.json"
    config = json.loads(path.read_text()) | {
        "model_type": "llama_bidirectional",
        "architectures": ["LlamaBidirectionalModel"],
        "auto_map": {
            "AutoConfig": "llama_bidirectional.LlamaBidirectionalConfig",
            "AutoModel": "llama_bidirectional.LlamaBidirectionalModel",
        },
    }
    path.write_text(json.dumps(config))
