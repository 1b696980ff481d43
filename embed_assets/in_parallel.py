"""Work that threads or processes share: how many there are of them, and their results in order."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from typing import TypeVar

MOST_WORKERS = 8
Item = TypeVar("Item")
Result = TypeVar("Result")


def workers_for(tasks: int) -> int:
    """How many threads or processes share so many tasks: one for each core that this process may use, and at most MOST_WORKERS.

    A container that may use two of 64 cores has two.
    """
    from joblib import cpu_count

    return min(cpu_count(), MOST_WORKERS, tasks)


def in_order(pool: Executor, work: Callable[[Item], Result], items: Iterable[Item], ahead: int) -> Iterator[tuple[Item, Result]]:
    """Each item with its result, in order; what was not yet asked for is not begun, but for some.

    Args:
        pool: what works.
        work: what is done with an item.
        items: taken one by one.
        ahead: how many may be begun beyond the one that is asked for.
    """
    waiting: deque[tuple[Item, Future[Result]]] = deque()
    try:
        for item in items:
            waiting.append((item, pool.submit(work, item)))
            if len(waiting) > ahead:
                done, future = waiting.popleft()
                yield done, future.result()
        while waiting:
            done, future = waiting.popleft()
            yield done, future.result()
    finally:
        for _, future in waiting:
            future.cancel()
