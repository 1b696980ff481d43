"""Where code lies: the contracts of imports, and the map for newcomers."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LINT = "from importlinter.cli import lint_imports_command as lint; lint()"


def _lint(folder: Path) -> subprocess.CompletedProcess[str]:
    """lint-imports on a copy of the package in the folder."""
    for name in ("embed_assets", "pyproject.toml"):
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, folder / name)
    return _lint_again(folder)


def _lint_again(folder: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(folder)}
    command = [sys.executable, "-c", LINT, "--no-cache"]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package that keeps all contracts."""
    folder = tmp_path_factory.mktemp("copy")
    done = _lint(folder)
    assert done.returncode == 0, done.stdout
    return folder


@pytest.mark.parametrize(
    ("module", "line", "broken"),
    [
        ("corpus/spans.py", "from embed_assets.training import loss", "Imports go down only"),
        ("models/onnx.py", "from embed_assets.evaluation.stages import BEIR_SCORES", "Imports go down only"),
        ("models/answers.py", "from embed_assets.artifacts import stages", "Models and retrieval know no stage"),
        ("production/gate.py", "import dagster", "Plain functions know nothing of Dagster"),
        ("models/answers.py", "from embed_assets.models import endpoint", "Modules of a room import one another without a ring"),
    ],
)
def test_an_upward_import_breaks_its_contract(copy: Path, module: str, line: str, broken: str):
    path = copy / "embed_assets" / module
    text = path.read_text()
    path.write_text(f"{text}\n\n{line}\n")
    done = _lint_again(copy)
    path.write_text(text)
    assert done.returncode == 1
    assert f"{broken} BROKEN" in done.stdout


def test_a_room_without_a_place_in_the_layers_is_refused(copy: Path):
    room = copy / "embed_assets" / "attic"
    room.mkdir()
    (room / "__init__.py").touch()
    done = _lint_again(copy)
    shutil.rmtree(room)
    assert done.returncode == 1
    assert "attic" in done.stdout


def test_the_map_for_newcomers_is_the_tree_in_the_order_of_the_layers():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    drawn = re.findall(r"^  ([a-z_]+)(?:/|\.py) ", text, re.MULTILINE)
    there = {path.stem for path in (ROOT / "embed_assets").iterdir() if path.is_dir() or path.suffix == ".py"}
    assert sorted(drawn) == sorted(there - {"__init__", "__pycache__"})
    layers = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]["layers"]
    assert drawn == [room for layer in layers for room in layer.replace("|", ":").split(" : ")]


def test_the_help_of_make_lists_every_command():
    text = (ROOT / "Makefile").read_text()
    phony = re.search(r"^\.PHONY: (.*)", text, re.MULTILINE)[1].split()
    done = subprocess.run(["make", "--no-print-directory", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert sorted(line.split()[0] for line in done.stdout.splitlines()) == sorted(phony)
