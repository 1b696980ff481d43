"""Child processes that help this one, whatever program it runs."""

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from multiprocessing.context import ForkServerContext, ForkServerProcess
from multiprocessing.process import BaseProcess
from typing import Any

_one_at_a_time = threading.Lock()


class _Process(ForkServerProcess):
    @staticmethod
    def _Popen(process_obj: BaseProcess):  # noqa: N802  # what multiprocessing calls it
        with _main_hidden():
            return ForkServerProcess._Popen(process_obj)


class ChildProcesses(ForkServerContext):
    """Forked from a small process of their own: this one has threads, and memory that would count as theirs.

    Unlike those of multiprocessing's own context, they do not run the program again that runs here. A script without
    ``if __name__ == "__main__":`` would begin once more in each of them, and wait there for itself.
    """

    Process = _Process


def end_with_run() -> None:
    """Have this process end as soon as the one that asked for it is gone: what forked it is another one, and stays for it."""
    threading.Thread(target=_die_with_run, daemon=True).start()


def _die_with_run() -> None:
    if (run := multiprocessing.parent_process()) is not None:
        run.join()
        os.kill(os.getpid(), signal.SIGKILL)


@contextlib.contextmanager
def _main_hidden() -> Iterator[None]:
    """Leave nothing that tells a child process which program to import."""
    with _one_at_a_time:  # another thread would find it hidden, and leave it so
        main: Any = sys.modules["__main__"]
        hidden = {name: getattr(main, name) for name in ("__spec__", "__file__") if hasattr(main, name)}
        for name in hidden:
            setattr(main, name, None)
        try:
            yield
        finally:
            for name, value in hidden.items():
                setattr(main, name, value)
