import pytest

from embed_assets.models.hardware import Compute, require_finite


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_vectors_that_are_no_numbers_are_refused_with_the_model_and_the_dtype(wrong):
    import torch

    compute = Compute(device="cpu", dtype="float16")
    require_finite(torch.tensor([[0.5, -0.5], [1.0, 0.0]]), "a model", compute)
    with pytest.raises(ValueError, match=r"a model: vectors in torch\.float16 are not finite: set dtype of the resource 'gpu'"):
        require_finite(torch.tensor([[0.5, -0.5], [1.0, wrong]]), "a model", compute)
