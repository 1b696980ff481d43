"""Prompt files: Jinja templates, checked when they are loaded."""

import difflib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import jinja2
import jinja2.meta
from jinja2 import nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment, SecurityError

from embed_assets.artifacts.errors import UserError
from embed_assets.artifacts.files import fingerprint_of
from embed_assets.queries.settings import TASK_PROMPTS, QuestionsSettings
from embed_assets.text.near_duplicates import normalize_query

LONGEST_PROMPT = 1_000_000  # characters
# Of a prompt file: bytes, and variables, words of Jinja and constants. Jinja takes seconds for ten times as many.
LONGEST_SOURCE, MOST_NODES = 200_000, 5_000
# Loops in loops over the text of passages would end, but not today.
DEEPEST_LOOP = 2
FILTERS = (
    *("capitalize", "count", "default", "dictsort", "first", "int", "items", "last", "length", "list", "lower", "max"),
    *("min", "reject", "rejectattr", "reverse", "round", "select", "selectattr", "sort", "string", "title", "trim"),
    *("truncate", "unique", "upper"),
)
# Up to the first end of a comment, so that it takes linear time whatever stands in the file.
DESCRIPTION = re.compile(r"\{#-?\s*description:((?:(?!#\}).)+)#\}\n?", re.DOTALL)
# Methods that make long texts of short ones.
LENGTHENING = frozenset(
    ("center", "expandtabs", "format", "format_map", "join", "ljust", "replace", "rjust", "translate", "zfill")
)
# A prompt puts its variables into a text, with loops and conditions; what could repeat a text without end is not among these.
NODES = tuple(
    getattr(nodes, name)
    for name in (
        *("Template", "Output", "TemplateData", "Name", "For", "If", "CondExpr", "Filter", "Test", "Getattr", "Getitem", "Slice"),
        *("Call", "Keyword", "Const", "List", "Tuple", "Dict", "Pair", "Compare", "Operand", "And", "Or", "Not", "Neg"),
        *("Add", "Sub", "Concat", "Include", "Extends", "Import", "FromImport"),
    )
)


class PromptEnvironment(ImmutableSandboxedEnvironment):
    """Jinja for files that may come from an enemy: they see their variables, and nothing of Python behind them."""

    def __init__(self) -> None:
        super().__init__(undefined=jinja2.StrictUndefined, autoescape=False, trim_blocks=True, lstrip_blocks=True)
        self.globals.clear()
        self.filters = {name: self.filters[name] for name in FILTERS} | {"join": _join, "replace": _replace, "tojson": _tojson}

    def wrap_str_format(self, value: Any) -> None:
        """Lets is_safe_attribute refuse str.format, whose fields can be of any width."""

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        return attr not in LENGTHENING and super().is_safe_attribute(obj, attr, value)


def _join(items: Iterable[Any], between: str = "") -> str:
    parts = [str(item) for item in items]
    if len(parts) * len(between) > LONGEST_PROMPT:
        raise SecurityError("joins too much")
    return between.join(parts)


def _tojson(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _replace(text: str, old: str, new: str) -> str:
    if not old or len(text) * max(1, len(new)) > LONGEST_PROMPT:
        raise SecurityError("replaces too much")
    return text.replace(old, new)


ENVIRONMENT = PromptEnvironment()
# What a prompt may use and need not: who asks, and the language of the passages in words, "" for English.
OPTIONAL_VARIABLES = {"artifacts", "reader", "language"}
OPTIONAL_IN_TASKS = OPTIONAL_VARIABLES | {"written", "answer", "answers", "context", "hops"}
# A prompt of a style shows one chunk or several, and may ask about an identifier of it.
STYLE_VARIABLES = ({"passage", "passages"}, {"identifier"} | OPTIONAL_VARIABLES)
# The style of the questions about identifiers that no other query names.
ABOUT_IDENTIFIERS = "identifier_question"
BATCH, ARTIFACTS, ANSWERABLE, JUDGE = (f"{name}.jinja" for name in TASK_PROMPTS)
TASK_VARIABLES = {
    BATCH: {"passages", "styles", "descriptions", "reasoning_types", "min_complexity", "written", "answers", "context", "hops"}
    | OPTIONAL_VARIABLES,
    ARTIFACTS: {"passage"},
    ANSWERABLE: {"passage", "query"},
    JUDGE: {"passage", "query", "answer"},
}


class PromptError(UserError, ValueError):
    """A prompt file is missing, is no template, or does not use the variables that it is given."""


@dataclass(frozen=True)
class Prompt:
    """A prompt template; its name is that of its file without the ending, which is the style of its questions.

    Args:
        name: the style, or the task.
        source: the file.
        styles: of batch.jinja, the styles that it is rendered with, and what their files say of them.
    """

    name: str
    source: str
    styles: tuple[tuple[str, str], ...] = ()

    @cached_property
    def text(self) -> str:
        """The source without the description, which is no part of the prompt of a style."""
        return DESCRIPTION.sub("", self.source, count=1)

    @property
    def fingerprint(self) -> str:
        return fingerprint_of([self.text, self.styles] if self.styles else self.text)

    @property
    def description(self) -> str:
        """What the file says of its style for batch mode, as in ``{#- description: a plain question -#}``; "" for nothing."""
        stated = DESCRIPTION.search(self.source)
        return " ".join(stated[1].removesuffix("-").split()) if stated else ""

    @property
    def version(self) -> str:
        """The version that the first line states, as in ``{#- version 2 -#}``; "" if it states none."""
        stated = re.match(r"\{#-?\s*version\s+(\S+?)\s*-?#\}", self.source)
        return stated.group(1) if stated else ""

    @cached_property
    def variables(self) -> frozenset[str]:
        return frozenset(jinja2.meta.find_undeclared_variables(ENVIRONMENT.parse(self.source)))

    @cached_property
    def _template(self) -> jinja2.Template:
        return ENVIRONMENT.from_string(self.source)

    def render(self, variables: Mapping[str, Any]) -> str:
        """The prompt for these variables.

        Raises:
            PromptError: it reaches for what a prompt has no business with, or is longer than LONGEST_PROMPT.
        """
        parts, length = [], 0
        try:
            for part in self._template.generate(variables):
                parts.append(part)
                if (length := length + len(part)) > LONGEST_PROMPT:
                    raise PromptError(f"prompt {self.name!r}: longer than {LONGEST_PROMPT:,} characters with its passages")
        except PromptError:
            raise
        except Exception as error:  # whatever the methods and filters that a stranger's file calls may raise
            raise PromptError(f"prompt {self.name!r}: {error}") from None
        return "".join(parts).rstrip()

    @cached_property
    def examples(self) -> frozenset[str]:
        """The lines of the prompt, normalized and without their label: an answer among them was copied."""
        return frozenset(normalize_query(line.partition(": ")[2]) for line in self.text.splitlines())


def prompt_places(folders: Sequence[Path]) -> list[Path]:
    """Where prompt files are looked for, in order: the package's own come last."""
    return [*folders, Path(__file__).parent / "prompts"]


def find_prompts(folders: Sequence[Path]) -> dict[str, Path]:
    """The file of each prompt that is used under its name, by name; arguments as of load_prompt."""
    return {path.stem: path for place in reversed(prompt_places(folders)) for path in sorted(place.glob("*.jinja"))}


def load_prompt(file: str, folders: Sequence[Path]) -> Prompt:
    """Load a prompt file.

    Args:
        file: its name. Those of TASK_VARIABLES are given the variables there; any other one is a style.
        folders: searched in order; the package's own prompts come last.

    Raises:
        PromptError: it is in no folder, is no valid template, or lacks a variable or has an unknown one.
    """
    places = prompt_places(folders)
    path = next((place / file for place in places if (place / file).is_file()), None)
    if path is None:
        near = difflib.get_close_matches(file, [there.name for place in places for there in place.glob("*.jinja")], n=1)
        hint = f": did you mean {near[0].removesuffix('.jinja')!r}?" if near else ""
        raise PromptError(f"prompt {file!r} is in none of {', '.join(map(str, places))}{hint}")
    try:
        if path.stat().st_size > LONGEST_SOURCE:
            raise PromptError(f"{path}: larger than {LONGEST_SOURCE:,} bytes")
        return _checked(path, path.read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError as error:
        raise PromptError(f"{path}: not UTF-8: {error}: save it as UTF-8") from None


@lru_cache(maxsize=1000)
def _checked(path: Path, source: str) -> Prompt:
    """The prompt of a file, parsed once for all collections that have it in common; errors as load_prompt."""
    file, prompt = path.name, Prompt(path.stem, source)
    try:
        _check_nodes(path, prompt.source)  # before anything compiles it, which computes what is constant
        variables = prompt.variables
        ENVIRONMENT.from_string(prompt.source)
        others = list(jinja2.meta.find_referenced_templates(ENVIRONMENT.parse(prompt.source)))
    except jinja2.TemplateSyntaxError as error:
        raise PromptError(f"{path}:{error.lineno}: {error.message}") from None
    except (RecursionError, SyntaxError, MemoryError):  # of Jinja, or of Python for what Jinja makes of it
        raise PromptError(f"{path}: its expressions or conditions are nested too deeply") from None
    if others:
        raise PromptError(f"{path}: a prompt is one file and cannot include or extend another one; found {others}")
    found = ", ".join(sorted(variables)) or "none"
    if file in TASK_VARIABLES:
        missing, unknown = TASK_VARIABLES[file] - variables - OPTIONAL_IN_TASKS, variables - TASK_VARIABLES[file]
        if missing or unknown:
            raise PromptError(
                f"{path}: the variables of this prompt are {', '.join(sorted(TASK_VARIABLES[file]))}; found {found}"
            )
    else:
        shown, optional = STYLE_VARIABLES
        if len(variables & shown) != 1 or variables - shown - optional:
            raise PromptError(
                f"{path}: a style uses either 'passage' or 'passages', and besides it at most "
                f"{' and '.join(map(repr, sorted(optional)))}; found {found}"
            )
    return prompt


def _check_nodes(path: Path, source: str) -> None:
    """Refuse what a prompt does not need and could be used to fill memory or to run for ever."""
    waiting: list[tuple[nodes.Node, int]] = [(ENVIRONMENT.parse(source), 0)]
    number = 0
    while waiting:
        node, depth = waiting.pop()
        if (number := number + 1) > MOST_NODES:
            raise PromptError(f"{path}: more than {MOST_NODES:,} variables, words of Jinja and constants")
        depth += isinstance(node, nodes.For)
        if not isinstance(node, NODES):
            raise PromptError(
                f"{path}:{node.lineno}: a prompt has loops and conditions over its variables, no {type(node).__name__}"
            )
        if depth > DEEPEST_LOOP or getattr(node, "recursive", False):
            raise PromptError(f"{path}:{node.lineno}: loops within loops go at most {DEEPEST_LOOP} deep")
        waiting += [(child, depth) for child in node.iter_child_nodes()]


def load_question_prompts(settings: QuestionsSettings, folders: Sequence[Path]) -> dict[str, Prompt]:
    """The prompts that the settings need, by name; errors as load_prompt, and where batch mode has no words for a style."""
    prompts = []
    if "writer" in settings.language_models:
        styles = [load_prompt(f"{style}.jinja", folders) for style, share in settings.styles.items() if share]
        prompts += [_with_styles(load_prompt(BATCH, folders), styles)] if settings.mode == "batch" else styles
        if settings.identifier_coverage and ABOUT_IDENTIFIERS not in [prompt.name for prompt in prompts]:
            prompts.append(load_prompt(f"{ABOUT_IDENTIFIERS}.jinja", folders))
    if "extractor" in settings.language_models:
        prompts.append(load_prompt(ARTIFACTS, folders))
    if "judge" in settings.language_models:
        prompts += [load_prompt(ANSWERABLE, folders)] if settings.min_answerability else []
        prompts += [load_prompt(JUDGE, folders)] if settings.min_judge_score else []
    return {prompt.name: prompt for prompt in prompts}


def _with_styles(batch: Prompt, styles: Sequence[Prompt]) -> Prompt:
    """The batch prompt with what the files of the styles say of them."""
    for style in styles:
        if not style.description:
            raise PromptError(
                f"the style {style.name!r} says nothing of itself, which batch mode needs: put a line such as "
                f"{{#- description: a plain question in one sentence -#}} into {style.name}.jinja"
            )
    return replace(batch, styles=tuple((style.name, style.description) for style in styles))
