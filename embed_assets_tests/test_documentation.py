"""What the pages name is there: commands as they are written, settings, imports, files, links. Nothing is run."""

import ast
import importlib.util
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import click
import pytest
from dagster._core.instance.config import dagster_instance_config
from dagster._core.launcher import RunLauncher
from dagster._core.workspace.config_schema import ensure_workspace_config
from dagster._serdes import ConfigurableClassData
from pydantic import BaseModel
from ruamel.yaml import YAML

from embed_assets.cli.main import main
from embed_assets.graph import STAGES
from embed_assets.settings import Settings, load_settings
from embed_assets.settings_files import read_yaml

ROOT = Path(__file__).parents[1]
FOR_USERS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES = [*FOR_USERS, ROOT / "AGENTS.md", ROOT / "CONTRIBUTING.md"]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
# Names that belong to others, so that they need not be in our code.
OF_OTHERS = {
    "add_start_index": "LangChain",
    "start_index": "LangChain",
    "convert_v1_to_v2_dataset": "ragas",
    "default_limit": "Dagster",
    "eval_beir": "NVIDIA's recipe",
    "max_seq_length": "sentence-transformers",
    "sentence_bert_config": "sentence-transformers",
}
pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def blocks_of(page: Path, *languages: str) -> list[str]:
    return [block for language, block in FENCE.findall(page.read_text()) if language in languages]


def prose_of(page: Path) -> str:
    return FENCE.sub("", page.read_text())


def code_of(page: Path) -> list[str]:
    """Lines of commands, and code within sentences."""
    lines = [line for block in blocks_of(page, "", "bash", "shell") for line in block.splitlines()]
    return [*lines, *(" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose_of(page)))]


def commands_of(page: Path) -> Iterator[list[str]]:
    """The words that follow ``embed-assets``."""
    for code in code_of(page):
        if found := re.match(r"(?:\.venv/bin/)?embed-assets (?=[a-z])(.*)", code):
            yield shlex.split(found[1], comments=True)


def settings_in(block: type[BaseModel], above: str = "") -> Iterator[str]:
    """All settings with the blocks that they lie in, such as questions.writer.name."""
    for name, field in block.model_fields.items():
        yield above + name
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from settings_in(field.annotation, f"{above}{name}.")


@pages
def test_commands_are_understood_as_they_are_written(page: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("EMBED_ASSETS_GPU", "")  # which --gpu sets, and the tests after this one must not find
    for words in commands_of(page):
        command, name = main, "embed-assets"
        while isinstance(command, click.Group) and words:
            name = words.pop(0)
            assert name in command.commands, f"{page.name}: {name}"
            command = command.commands[name]
        if words:  # a sentence may name a command without its arguments
            command.make_context(name, ["corpus_chunks" if word == "ASSET" else word for word in words])
        if name == "path" and words:
            assert words[1] in {*STAGES, "ASSET"}, words


@pages
def test_options_that_stand_alone_belong_to_a_command(page: Path):
    commands = main.commands | main.commands["benchmark"].commands
    options = {option for command in commands.values() for it in command.params for option in it.opts}
    for code in code_of(page):
        if re.match(r"--|(\.venv/bin/)?embed-assets ", code):
            assert set(re.findall(r"(?<!\w)--[a-z-]+", code)) <= options | {"--help"}, code


def test_users_are_told_of_every_command():
    assert {words[0] for page in FOR_USERS for words in commands_of(page)} == set(main.commands)


@pages
def test_commands_of_make_and_scripts_exist(page: Path):
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for code in code_of(page):
        if made := re.match(r"make ([a-z-]+)", code):
            assert made[1] in targets
        if script := re.match(r"python (\S+\.py)", code):
            assert (ROOT / script[1]).is_file()


@pages
def test_settings_are_accepted_as_they_are_written(page: Path, tmp_path: Path):
    path = tmp_path / "settings.yaml"
    others = (
        "concurrency:",
        "execution:",
        "resources:",
        "storage:",
        "load_from:",
    )  # dagster.yaml, workspace.yaml, and run configuration: see defs/
    blocks = [block for block in blocks_of(page, "yaml") if not block.startswith(others)]
    spans = [code for code in code_of(page) if (found := re.match(r"(\w+): \{", code)) and found[1] in Settings.model_fields]
    for text in (*blocks, *spans):
        path.write_text(text)
        assert load_settings(path) != Settings()


def test_the_limit_of_the_pool_is_the_one_of_our_own_instance():
    block = block_of("code-location.md", "concurrency:")
    assert YAML(typ="safe").load(block)["concurrency"] == read_yaml(ROOT / "embed_assets" / "dagster.yaml")["concurrency"]


def block_of(page: str, start: str) -> str:
    (block,) = [block for block in blocks_of(ROOT / "docs" / page, "yaml") if block.startswith(start)]
    return block


def test_the_instance_of_a_deployment_is_ours_with_a_launcher_that_dagster_ray_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "dagster.yaml").write_text(block_of("deployment.md", "storage:"))
    written, _ = dagster_instance_config(str(tmp_path))  # refuses keys that Dagster does not know
    ours = read_yaml(ROOT / "embed_assets" / "dagster.yaml")
    launcher = written["run_launcher"]
    assert written["storage"].keys() == {"postgres"}
    assert {key: value for key, value in written.items() if key not in ("run_launcher", "storage")}.items() <= ours.items()
    monkeypatch.setenv("RAY_DASHBOARD", "http://10.0.0.5:8265")
    data = ConfigurableClassData(launcher["module"], launcher["class"], json.dumps(launcher["config"]))
    assert vars(data.rehydrate(as_type=RunLauncher))["address"] == "http://10.0.0.5:8265"


def test_the_code_location_of_a_deployment_is_one_that_dagster_loads():
    block = YAML(typ="safe").load(block_of("deployment.md", "load_from:"))
    (place,) = ensure_workspace_config(block, "workspace.yaml")["load_from"]
    assert importlib.util.find_spec(place["python_module"]["module_name"])


@pages
def test_settings_that_are_named_with_their_block_exist(page: Path):
    known = set(settings_in(Settings))
    for code in code_of(page):
        if (found := re.fullmatch(r"([a-z_]+)((?:\.[a-z_]+)+)(?:: .*)?", code)) and found[1] in Settings.model_fields:
            assert found[1] + found[2] in known


@cache
def words_of_the_code() -> set[str]:
    files = [path for room in ("embed_assets", "embed_assets_tests", "data") for path in (ROOT / room).rglob("*")]
    ours = [path for path in files if path.suffix in (".py", ".yaml", ".jinja")]
    texts = {path: path.read_text() for path in ours if path != Path(__file__)}  # not the names that are of others
    return {path.stem for path in ours} | {word for text in texts.values() for word in re.findall(r"\w+", text)}


@pages
def test_names_with_underscores_are_in_the_code(page: Path):
    named = {name for code in code_of(page) for name in re.findall(r"(?<![\w.])_?[A-Za-z]+(?:_[A-Za-z]+)+(?![\w/])", code)}
    environment = {name for name in named if name.isupper() and not name.startswith("EMBED_ASSETS")}
    assert named - environment - set(OF_OTHERS) <= words_of_the_code()


@pytest.mark.parametrize("page", [page for page in PAGES if blocks_of(page, "python")], ids=lambda page: page.name)
def test_snippets_of_python_use_what_exists(page: Path):
    text = "\n".join(blocks_of(page, "python"))  # one goes on where the one before it ends
    check = [sys.executable, "-m", "ruff", "check", "--isolated", "--quiet", "--select", "E9,F821", "-"]
    done = subprocess.run(check, input=text, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] == "embed_assets":
            assert {name.name for name in node.names} <= names_of(node.module)
        elif isinstance(node, ast.Import):
            assert all(importlib.util.find_spec(name.name) for name in node.names)


def names_of(module: str) -> set[str]:
    """What a module has to offer, read from its source: importing it would load the libraries underneath."""
    tree = ast.parse(Path(importlib.util.find_spec(module).origin).read_text())
    names: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name) | ast.alias(name=name):
                names.add(name)
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                names.add(name)
    return names


def anchors_of(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)", prose_of(page), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pages
def test_links_lead_somewhere(page: Path):
    for target, anchor in re.findall(r"\]\((?!http)([^)#\s]*)#?([^)\s]*)\)", prose_of(page)):
        path = page.parent / target if target else page
        assert path.is_file(), target
        assert not anchor or anchor in anchors_of(path), anchor


def test_every_page_is_linked_from_the_start_and_in_the_navigation():
    written = {path.name for path in FOR_USERS[1:]}
    start = FOR_USERS[0].read_text().split("## Read on")[1]
    assert set(re.findall(r"^- \[.*?\]\(docs/(.*?)\): ", start, re.MULTILINE)) == written
    navigation = set(re.findall(r": ([a-z-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE))
    assert navigation == written | {"index.md", "settings.md", "commands.md"}


def test_the_changes_are_lists_without_gaps_and_name_commands_that_exist():
    text = (ROOT / "CHANGELOG.md").read_text()
    assert not re.search(r"^(?:- |  ).*\n\n- ", text, re.MULTILINE)
    named = re.findall(r"`embed-assets ([a-z-]+)", text)
    assert named and set(named) <= set(main.commands)
