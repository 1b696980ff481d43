"""What processes that read strangers' files may take, and how long they live."""

import ctypes
import os
import resource
import signal
import sys

from embed_assets.corpus.child_processes import end_with_run

_PR_SET_PDEATHSIG = 1  # of Linux's <sys/prctl.h>


def limit_worker(megabytes: int) -> None:
    """Limits of a worker: memory, no file that is written, no core dump, and what is nested deeply is no fault yet."""
    end_with_run()
    resource.setrlimit(resource.RLIMIT_AS, (megabytes * 1_000_000, megabytes * 1_000_000))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.setrecursionlimit(5000)


def limit_program(seconds: int, parent: int) -> None:
    """Limits of a program that a reader starts: processor time, and a life no longer than the reader's, whatever ends it.

    Args:
        seconds: of the processor.
        parent: id of the reader's process, which may be gone already.
    """
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # by the kernel: a group would have to be killed by somebody
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)
