"""Progress of long work: a bar in a terminal, log lines elsewhere (Dagster shows those as events)."""

import logging
import sys
import time
from collections.abc import Iterator, Sequence
from typing import TypeVar

from tqdm import tqdm

logger = logging.getLogger(__name__)

Item = TypeVar("Item")
SECONDS_BETWEEN_LINES = 15.0


def track(items: Sequence[Item], what: str) -> Iterator[Item]:
    """Iterate over items and show how far the work is and how long it will take."""
    if sys.stderr.isatty():
        yield from tqdm(items, desc=what, leave=False)
        return
    started = last = time.monotonic()
    for done, item in enumerate(items):
        now = time.monotonic()
        if done and now - last > SECONDS_BETWEEN_LINES:
            last = now
            left = (now - started) / done * (len(items) - done)
            logger.info("%s: %d of %d, about %.0f s left", what, done, len(items), left)
        yield item
