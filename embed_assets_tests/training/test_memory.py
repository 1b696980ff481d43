"""What bounds the memory of a training, and what is said when it does not do."""

import pytest

from embed_assets.models.encoders import load_sentence_transformer
from embed_assets.models.hardware import Compute, OutOfMemoryError, explain_out_of_memory
from embed_assets.models.settings import BaseModelSettings
from embed_assets.training.loss import contrastive_loss
from embed_assets.training.memory import bytes_per_token, mini_batch_tokens
from embed_assets.training.settings import TrainingSettings
from embed_assets.training.trainer import training_arguments
from embed_assets_tests.tiny_models import write_model

CPU = Compute(device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory):
    folder = write_model(tmp_path_factory.mktemp("memory") / "bert", "bert")
    return load_sentence_transformer(BaseModelSettings(name=str(folder), max_tokens=32), "cpu")


def test_what_autograd_keeps_of_a_token_is_measured(model):
    """Korthikanti et al. (arXiv:2205.05198): 34 x hidden bytes a layer in 16 bits, some 2 x that in 32, and attention."""
    found = bytes_per_token(model, CPU)
    assert 2 * 2 * 34 * 32 / 3 < found < 2 * 2 * 34 * 32 * 3
    model.gradient_checkpointing_enable({"use_reentrant": False})
    assert bytes_per_token(model.train(), CPU) < found / 2
    model.eval().transformers_model.gradient_checkpointing_disable()


@pytest.mark.parametrize(("free", "tokens"), [(10**9, 0), (10, 32)], ids=["room for all", "room for nothing"])
def test_mini_batches_are_as_large_as_the_memory(model, monkeypatch, free, tokens):
    trained = 12 * sum(weight.numel() for weight in model.parameters())
    monkeypatch.setattr(Compute, "free_memory", lambda self: trained + free)
    assert mini_batch_tokens(model, TrainingSettings(), CPU, texts=96) == tokens
    each = bytes_per_token(model, CPU)
    monkeypatch.setattr(Compute, "free_memory", lambda self: trained + int(100.5 * each))
    assert mini_batch_tokens(model, TrainingSettings(), CPU, texts=96) == 100
    assert mini_batch_tokens(model, TrainingSettings(mini_batch_tokens=64), CPU, texts=96) == 64
    assert mini_batch_tokens(model, TrainingSettings(mini_batch_tokens=64), Compute("cpu", mini_batch_tokens=33), texts=96) == 33


def test_no_mini_batch_has_more_tokens_than_it_may_padding_included(model):
    columns = [model.preprocess(texts) for texts in (["a"] * 8, ["a pump"] * 7 + ["a long text about pumps " * 9])]
    shapes = []
    hook = model.register_forward_pre_hook(lambda _, inputs: shapes.append(inputs[0]["input_ids"].shape))
    contrastive_loss(model, TrainingSettings(), 80, processes=1)(columns, None).backward()
    hook.remove()
    assert len(shapes) > 2 * 8 / 3
    assert max(rows * width for rows, width in shapes) <= 80


def test_an_error_of_the_memory_names_the_setting_to_lower():
    import torch

    remedy = "lower training.mini_batch_tokens"
    with pytest.raises(OutOfMemoryError, match=rf"To need less: {remedy}$"), explain_out_of_memory(remedy):
        torch.empty(2**50)
    with pytest.raises(OutOfMemoryError, match=r"CUDA out of memory. To need less: x"), explain_out_of_memory("x"):
        raise torch.OutOfMemoryError("CUDA out of memory.\nDetails")
    with pytest.raises(RuntimeError, match=r"^another$"), explain_out_of_memory("x"):
        raise RuntimeError("another")


def test_a_trainer_takes_the_device_that_it_is_given(tmp_path, monkeypatch):
    import torch
    from sentence_transformers import SentenceTransformerTrainingArguments

    chosen = []
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    options = {"weight_decay": 0.0, "evaluate": False}
    kind, settings = SentenceTransformerTrainingArguments, TrainingSettings()
    one = training_arguments(kind, tmp_path, 8, settings, Compute("cuda:1", dtype="float32"), **options)
    assert one.device == chosen[-1] == torch.device("cuda:1")
    assert (one.bf16, one.fp16) == (False, False)
    cpu = training_arguments(kind, tmp_path, 8, settings, Compute("cpu", dtype="bfloat16"), **options)
    assert (cpu.device, cpu.bf16) == (torch.device("cpu"), True)
    with pytest.raises(ValueError, match="float16 trains on GPUs only: set dtype"):
        training_arguments(kind, tmp_path, 8, settings, Compute("cpu", dtype="float16"), **options)


@pytest.mark.parametrize(("native", "dtype"), [(True, "bfloat16"), (False, "float16")])
def test_a_gpu_that_only_imitates_bfloat16_computes_in_float16(monkeypatch, native, dtype):
    import torch

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: native or including_emulation)
    assert str(Compute("cuda").torch_dtype()) == f"torch.{dtype}"
