"""constraints.txt: the versions that are installed with pyproject.toml."""

import importlib.metadata
import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
LOCKED = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]


def test_it_holds_names_and_versions_and_no_paths():
    assert len(LOCKED) > 200
    assert [line for line in LOCKED if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.!+_]+", line)] == []
    assert not {"torch", "pip", "embed-assets"} & {line.partition("==")[0] for line in LOCKED}


def test_every_requirement_is_locked_to_a_version_that_it_allows():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = map(Requirement, [*project["dependencies"], *extras["cpu"], *extras["ray"], *extras["samples"], *extras["dev"]])
    locked = {canonicalize_name(name): version for name, version in (line.split("==") for line in LOCKED)}
    unlocked = [str(it) for it in wanted if not it.specifier.contains(locked.get(canonicalize_name(it.name), "0"))]
    assert unlocked == ["torch==2.13.0"], "run 'make lock'"


def test_what_is_locked_runs_on_the_python_of_debian_12():
    locked = {canonicalize_name(line.partition("==")[0]) for line in LOCKED}
    installed = {canonicalize_name(it.name): it.metadata.get("Requires-Python") for it in importlib.metadata.distributions()}
    wanted = {name: python for name, python in installed.items() if name in locked and python}
    assert len(wanted) > 150
    assert {name: python for name, python in wanted.items() if not SpecifierSet(python).contains("3.11.2")} == {}
