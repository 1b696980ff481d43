"""What a stage of the graph is.

Raise a stage's code version when a change of its code changes its results: every collection then
computes that stage again, and what lies downstream if the result really differs.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import Any

from embed_assets.artifacts.blocks import Block
from embed_assets.artifacts.checks import Check
from embed_assets.artifacts.inputs import Inputs, SourceReader
from embed_assets.artifacts.store import Artifact


@dataclass(frozen=True)
class Stage:
    """One step of the graph.

    Args:
        name: name of its asset.
        group: its room, and its group in the graph.
        code_version: version of its code.
        settings: names of the blocks of the settings that it reads; a dot leads to a block inside of another.
        inputs: the assets that it reads.
        sources: read what else it computes on.
        checks: what is asked of its result, by name.
        frozen: its inputs are drawn from once; a change of theirs does not make its result out of date.
        optional: it is built only if somebody asks for it.
        price: called as price(inputs, memos), tells what a computation would take, such as prompts to answer, as far as
            that can be told without computing; artifacts that are not there yet are missing from the inputs.
        spared: called with the blocks of settings that it reads, tells which of its inputs it does without.
    """

    name: str
    group: str
    code_version: str
    settings: tuple[str, ...]
    inputs: tuple[str, ...] = ()
    sources: tuple[SourceReader, ...] = ()
    checks: Mapping[str, Check] = field(default_factory=dict, hash=False)
    frozen: bool = False
    optional: bool = False
    price: Callable[[Inputs, Path], Mapping[str, float]] = lambda inputs, memos: {}
    spared: Callable[[Mapping[str, Block]], Collection[str]] = lambda blocks: ()

    def blocks(self, settings: object) -> dict[str, Block]:
        """What it reads of the settings of a collection, whose fields are the blocks."""
        return {name: attrgetter(name)(settings) for name in self.settings}

    def refusals(self, artifact: Artifact) -> list[dict[str, Any]]:
        """The findings of blocking checks that keep a result of it from being the current one."""
        blocking = {name for name, check in self.checks.items() if check.blocking}
        return [it for it in artifact.findings if not it["passed"] and it["name"] in blocking]

    def needs(self, settings: object) -> tuple[str, ...]:
        """The assets that it reads with these settings of a collection."""
        spared = self.spared(self.blocks(settings))
        return tuple(name for name in self.inputs if name not in spared)
