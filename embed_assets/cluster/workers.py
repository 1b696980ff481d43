"""Actors on a Ray cluster that work for one driver."""

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from embed_assets.cluster.files import DriverFiles
from embed_assets.cluster.ray_cluster import Cluster, ClusterError, connect, in_words

logger = logging.getLogger(__name__)
# Blocks that a worker has at once: it begins the next one while the driver stores the results of the last.
BLOCKS_AT_ONCE = 2
# A block that was with so many workers when they died may be what kills them.
MOST_TRIES = 4
SECONDS_BETWEEN_LOOKS = 1.0
SECONDS_BETWEEN_LINES = 30.0


class WorkerLostError(RuntimeError):
    """What a worker has loaded is gone, such as a process of its own; another one has to take its place."""


class Work(Protocol):
    """What an actor does, with what it has loaded."""

    def answer(self, items: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        """Work on a block of items; gives the place of each in the block with its result, in the order in which they are done."""


class Actor:
    """The body of an actor.

    Args:
        make: makes the work, with the place of the model on this node.
        model: the model, as the driver has it: a name, or files that are sent to nodes without them.
    """

    def __init__(self, make: Callable[[str], Work], model: str | DriverFiles):
        self._make, self._model = make, model
        self._work: Work | None = None

    def prepare(self, parts: Sequence[Any] = ()) -> bool:
        """Load the model; returns whether it is there. If not, the parts of its files have to be given."""
        where: str | Path | None = self._model if isinstance(self._model, str) else self._model.on_this_node()
        if where is None:
            if not parts:
                return False
            import ray

            assert isinstance(self._model, DriverFiles)
            where = self._model.receive((name, ray.get(part)) for name, part in parts)
        self._work = self._make(str(where))
        return True

    def answer(self, items: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        """As Work.answer."""
        assert self._work is not None
        yield from self._work.answer(items)


@dataclass
class _Block:
    """Items that wait for their results, each with its number."""

    items: dict[int, Any]
    number: int
    numbers: list[int] = field(default_factory=list)
    tries: int = 0

    def hand_out(self) -> list[Any]:
        """The items that are left; the places in results are those of ``numbers``."""
        self.numbers = list(self.items)
        self.tries += 1
        return list(self.items.values())


class Workers:
    """Actors with the same model, on whatever nodes of the cluster have room.

    They end with ``close``, or with the ``with`` statement; Ray ends them as well when the driver dies.

    Args:
        cluster: how many, and how large.
        make: makes the work of each; it has to be importable on the nodes.
        model: as in Actor.
        blocks: how many there are to work on, if that is known, so that no more workers are started.
        together: whether a worker answers all its blocks at once, in threads, and not one after the other.

    Raises:
        ClusterError: the cluster is not there, or the workers do not fit.
    """

    def __init__(
        self,
        cluster: Cluster,
        make: Callable[[str], Work],
        model: str | DriverFiles,
        blocks: int | None = None,
        together: bool = False,
    ):
        connect(cluster)
        self._cluster, self._make, self._model, self._together = cluster, make, model, together
        self._actors: dict[Any, int] = {}  # each with its place, which the one that replaces it takes
        self._parts: list[tuple[str, Any]] = []
        self._preparing: dict[Any, Any] = {}
        self._ready: set[Any] = set()
        self._deaths = 0  # since there was a result
        for place in range(min(cluster.workers, blocks or cluster.workers)):
            self._start(place)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End the actors."""
        import ray

        for actor in self._actors if ray.is_initialized() else ():
            ray.kill(actor)
        self._actors, self._preparing, self._ready, self._parts = {}, {}, set(), []

    def wait_until_ready(self) -> None:
        """Wait until all have loaded the model, which ``answer`` need not."""
        import ray

        while self._preparing:
            (reference,), _ = ray.wait([*self._preparing], num_returns=1)
            self._prepared(reference)

    def answer(self, blocks: Iterable[Sequence[Any]], kinds: int = 0) -> Iterator[tuple[int, Any]]:
        """Have all blocks worked on. What is left of a block whose worker died is asked of another one.

        Args:
            blocks: items that a worker gets together. They are taken as the workers come to them.
            kinds: how many kinds of blocks take turns, if a worker should get those of the same kind, as it has what they
                need; a worker that has nothing else to do takes others.

        Yields:
            The number of an item, counted over all blocks, and its result, in the order in which they are done.

        Raises:
            ClusterError: a block was with several workers that died.
        """
        import ray

        waiting, coming = deque[_Block](), _numbered(blocks)
        working: dict[Any, tuple[Any, _Block]] = {}
        told = time.monotonic()
        try:
            while True:
                room = BLOCKS_AT_ONCE * self._cluster.workers - len(waiting) - len(working)
                waiting.extend(islice(coming, max(0, room)))
                if not waiting and not working:
                    return
                self._hand_out(waiting, working, kinds)
                done, _ = ray.wait([*working, *self._preparing], num_returns=1, timeout=SECONDS_BETWEEN_LOOKS, fetch_local=False)
                if not working and time.monotonic() - told > SECONDS_BETWEEN_LINES:
                    told = time.monotonic()
                    self._tell_waiting()
                for reference in done:
                    if reference in self._preparing:
                        self._prepared(reference)
                    elif reference in working:
                        yield from self._results(reference, working, waiting)
        finally:
            for reference in working:
                ray.cancel(reference)

    def _start(self, place: int) -> None:
        import ray

        kind = ray.remote(Actor).options(
            num_gpus=self._cluster.worker_gpus,
            num_cpus=self._cluster.worker_cpus,
            scheduling_strategy="SPREAD",
            max_concurrency=BLOCKS_AT_ONCE if self._together else 1,
        )
        actor = kind.remote(self._make, self._model)
        self._actors[actor] = place
        self._preparing[actor.prepare.remote()] = actor

    def _prepared(self, reference: Any) -> None:
        """An actor has loaded its model, or needs its files, or died over it."""
        import ray

        actor = self._preparing.pop(reference)
        try:
            if ray.get(reference):
                self._ready.add(actor)
                return
        except ray.exceptions.RayTaskError as error:
            raise _cause(error) from None
        except ray.exceptions.RayError as error:
            self._died(actor, error)
            return
        if not self._parts:
            assert isinstance(self._model, DriverFiles)
            logger.info("sending %s to the nodes of the cluster", self._model.path)
            self._parts = [(name, ray.put(part)) for name, part in self._model.parts()]
        self._preparing[actor.prepare.remote(self._parts)] = actor

    def _hand_out(self, waiting: deque[_Block], working: dict[Any, tuple[Any, _Block]], kinds: int) -> None:
        """Give blocks to the actors with the fewest."""
        has = Counter(actor for actor, _ in working.values())
        for held in range(BLOCKS_AT_ONCE):
            for actor in self._ready:
                if has[actor] == held and (block := self._next(waiting, actor, kinds, idle=not held)):
                    waiting.remove(block)
                    reference = actor.answer.options(num_returns="streaming").remote(block.hand_out())
                    working[reference] = (actor, block)
                    has[actor] += 1

    def _next(self, waiting: deque[_Block], actor: Any, kinds: int, idle: bool) -> _Block | None:
        """The block that an actor should have next: the first one, or the first of its kinds where those matter."""
        first = waiting[0] if waiting else None
        if not kinds:
            return first
        own = (block for block in waiting if block.number % kinds % self._cluster.workers == self._actors[actor])
        return next(own, first if idle else None)

    def _results(
        self, reference: Any, working: dict[Any, tuple[Any, _Block]], waiting: deque[_Block]
    ) -> Iterator[tuple[int, Any]]:
        """The next result of a block; where its actor died, the block waits again."""
        import ray

        actor, block = working[reference]
        try:
            place, result = ray.get(next(reference))
        except StopIteration:
            del working[reference]
            assert not block.items
            return
        except ray.exceptions.RayError as error:
            if isinstance(error, ray.exceptions.RayTaskError) and not isinstance(error.cause, WorkerLostError):
                raise _cause(error) from None
            del working[reference]
            if block.tries == MOST_TRIES:
                raise ClusterError(
                    f"{MOST_TRIES} workers died over the same {len(block.items)} items, the last one so: {_reason(error)}"
                ) from error
            if block.items:
                waiting.appendleft(block)
            if actor in self._actors:
                self._died(actor, error)
            return
        self._deaths = 0
        number = block.numbers[place]
        del block.items[number]
        yield number, result

    def _died(self, actor: Any, error: Exception) -> None:
        """Another one takes its place."""
        import ray

        ray.kill(actor)  # one that is only out of reach must not come back and hold what the other one needs
        place = self._actors.pop(actor)
        self._ready.discard(actor)
        self._deaths += 1
        if self._deaths > MOST_TRIES * self._cluster.workers:
            raise ClusterError(f"{self._deaths} workers died one after the other, the last one so: {_reason(error)}") from error
        logger.warning("a worker was lost, another one takes its place: %s", _reason(error).splitlines()[-1])
        self._start(place)

    def _tell_waiting(self) -> None:
        import ray

        free = ray.available_resources()
        logger.info(
            "waiting for workers of %s; %s are free on the cluster",
            in_words(self._cluster.worker_gpus, self._cluster.worker_cpus),
            in_words(free.get("GPU", 0), free.get("CPU", 0)),
        )


def _numbered(blocks: Iterable[Sequence[Any]]) -> Iterator[_Block]:
    first = 0
    for number, items in enumerate(blocks):
        yield _Block(dict(enumerate(items, first)), number)
        first += len(items)


def _reason(error: Any) -> str:
    """Why a worker was lost: in its own words, or in Ray's."""
    return str(getattr(error, "cause", None) or error).strip()


def _cause(error: Any) -> BaseException:
    """The error of a worker as it was raised there, with its traceback in a note."""
    cause = error.cause if isinstance(error.cause, BaseException) else error
    cause.add_note(str(error))
    return cause
