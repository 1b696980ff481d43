import threading

import numpy as np
import pytest

from embed_assets.retrieval.threads import in_threads


def test_results_come_in_order_from_several_threads_at_once():
    both = threading.Barrier(2, timeout=30)

    def work(number: int) -> tuple[int, int]:
        both.wait()
        return number, threading.get_ident()

    done = list(in_threads(work, range(6), 2))
    assert [number for number, _ in done] == list(range(6))
    assert len({thread for _, thread in done} - {threading.get_ident()}) == 2


def test_no_more_are_begun_than_are_wanted_soon():
    begun: list[int] = []
    results = in_threads(begun.append, range(100), 3)
    next(results)
    assert len(begun) <= 4
    results.close()
    assert len(begun) <= 4


def test_a_single_block_has_all_cores_for_its_products():
    assert list(in_threads(lambda _: threading.get_ident(), [0], 1)) == [threading.get_ident()]


def test_products_have_all_cores_again_afterwards():
    from threadpoolctl import threadpool_info

    def cores() -> list[int]:
        return [it["num_threads"] for it in threadpool_info() if it["user_api"] == "blas"]

    np.ones((2, 2)) @ np.ones((2, 2))
    before = cores()
    within = list(in_threads(lambda _: cores(), [0, 1], 4))
    assert before and within == [[1] * len(before)] * 2 and cores() == before


def test_an_error_is_that_of_the_block():
    def work(number: int) -> int:
        if number == 3:
            raise ValueError("three")
        return number

    with pytest.raises(ValueError, match="three"):
        list(in_threads(work, range(100), 4))
