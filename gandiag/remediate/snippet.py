"""The winning techniques as lines for the script itself, from their cards."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from gandiag.techniques import parse


def snippet(techniques: Sequence[str]) -> str:
    """Python lines that write `techniques` (as `r1:gamma=0.1`) into a training script by hand; "" for none."""
    return "\n\n".join(_one(text) for text in techniques)


def _one(text: str) -> str:
    technique = parse(text)
    card = technique.card
    lines = card.snippet
    for name, value in technique.params().items():
        lines = lines.replace("{" + name + "}", f"{value:g}" if isinstance(value, float) else str(value))
    head = f"{text}: {card.summary} {card.source}"
    comment = textwrap.wrap(head, 118, initial_indent="# ", subsequent_indent="# ", break_long_words=False)
    return "\n".join([*comment, lines.rstrip()])
