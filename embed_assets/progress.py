"""Progress of long work: a bar in a terminal, log lines elsewhere (Dagster shows those as events)."""

import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from typing import TypeVar

from tqdm import tqdm

logger = logging.getLogger(__name__)
Item = TypeVar("Item")
SECONDS_BETWEEN_LINES = 15.0


def track(items: Iterable[Item], what: str, total: int | None = None, detail: Callable[[], str] | None = None) -> Iterator[Item]:
    """Iterate over items and show how far the work is and how long it will take.

    Args:
        items: what is worked on.
        what: name of the work.
        total: number of items, if ``len(items)`` does not tell it.
        detail: asked for what else is to be shown.
    """
    if total is None and isinstance(items, Sized):
        total = len(items)
    if sys.stderr.isatty():
        with tqdm(items, desc=what, total=total, leave=False) as bar:
            for item in bar:
                yield item
                if detail is not None:
                    bar.set_postfix_str(detail(), refresh=False)
        return
    first = last = time.monotonic()
    for done, item in enumerate(items):
        now = time.monotonic()
        if done == 1:
            first = last = now  # what comes before it is getting ready: the rate of what is left is that after it
        elif done and now - last > SECONDS_BETWEEN_LINES:
            last = now
            rate = (done - 1) / (now - first)
            more = f", {detail()}" if detail is not None else ""
            if total:
                logger.info("%s: %d of %d, %.3g/s%s, about %.0f s left", what, done, total, rate, more, (total - done) / rate)
            else:
                logger.info("%s: %d, %.3g/s%s", what, done, rate, more)
        yield item
