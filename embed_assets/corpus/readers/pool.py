"""Readers of strangers' files, in processes that may take so much memory and so much time."""

from collections.abc import Callable
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import TYPE_CHECKING, Any, Self

from embed_assets.corpus.child_processes import ChildProcesses
from embed_assets.corpus.readers.conversion import OUT_OF_MEMORY, convert
from embed_assets.corpus.readers.converted import Converted
from embed_assets.corpus.readers.limits import limit_worker
from embed_assets.in_parallel import workers_for

if TYPE_CHECKING:
    from pebble import ProcessPool

    from embed_assets.corpus.settings import DocumentsSettings

# A worker is replaced after so many files: some libraries do not give memory back.
FILES_OF_A_WORKER = 200
# What a reader makes of a file, or why it cannot read it, and whether that is for good: a time-out may not happen again.
Outcome = tuple[Converted | str, bool]


class ReaderPool:
    """Converts files in child processes, each of which is ended when it exceeds the limits of the settings.

    Args:
        settings: ``reader_megabytes`` and ``reader_seconds``.
        files: how many there will be, at most; there is no process before the first one.
    """

    def __init__(self, settings: "DocumentsSettings", files: int):
        self._settings, self._files = settings, files
        self._workers = 0
        self._pool: ProcessPool | None = None
        self._begun = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.close()
            self._pool.join()

    @property
    def may_idle(self) -> bool:
        """Whether files are being converted, but so few that a process may soon have to wait for the next one."""
        return 0 < self._begun < 4 * self._workers

    def begin(self, content: bytes, extension: str) -> Callable[[], Outcome]:
        """Begin to convert a file; what is returned waits for the outcome."""
        self._begun += 1
        future = self._processes().schedule(convert, args=(content, extension), timeout=self._settings.reader_seconds)
        return lambda: self._outcome(future)

    def _processes(self) -> "ProcessPool":
        if self._pool is None:
            from pebble import ProcessPool

            self._workers = workers_for(self._files)
            self._pool = ProcessPool(
                self._workers,
                max_tasks=FILES_OF_A_WORKER,
                initializer=limit_worker,
                initargs=(self._settings.reader_megabytes,),
                context=ChildProcesses(),
            )
        return self._pool

    def _outcome(self, future: Any) -> Outcome:
        from pebble import ProcessExpired

        self._begun -= 1
        try:
            result = future.result()
        except FutureTimeoutError:
            return f"its reader takes longer than documents.reader_seconds ({self._settings.reader_seconds:g} s)", False
        except ProcessExpired:
            return f"its reader died; the limit documents.reader_megabytes is {self._settings.reader_megabytes} MB", False
        return result, result != OUT_OF_MEMORY
