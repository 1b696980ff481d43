"""What a step computes on is resolved before it begins: below ``write`` nobody asks for ``current`` or reads settings.

Checked in the code itself: from every function named ``write`` below defs/, and every function that is defined in the
same asset with a ``folder`` to write to, names are followed through the package: to the function or class that the
module defines or imports under the name, to all methods of such a class, and to the attributes of imported modules.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import embed_assets
from embed_assets.graph import STAGES

PACKAGE = Path(embed_assets.__file__).parent
METHODS = {"current"}
FUNCTIONS = {"read_settings", "load_settings", "resolve", "resolve_trial", "finished_trials"}
Place = tuple[str, str]


class Code:
    """Every function and method of the package, and what it calls."""

    def __init__(self, folder: Path):
        self.functions: dict[Place, ast.AST] = {}
        self.names: dict[str, dict[str, Place]] = {}
        for path in folder.rglob("*.py"):
            module = ".".join(("embed_assets", *path.relative_to(folder).with_suffix("").parts))
            self._read(module, ast.parse(path.read_text()))

    def _read(self, module: str, tree: ast.Module) -> None:
        names = self.names[module] = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("embed_assets"):
                names |= {alias.asname or alias.name: (node.module, alias.name) for alias in node.names}
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                self.functions[module, node.name] = node
                names[node.name] = (module, node.name)

    def called(self, place: Place, node: ast.AST) -> Iterator[Place]:
        """The functions and classes that a piece of code calls or names."""
        module = place[0]
        for it in ast.walk(node):
            if isinstance(it, ast.Name) and it.id in self.names[module]:
                yield self.names[module][it.id]
            elif isinstance(it, ast.Attribute) and isinstance(it.value, ast.Name):
                owner = self.names[module].get(it.value.id)
                if owner is not None:  # a module that was imported, or a class
                    yield (f"{owner[0]}.{owner[1]}", it.attr)
                    yield owner

    def below(self, place: Place, node: ast.AST) -> dict[Place, ast.AST]:
        """All code that a piece of code reaches."""
        reached: dict[Place, ast.AST] = {}
        waiting = [(place, node)]
        while waiting:
            place, node = waiting.pop()
            if place not in reached:
                reached[place] = node
                waiting += [(it, self.functions[it]) for it in self.called(place, node) if it in self.functions]
        return reached


def lookups(node: ast.AST) -> list[str]:
    """Calls of what looks something up that should have been resolved before."""
    calls = [it.func for it in ast.walk(node) if isinstance(it, ast.Call)]
    methods = [it.attr for it in calls if isinstance(it, ast.Attribute) and it.attr in METHODS]
    return methods + [it.id for it in calls if isinstance(it, ast.Name) and it.id in FUNCTIONS]


def writes(code: Code) -> Iterator[tuple[Place, ast.FunctionDef]]:
    """Every function that is defined within an asset below defs/."""
    for (module, name), node in code.functions.items():
        if module.startswith("embed_assets.defs.") and isinstance(node, ast.FunctionDef):
            for inner in ast.walk(node):
                if isinstance(inner, ast.FunctionDef) and inner is not node and "folder" in [it.arg for it in inner.args.args]:
                    yield (module, f"{name}.{inner.name}"), inner


def test_no_write_looks_anything_up():
    code = Code(PACKAGE)
    found, starts = [], list(writes(code))
    for place, node in starts:
        reached = code.below(place, node)
        found += [f"{'.'.join(place)} reaches {'.'.join(it)}: {name}" for it, body in reached.items() for name in lookups(body)]
    assert not found
    # The check means something: it sees the writes of all stages, and the code of the rooms below them.
    assert {place[0].rpartition(".")[2] for place, _ in starts} >= STAGES.keys()
    everything = set().union(*(code.below(*start) for start in starts))
    assert {("embed_assets.training.fine_tuning", "fine_tune"), ("embed_assets.corpus.production_table", "look")} <= everything


def test_the_check_finds_a_lookup_two_calls_below(tmp_path):
    (tmp_path / "defs").mkdir()
    (tmp_path / "defs" / "asset.py").write_text(
        "from embed_assets.room import work\n"
        "def asset(context):\n    def write(folder, scratch, inputs):\n        work(folder)\n    return write\n"
    )
    (tmp_path / "room.py").write_text(
        "def work(folder):\n    return deeper(folder)\ndef deeper(store):\n    return store.current('a', 'b')\n"
    )
    code = Code(tmp_path)
    ((place, node),) = writes(code)
    assert [lookups(body) for body in code.below(place, node).values()] == [[], [], ["current"]]
