"""What a stage of the graph is.

Raise a stage's code version when a change of its code changes its results: every collection then
computes that stage again, and what lies downstream if the result really differs.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Stage:
    """One step of the graph.

    Args:
        name: name of its asset.
        code_version: version of its code.
        settings: the blocks of the settings that it reads.
        inputs: the assets that it reads.
        frozen: its inputs are drawn from once; a change of theirs does not make its result out of date.
        optional: it is built only if somebody asks for it.
    """

    name: str
    code_version: str
    settings: tuple[str, ...]
    inputs: tuple[str, ...] = ()
    frozen: bool = False
    optional: bool = False
