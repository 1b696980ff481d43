"""Settings files: YAML 1.2, with errors that name the file, the line and what to do."""

import copy
import re
import stat
import time
from functools import lru_cache
from pathlib import Path
from typing import Any

from embed_assets.artifacts.blocks import SettingsError
from embed_assets.artifacts.files import FileState, state_of
from embed_assets.artifacts.workspace import LARGEST_SETTINGS

NAME = "settings.yaml"
# Names that somebody meant, and that are not read.
MISNAMED = re.compile(r"settings?\.ya?ml", re.IGNORECASE)
MOST_VALUES = 100_000  # with those that aliases stand for
# What the words of the YAML library mean for whoever wrote the file, in the order in which they are looked for.
WHAT_TO_DO = {
    r"'\\t'": "indent with blanks, not with a tab",
    "<document start>": "this stands further to the left than what is above it: let each block begin at the left edge, and "
    "make no comment of its name while settings of it are none",
    "mapping values are not allowed": "put a colon behind the name of the block above, or begin this line where that one begins",
    "unknown escape character": "put the text into single quotes",
    "cannot start any token|undefined alias": "put the text into quotes",
    "found another document": "take the line '---' away",
}
SETTLED_NS = 2_000_000_000  # a file that was left alone for so long does not change unnoticed


def read_yaml(path: Path) -> dict[str, Any]:
    """The blocks of a settings file; read again only if it changed, so that a look over many collections is quick.

    Raises:
        SettingsError: the file is not YAML, holds no blocks, or has a key twice.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror}") from None
    if not stat.S_ISREG(status.st_mode):  # who opens a pipe waits for ever
        raise SettingsError(f"{path}: cannot be read: it is no file")
    age = time.time_ns() - status.st_ctime_ns
    # Within a tick of the file system's clock, an edit may leave size and times as they are.
    read = _read_once if age > SETTLED_NS else _read_once.__wrapped__
    return copy.deepcopy(read(path, state_of(path)))


@lru_cache(maxsize=10_000)
def _read_once(path: Path, state: FileState) -> dict[str, Any]:
    from ruamel.yaml import YAML
    from ruamel.yaml.constructor import DuplicateKeyError
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        if state.size > LARGEST_SETTINGS:
            raise SettingsError(f"{path}: {state.size} bytes are too many for settings: is it another file?")
        content = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
        if _count(content, {}) > MOST_VALUES:
            raise SettingsError(
                f"{path}: its aliases (*) stand for more than {MOST_VALUES:,} values, or for what they are part of: "
                "write out what is meant"
            )
    except DuplicateKeyError as error:
        key = re.search(r'duplicate key "(.*?)"', str(error.problem))
        name = repr(key[1]) if key else "of a block"
        raise SettingsError(f"{path}: line {_line(error)}: the key {name} stands twice: keep one of the two") from None
    except MarkedYAMLError as error:
        problem = ", ".join(part for part in (error.context, error.problem) if part)
        remedies = (remedy for words, remedy in WHAT_TO_DO.items() if re.search(words, problem))
        remedy = next(remedies, "correct it")
        raise SettingsError(f"{path}: not a YAML file: line {_line(error)}: {problem}: {remedy}") from None
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise SettingsError(f"{path}: not a YAML file: line {line} is not in UTF-8: save the file as UTF-8") from None
    except (YAMLError, RecursionError, TypeError, ValueError) as error:
        if isinstance(error, SettingsError):
            raise
        raise SettingsError(f"{path}: not a YAML file: {type(error).__name__}: put text with braces into quotes") from None
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise SettingsError(f"{path}: expected blocks such as 'chunking:', found {type(content).__name__}")
    return _with_names(path, content)


def _line(error: Any) -> int:
    mark = error.problem_mark or error.context_mark
    return mark.line + 1 if mark else 1


def _count(value: Any, known: dict[int, int]) -> int:
    """How many values there are in one, those of an alias at each of its places; too many if it names what it is part of."""
    if not isinstance(value, dict | list | tuple):
        return 1
    if id(value) not in known:
        known[id(value)] = MOST_VALUES + 1  # as long as its end was not seen
        known[id(value)] = 1 + sum(_count(item, known) for item in (value.values() if isinstance(value, dict) else value))
    return known[id(value)]


def _with_names(path: Path, content: dict[Any, Any]) -> dict[str, Any]:
    """Blocks whose keys are texts; whole numbers become texts, as keys of JSON are."""
    named: dict[str, Any] = {}
    for key, value in content.items():
        if isinstance(key, bool) or not isinstance(key, str | int):
            raise SettingsError(f"{path}: the key {key!r} is not a text: put it into quotes, or give the name of a setting")
        named[str(key)] = _with_names(path, value) if isinstance(value, dict) else value
    return named


def line_of(path: Path, keys: list[str]) -> int | None:
    """The line, from 1, of the setting that the keys lead to, or of the innermost block that is there; None if none is."""
    node, line = _nodes(path, state_of(path)), None
    for key in keys:
        pairs = node.value if getattr(node, "id", "") == "mapping" else []
        found = next(((name, value) for name, value in pairs if name.value == key), None)
        if found is None:
            break
        line, node = found[0].start_mark.line + 1, found[1]
    return line


@lru_cache(maxsize=2)  # a file with many errors is read once for all of them
def _nodes(path: Path, state: FileState) -> Any:
    """What a file holds, with the place of each value."""
    from ruamel.yaml import YAML

    return YAML(typ="safe", pure=True).compose(path.read_text(encoding="utf-8"))


def refuse_misnamed(folder: Path) -> None:
    """Raise a SettingsError if a settings file of the folder has a name under which it is not read."""
    if not folder.is_dir():
        return
    there = sorted(path.name for path in folder.iterdir() if MISNAMED.fullmatch(path.name))
    for name in there:
        if name != NAME and NAME in there:
            raise SettingsError(f"{folder / name}: is not read beside {NAME}: move what it says into {NAME}, and delete it")
        if name != NAME:
            raise SettingsError(f"{folder / name}: is not read: rename it to {NAME}")
