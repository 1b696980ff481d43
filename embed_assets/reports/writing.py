"""The files of a report: figures, findings, tables and texts."""

import dataclasses
import html
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from embed_assets.artifacts.checks import Finding
from embed_assets.artifacts.store import FINDINGS, REPORT, SUMMARY

# Between letters an underscore is one, as in MAX_RETRIES.
MARKS = re.compile(r"[\\`*\[\]|~]|(?<!\w)_|_(?!\w)")


def write_findings(folder: Path, findings: Sequence[Finding]) -> None:
    """Write the outcomes of a stage's checks to report/findings.json."""
    rows = [dataclasses.asdict(finding) for finding in findings]
    (folder / REPORT / FINDINGS).write_text(json.dumps(rows, indent=2, ensure_ascii=False), encoding="utf-8")


def write_summary(folder: Path, figures: Mapping[str, Any]) -> None:
    """Write counts and figures (numbers, texts or booleans by name) to report/summary.json."""
    (folder / REPORT / SUMMARY).write_text(json.dumps(figures, indent=2, ensure_ascii=False), encoding="utf-8")


def write_text(folder: Path, name: str, markdown: str) -> None:
    """Write Markdown to report/<name>.md; what comes from documents, queries and names of files has to be inert()."""
    (folder / REPORT / f"{name}.md").write_text(markdown, encoding="utf-8")


def write_notes(folder: Path, notes: Sequence[str]) -> None:
    """Write sentences, which may name documents and queries, as a list to report/notes.md."""
    write_text(folder, "notes", "\n".join(f"- {inert(' '.join(note.split()))}" for note in notes))


def write_table(folder: Path, name: str, frame: pl.DataFrame, longest: int = 160) -> None:
    """Write a table to report/<name>.md; longer texts are cut."""
    write_text(folder, name, markdown_table(frame, longest))


def markdown_table(frame: pl.DataFrame, longest: int = 160) -> str:
    """A table in Markdown, its texts inert; longer ones are cut."""
    lines = [f"| {' | '.join(map(inert, frame.columns))} |", f"|{' --- |' * frame.width}"]
    lines += [f"| {' | '.join(_cell(value, longest) for value in row)} |" for row in frame.iter_rows()]
    return "\n".join(lines)


def _cell(value: Any, longest: int) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else "" if value is None else str(value)
    text = " ".join(text.split())
    return inert(text if len(text) <= longest else f"{text[: longest - 1]}…")


def inert(text: str) -> str:
    """Text of a document for Markdown, so that none of it is markup: no link, picture, HTML, emphasis or table border."""
    escaped = html.escape(MARKS.sub(r"\\\g<0>", text), quote=False)
    # An invisible character keeps web addresses from becoming links.
    return re.sub(r"(?i)(?<=:)(?=//)|(?<=\bwww)(?=\.)", "\u2060", escaped)
