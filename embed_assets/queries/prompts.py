"""Prompt files: Jinja templates, checked when they are loaded."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import jinja2
import jinja2.meta

from embed_assets.artifacts.files import fingerprint_of
from embed_assets.queries.settings import TASK_PROMPTS, QuestionsSettings
from embed_assets.text.near_duplicates import normalize_query

ENVIRONMENT = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=False, trim_blocks=True, lstrip_blocks=True)
# A prompt of a style shows one chunk or several, and may ask about an identifier of it or be given its artifacts.
STYLE_VARIABLES = ({"passage", "passages"}, {"identifier", "artifacts"})
BATCH, ARTIFACTS, ANSWERABLE, JUDGE = (f"{name}.jinja" for name in TASK_PROMPTS)
TASK_VARIABLES = {
    BATCH: {"passages", "styles", "reasoning_types", "min_complexity", "artifacts"},
    ARTIFACTS: {"passage"},
    ANSWERABLE: {"passage", "query"},
    JUDGE: {"passage", "query"},
}


class PromptError(ValueError):
    """A prompt file is missing, is no template, or does not use the variables that it is given."""


@dataclass(frozen=True)
class Prompt:
    """A prompt template; its name is that of its file without the ending, which is the style of its questions."""

    name: str
    source: str

    @property
    def fingerprint(self) -> str:
        return fingerprint_of(self.source)

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
        return self._template.render(variables).rstrip()

    @cached_property
    def examples(self) -> frozenset[str]:
        """The lines of the prompt, normalized and without their label: an answer among them was copied."""
        return frozenset(normalize_query(line.partition(": ")[2]) for line in self.source.splitlines())


def load_prompt(file: str, folders: Sequence[Path]) -> Prompt:
    """Load a prompt file.

    Args:
        file: its name. Those of TASK_VARIABLES are given the variables there; any other one is a style.
        folders: searched in order; the package's own prompts come last.

    Raises:
        PromptError: it is in no folder, is no valid template, or lacks a variable or has an unknown one.
    """
    places = [*folders, Path(__file__).parent / "prompts"]
    path = next((place / file for place in places if (place / file).is_file()), None)
    if path is None:
        raise PromptError(f"prompt {file!r} is in none of {', '.join(map(str, places))}")
    try:
        prompt = Prompt(path.stem, path.read_text(encoding="utf-8"))
        variables = prompt.variables
        ENVIRONMENT.from_string(prompt.source)
        others = list(jinja2.meta.find_referenced_templates(ENVIRONMENT.parse(prompt.source)))
    except jinja2.TemplateSyntaxError as error:
        raise PromptError(f"{path}:{error.lineno}: {error.message}") from None
    except UnicodeDecodeError as error:
        raise PromptError(f"{path}: not UTF-8: {error}") from None
    if others:
        raise PromptError(f"{path}: a prompt is one file and cannot include or extend another one; found {others}")
    found = ", ".join(sorted(variables)) or "none"
    if file in TASK_VARIABLES:
        missing, unknown = TASK_VARIABLES[file] - variables - {"artifacts"}, variables - TASK_VARIABLES[file]
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


def load_question_prompts(settings: QuestionsSettings, folders: Sequence[Path]) -> dict[str, Prompt]:
    """The prompts that the settings need, by name; errors are those of load_prompt."""
    files = []
    if "writer" in settings.language_models:
        files += [BATCH] if settings.mode == "batch" else [f"{style}.jinja" for style, share in settings.styles.items() if share]
    if "extractor" in settings.language_models:
        files.append(ARTIFACTS)
    if "judge" in settings.language_models:
        files += [ANSWERABLE] if settings.min_answerability else []
        files += [JUDGE] if settings.min_judge_score else []
    return {prompt.name: prompt for prompt in (load_prompt(file, folders) for file in files)}
