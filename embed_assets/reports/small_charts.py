"""Charts so small that the Dagster UI shows them without a click."""

import urllib.parse
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple

from embed_assets.artifacts.store import REPORT

SHOWN_AT_ONCE = 999  # characters: dagster-webserver hides longer Markdown behind a link (MetadataEntry.tsx)
_WIDTH, _LABELS, _ROW = 460, 150, 18  # pixels
_LONGEST_LABEL = 16  # characters
_SAFE = "/:='.,;-_~!*@$"


class Bar(NamedTuple):
    """A value from 0 to 1, and its interval if there is one."""

    label: str
    value: float
    interval: Sequence[float] = ()


def write_bars(folder: Path, name: str, bars: Sequence[Bar], caption: str) -> None:
    """Draw bars with their values and intervals to report/<name>.svg, so that as_markdown is shown at once.

    Where all do not fit, the last ones are left out. The colours can be read on light and on dark pages.

    Args:
        folder: of the artifact.
        name: of the entry.
        bars: from top to bottom.
        caption: a line below them.
    """
    for count in range(len(bars), 0, -1):
        more = "" if count == len(bars) else f", {len(bars) - count} more not shown"
        svg = _svg(bars[:count], caption + more)
        if len(as_markdown(name, svg)) <= SHOWN_AT_ONCE:
            (folder / REPORT / f"{name}.svg").write_text(svg, encoding="utf-8")
            return


def as_markdown(name: str, svg: str) -> str:
    """A picture in Markdown that holds the whole SVG; shorter than base64 would be."""
    return f"![{name}](data:image/svg+xml,{urllib.parse.quote(svg, safe=_SAFE)})"


def _svg(bars: Sequence[Bar], caption: str) -> str:
    scale = _WIDTH - _LABELS
    shapes, intervals, lines = "", "", []
    for row, bar in enumerate(bars):
        width, top = round(scale * bar.value), _ROW * row
        shapes += f"M{_LABELS},{top + 3}h{width}v12h-{width}z"
        if bar.interval:
            start, end = (_LABELS + round(scale * edge) for edge in bar.interval)
            intervals += f"M{start},{top + 9}H{end}"
        lines.append(f"{bar.label[:_LONGEST_LABEL]} {f'{bar.value:.3f}'.removeprefix('0')}")
    texts = "".join(f"<text y='{_ROW * row + 14}'>{escape(line)}</text>" for row, line in enumerate([*lines, caption]))
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{_WIDTH}' height='{_ROW * len(bars) + 20}' "
        f"font-family='sans-serif' font-size='13' fill='#888'><path fill='#5a9bc4' d='{shapes}'/>"
        f"<path stroke='#c63' stroke-width='2' d='{intervals}'/>{texts}</svg>"
    )
