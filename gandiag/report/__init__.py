"""Renders a diagnosis for people: terminal, HTML, figures. It never computes what an analyzer should.

- `words.py` turns numbers into sentences; terminal and HTML say the same thing because both take them from there.
- `view.py` gathers what the figures draw from a run directory.
- `terminal.py` and `html.py` lay it out; `plots/` holds one figure a file.
- `comparison.py` and `remediation.py` render two runs side by side, and what a remediation achieved; `scores.py` and
  `scores_page.py` what `gandiag score` found.

All texts that come from a run directory are hostile until shown otherwise: `words.visible` for the terminal,
jinja2's autoescape for HTML, `plots._canvas.label` for figures.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gandiag.analyze import Diagnosis


def write_html(diagnosis: Diagnosis, path: str | Path) -> Path:
    """Write the self-contained HTML report of a diagnosis; see `gandiag.report.html.write`."""
    from gandiag.report import html  # matplotlib and jinja2 load only where a report is written

    return html.write(diagnosis, path)
