"""Several servers of one language model."""

import logging
import time
from collections.abc import Sequence

logger = logging.getLogger(__name__)
# So long one that is away gets only what no other one answers.
SECONDS_ASIDE = 60.0


class Servers:
    """Servers that are asked in turn. One that fails is set aside for a while, so that requests do not wait for it.

    Args:
        urls: of the servers.
    """

    def __init__(self, urls: Sequence[str]):
        self._urls = tuple(urls)
        self._aside: dict[str, float] = {}  # until when

    def in_turn(self, number: int) -> list[str]:
        """The servers that a request should be sent to, each if those before it fail.

        Args:
            number: of the request.
        """
        first, now = number % len(self._urls), time.monotonic()
        turn = [*self._urls[first:], *self._urls[:first]]
        return sorted(turn, key=lambda url: self._aside.get(url, 0.0) > now)

    def fails(self, url: str, why: str) -> None:
        """Set a server aside, and tell so once for each time."""
        if len(self._urls) == 1:
            return
        now = time.monotonic()
        if self._aside.get(url, 0.0) <= now:
            again = "still" if url in self._aside else "now"
            logger.warning(
                "%s is %s set aside (%s): the other servers go on without it, and it is tried again in %d s",
                *(url, again, why, SECONDS_ASIDE),
            )
            self._aside[url] = now + SECONDS_ASIDE

    def answers(self, url: str) -> None:
        """Take a server back that was set aside."""
        if self._aside.pop(url, None) is not None:
            logger.warning("%s answers again", url)
