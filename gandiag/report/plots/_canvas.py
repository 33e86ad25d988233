"""Figures without pyplot: one style, and the way from a matplotlib figure to SVG that follows the page's theme."""

from __future__ import annotations

import functools
import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.ticker import FuncFormatter, NullFormatter

#: Role -> colour on a light page. Each is written as `var(--ROLE)` into the SVG; the page's style sheet gives the
#: dark value. So every role needs its own colour: two equal ones could not be told apart afterwards.
PALETTE = {
    "ink": "#23262d",
    "muted": "#6c727f",
    "rule": "#dfe2e8",
    "real": "#3c6fa8",
    "fake": "#d07a26",
    "disc": "#7b579a",
    "gen": "#2b9184",
    "null": "#9aa3b2",
    "critical": "#c2413a",
    "warning": "#c9952b",
    "info": "#6f8fb0",
    "ok": "#4a9567",
    "missing": "#c23f39",
    "under": "#dd8a48",
    "shrunken": "#bfa028",
    "over": "#8a6cc0",
}

_STYLE = {
    "font.size": 10.0,
    "axes.titlesize": 10.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlecolor": PALETTE["ink"],
    "axes.labelsize": 9.0,
    "axes.labelcolor": PALETTE["muted"],
    "axes.edgecolor": PALETTE["rule"],
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.formatter.use_mathtext": False,
    "axes.unicode_minus": False,
    "grid.color": PALETTE["rule"],
    "grid.linewidth": 0.6,
    "xtick.color": PALETTE["muted"],
    "ytick.color": PALETTE["muted"],
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "xtick.major.size": 0.0,
    "ytick.major.size": 0.0,
    "xtick.minor.size": 0.0,
    "ytick.minor.size": 0.0,
    "text.color": PALETTE["ink"],
    "text.parse_math": False,  # a class named `$\frac$` is a name, not a formula
    "figure.facecolor": "none",
    "figure.constrained_layout.use": True,
    "legend.frameon": False,
    "legend.fontsize": 9.0,
    "lines.linewidth": 1.6,
    "svg.fonttype": "none",  # text stays text: the page's own font, selectable
    "svg.hashsalt": "gandiag",  # the same data give the same bytes
}

_NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}


@contextmanager
def canvas(width: float, height: float) -> Iterator[Figure]:
    """A figure of `width` x `height` inches in the house style, whatever the caller's own matplotlib settings are.

    Draw and call `svg` inside the block: matplotlib reads its settings at both times.
    """
    with matplotlib.style.context(["default", _STYLE]):
        yield Figure(figsize=(width, height))


def svg(figure: Figure, *, title: str) -> str:
    """The figure as an inline `<svg>` whose colours are CSS variables; `title` is what a screen reader says."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata=_NO_METADATA)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<style[^>]*>.*?</style>", "", text, flags=re.DOTALL)  # a `*` rule: it would style the whole page
    text = re.sub(r'<g id="[^"]*">', "<g>", text)  # ids such as axes_1 recur in every figure of the page
    text = re.sub(r"<[^>]*>", lambda tag: _thin(tag.group()), text)
    text = re.sub(r"<g([^>]*)>\s*((?:<use [^>]*/>\s*){4,})</g>", _hoist, text)
    box = re.search(r'viewBox="([^"]*)"', text)
    view_box = box.group(1) if box else f"0 0 {72 * figure.get_figwidth()} {72 * figure.get_figheight()}"
    opening = (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="{view_box}" role="img" aria-label="{title}">'
    )
    return re.sub(r"<svg[^>]*>", opening, text, count=1)


def _thin(tag: str) -> str:
    """One SVG tag with theme colours, the page's font, and no more digits than a screen can show."""
    tag = re.sub(r"font-family: [^;\"]*;? ?", "", tag)
    tag = re.sub(r"(-?\d+\.\d{2})\d+", r"\1", tag)
    for role, colour in PALETTE.items():
        tag = tag.replace(colour, f"var(--{role})")
    return tag


def _hoist(group: re.Match[str]) -> str:
    """A group of markers with their common style written once instead of at each: half the bytes of a scatter."""
    attributes, markers = group.groups()
    styles = set(re.findall(r' style="[^"]*"', markers))
    if len(styles) != 1 or "style=" in attributes:
        return group.group()
    (style,) = styles
    return f"<g{attributes}{style}>{markers.replace(style, '')}</g>"


def label(text: object, *, limit: int = 36) -> str:
    """Foreign text for a figure: one line, cut in the middle, and only characters that the font can draw.

    matplotlib warns for each character without a glyph; the replacement is a question mark.
    """
    words = "".join(ch if ord(ch) in _glyphs() else "?" for ch in " ".join(str(text).split()))
    if len(words) <= limit:
        return words
    return f"{words[: limit // 2 - 1]}…{words[-(limit // 2) :]}"


@functools.cache
def _glyphs() -> frozenset[int]:
    return frozenset(get_font(findfont(FontProperties(family="DejaVu Sans"))).get_charmap())


def iterations_axis(axes: Axes, last: int) -> None:
    """An x axis of iterations from 0 to the end of the run, thousands separated."""
    axes.set_xlim(0, max(last, 1))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.locator_params(axis="x", nbins=8, integer=True)


def plain_numbers(axes: Axes) -> None:
    """Ticks of a log or symlog y axis as plain numbers: 0.01, 1, 1e+04."""
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def mark_findings(axes: Axes, findings: Sequence[Any], *, last: int, codes: bool = False) -> None:
    """Mark where findings begin; with `codes`, write their codes at the top.

    The first finding's steps are shaded too. Only that one, as shades on shades hide the curves; and only critical
    findings and warnings are marked at all.
    """
    marked = [f for f in findings if f.get("severity") in ("critical", "warning") and f.get("first_step") is not None]
    starts: dict[int, list[str]] = {}
    for index, finding in enumerate(marked[:6]):
        colour, first = PALETTE[finding["severity"]], finding["first_step"]
        end = max(finding.get("last_step") or first, first + last * 0.002)
        if index == 0:
            axes.axvspan(first, end, color=colour, alpha=0.08, lw=0)
        axes.axvline(first, color=colour, lw=1.0, alpha=0.8)
        starts.setdefault(int(first), []).append(label(finding.get("code")))
    if not codes:
        return
    for row, (first, names) in enumerate(sorted(starts.items())):
        right = first > 0.8 * last
        axes.annotate(
            " ".join(names),
            xy=(first, 1),
            xycoords=("data", "axes fraction"),
            xytext=(-4 if right else 4, -9 - 11 * (row % 3)),
            textcoords="offset points",
            ha="right" if right else "left",
            fontsize=8,
            color=PALETTE["ink"],
        )
