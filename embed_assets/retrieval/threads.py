"""Blocks of queries in several threads."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

MOST_THREADS = 8
Result = TypeVar("Result")


def in_threads(work: Callable[..., Result], blocks: Iterable[tuple], most: int = MOST_THREADS) -> Iterator[Result]:
    """The results of all blocks, in order, each computed in one thread; no more are ready than there are threads.

    numpy's own threads, which share a single product, wait for one another after each: two cores gave a search in a million
    passages 1.1 times the speed of one.

    Args:
        work: what is done with each.
        blocks: its arguments.
        most: threads; there are no more than cores.
    """
    from joblib import cpu_count
    from threadpoolctl import threadpool_limits

    threads = min(cpu_count(), most)
    if threads < 2:
        yield from (work(*block) for block in blocks)
        return
    waiting: deque[Future[Result]] = deque()
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(threads) as pool:
        try:
            for block in blocks:
                waiting.append(pool.submit(work, *block))
                if len(waiting) > threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
