"""Readers of strangers' files, in processes that may take so much memory and so much time."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import TYPE_CHECKING

from embed_assets.corpus.child_processes import ChildProcesses, processes_for
from embed_assets.corpus.readers.conversion import OUT_OF_MEMORY, convert
from embed_assets.corpus.readers.converted import Converted
from embed_assets.corpus.readers.limits import limit_worker

if TYPE_CHECKING:
    from embed_assets.corpus.settings import DocumentsSettings

# A worker is replaced after so many files: some libraries do not give memory back.
FILES_OF_A_WORKER = 200


def convert_all(
    files: Sequence[tuple[Callable[[], bytes], str]], settings: "DocumentsSettings"
) -> Iterator[tuple[Converted | str, bool]]:
    """Convert files, each in a child process that is ended when it exceeds the limits of the settings.

    Args:
        files: a function that gives the bytes of the file, and the ending of its name.
        settings: ``reader_megabytes`` and ``reader_seconds``.

    Yields:
        For each file in order, what ``convert`` gives, and whether it is for good: a time-out may not happen again.
    """
    from pebble import ProcessExpired, ProcessPool

    if not files:
        return
    workers = processes_for(len(files))
    with ProcessPool(
        workers,
        max_tasks=FILES_OF_A_WORKER,
        initializer=limit_worker,
        initargs=(settings.reader_megabytes,),
        context=ChildProcesses(),
    ) as pool:
        for start in range(0, len(files), 4 * workers):
            block = [
                pool.schedule(convert, args=(read(), extension), timeout=settings.reader_seconds)
                for read, extension in files[start : start + 4 * workers]
            ]
            for future in block:
                try:
                    result = future.result()
                    yield result, result != OUT_OF_MEMORY
                except FutureTimeoutError:
                    yield f"its reader takes longer than documents.reader_seconds ({settings.reader_seconds:g} s)", False
                except ProcessExpired:
                    yield f"its reader died; the limit documents.reader_megabytes is {settings.reader_megabytes} MB", False
