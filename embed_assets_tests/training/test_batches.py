import pytest

from embed_assets.training.batches import Batches, deal


def sampled(keys: list[str], batch_size: int, processes: int = 1, epoch: int = 0) -> list[list[int]]:
    import torch
    from datasets import Dataset

    data = Dataset.from_dict({"label": list(range(len(keys)))})
    sampler = Batches(keys, processes)(data, batch_size, drop_last=False, seed=13, generator=torch.Generator())
    sampler.set_epoch(epoch)
    batches = list(sampler)
    assert len(batches) == len(sampler)
    return batches


def test_rows_with_the_same_key_are_dealt_to_different_batches():
    assert deal([0, 1, 2, 3, 4, 5], list("aabbcc"), 2) == [[0, 3], [1, 4], [2, 5]]
    # In the order in which the keys turn up, b, a, c; the last batch has room for one alone.
    assert deal([2, 0, 4, 3, 1], list("aabbc"), 2) == [[2, 1], [3, 4], [0]]
    assert deal([0, 1, 2], list("aaa"), 3) == [[0, 1, 2]]


@pytest.mark.parametrize("count", [1, 2, 8, 9, 17, 34, 100])
def test_every_example_is_in_an_epoch_once_and_batches_are_full(count):
    keys = [str(n // 5) for n in range(count)]
    batches = sampled(keys, 8)
    assert sorted(row for batch in batches for row in batch) == list(range(count))
    assert sorted(map(len, batches), reverse=True) == [8] * (count // 8) + [count % 8] * (count % 8 > 0)


def test_examples_of_one_document_alone_are_kept_all_the_same():
    """A sampler that refuses what is alike would drop nearly all of them."""
    assert sorted(map(len, sampled(["page"] * 20, 8))) == [4, 8, 8]


def test_documents_are_apart_in_every_epoch_which_are_not_the_same():
    keys = [f"document {n % 10}" for n in range(60)]
    epochs = [sampled(keys, 6, epoch=epoch) for epoch in (0, 1)]
    assert epochs[0] != epochs[1]
    assert all(len({keys[row] for row in batch}) == 6 for batches in epochs for batch in batches)


@pytest.mark.parametrize("count", [1, 16, 17, 18, 33])
def test_the_slices_of_the_processes_make_the_batches_of_one(count):
    keys = [str(n // 2) for n in range(count)]
    whole, slices = sampled(keys, 8), sampled(keys, 4, processes=2)
    assert len(slices) == 2 * len(whole)
    for number, batch in enumerate(whole):
        first, second = slices[2 * number : 2 * number + 2]
        assert len(first) == len(second)
        # Where it does not divide evenly, one stands in it twice, rather than that one is lost.
        assert (first + second)[: len(batch)] == batch and len(first + second) - len(batch) in (0, 1)
