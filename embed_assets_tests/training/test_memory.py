"""What bounds the memory of a training, and what is said when it does not do."""

import pytest

from embed_assets.models import hardware
from embed_assets.models.encoders import load_sentence_transformer
from embed_assets.models.hardware import (
    Compute,
    OutOfMemoryError,
    devices_together,
    explain_out_of_memory,
    keep_freed_memory,
    require_gpus,
    visible_gpus,
)
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
    found, _ = bytes_per_token(model, CPU)
    assert 2 * 2 * 34 * 32 / 3 < found < 2 * 2 * 34 * 32 * 3
    model.gradient_checkpointing_enable({"use_reentrant": False})
    assert bytes_per_token(model.eval(), CPU)[0] < found / 2, "as it trains"
    model.eval().transformers_model.gradient_checkpointing_disable()


def test_the_copies_of_weights_that_autocast_makes_are_no_token_s(model):
    import torch

    linear = sum(it.weight.numel() for it in model[0].model.encoder.modules() if isinstance(it, torch.nn.Linear))
    each, of_all = bytes_per_token(model, Compute("cpu", dtype="bfloat16"))
    assert 2 * linear < of_all
    assert each < bytes_per_token(model, CPU)[0]


@pytest.mark.parametrize(("free", "tokens"), [(10**9, 0), (10, 32)], ids=["room for all", "room for nothing"])
def test_mini_batches_are_as_large_as_the_memory(model, monkeypatch, free, tokens):
    trained = 12 * sum(weight.numel() for weight in model.parameters())
    monkeypatch.setattr(Compute, "free_memory", lambda self: trained + free)
    assert mini_batch_tokens(model, TrainingSettings(), CPU, texts=96) == tokens
    each, of_all = bytes_per_token(model, CPU)
    monkeypatch.setattr(Compute, "free_memory", lambda self: trained + of_all + int(100.5 * each))
    assert mini_batch_tokens(model, TrainingSettings(), CPU, texts=96) == 100
    assert mini_batch_tokens(model, TrainingSettings(mini_batch_tokens=64), CPU, texts=96) == 64
    assert mini_batch_tokens(model, TrainingSettings(mini_batch_tokens=64), Compute("cpu", mini_batch_tokens=33), texts=96) == 33


def test_weights_that_a_gpu_has_no_room_to_train_are_refused_at_once(model, monkeypatch):
    monkeypatch.setattr(Compute, "free_memory", lambda self: 1000)
    with pytest.raises(OutOfMemoryError, match=r"cuda:1 has 0 GB for them\. To need less: train adapters alone, with training"):
        mini_batch_tokens(model, TrainingSettings(), Compute("cuda:1", dtype="float32"), texts=96)


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


@pytest.mark.parametrize(
    ("capability", "dtype"),
    [((9, 0), "bfloat16"), ((8, 0), "bfloat16"), ((7, 5), "float16"), ((7, 0), "float16"), ((6, 1), "float32")],
    ids=["H100", "A100", "T4", "V100", "GTX 1080"],
)
def test_a_gpu_computes_in_what_it_multiplies(tmp_path, monkeypatch, capability, dtype):
    import torch
    from sentence_transformers import SentenceTransformerTrainingArguments

    asked = []
    monkeypatch.setattr(torch.cuda, "set_device", asked.append)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability if device == "cuda:1" else (9, 0))
    compute = Compute("cuda:1")
    assert str(compute.torch_dtype()) == f"torch.{dtype}"
    if dtype != "bfloat16":  # which transformers refuses where torch finds no such GPU
        options = {"weight_decay": 0.0, "evaluate": False}
        arguments = training_arguments(SentenceTransformerTrainingArguments, tmp_path, 8, TrainingSettings(), compute, **options)
        assert (arguments.bf16, arguments.fp16) == (False, dtype == "float16")


@pytest.mark.parametrize(
    ("device", "processes", "gpus", "devices"),
    [
        ("cuda", 1, 4, ("cuda",)),
        ("cuda", 2, 4, ("cuda:0", "cuda:1")),
        ("cuda", 4, 2, ("cuda:0", "cuda:1")),
        ("cuda", 4, 1, ("cuda",)),
        ("cuda:1", 2, 4, ("cuda:1",)),
        ("cuda:1", 1, 4, ("cuda:1",)),
        ("cpu", 2, 0, ("cpu",)),
    ],
)
def test_so_many_gpus_compute_together_as_there_are_processes(device, processes, gpus, devices):
    assert devices_together(device, processes, gpus) == devices


def test_a_training_is_refused_where_its_processes_have_no_gpu_each():
    with pytest.raises(ValueError, match="processes of the resource 'gpu' is 4, but there are 2 GPUs"):
        require_gpus("cuda", 4, 2)
    with pytest.raises(ValueError, match="has device cuda:1 and processes 2: set device to cuda"):
        require_gpus("cuda:1", 2, 2)
    require_gpus("cuda", 2, 2)
    require_gpus("cpu", 2, 0)


def test_each_process_of_a_training_has_a_gpu_of_its_own():
    asked = Compute("cuda", processes=2)
    assert [asked.of_a_process(number).torch_device() for number in range(2)] == ["cuda:0", "cuda:1"]
    assert Compute("cpu", processes=2).of_a_process(1) == Compute("cpu")


@pytest.mark.parametrize(
    ("device", "count", "visible", "expected"),
    [
        ("auto", 2, None, None),
        ("cuda", 1, "4,5", None),
        ("cuda:1", 1, None, "1"),
        ("cuda:1", 2, None, "1,2"),
        ("cuda:1", 1, "4,5", "5"),
        ("cuda:0", 2, "GPU-a,GPU-b", "GPU-a,GPU-b"),
    ],
)
def test_vllm_sees_the_device_that_was_asked_for(device, count, visible, expected):
    assert visible_gpus(device, count, visible) == expected


def test_vllm_is_refused_more_gpus_than_there_are_from_its_device_on():
    with pytest.raises(ValueError, match=r"2 GPUs from there on are needed, but CUDA_VISIBLE_DEVICES is '4,5'"):
        visible_gpus("cuda:1", 2, "4,5")


def test_malloc_is_set_up_for_computing_on_the_cpu_alone(monkeypatch):
    calls = []
    monkeypatch.setattr(hardware, "_set_up_malloc", lambda: calls.append("set up"))
    keep_freed_memory("cuda:0")
    assert not calls
    keep_freed_memory("cpu")
    assert calls == ["set up"]
