"""`gandiag explain GD101`: what a finding means, when it is wrong, and what treats it."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from gandiag.analyzers.base import Analyzer


def command(
    code: Annotated[str, typer.Argument(metavar="CODE", help="A code such as GD101, or a name such as modes-missing.")],
) -> None:
    """Explain a finding: what it sees, when it is wrong, and which techniques treat it."""
    from gandiag.report.terminal import console

    rule = _find(code)
    out = console()
    page = _page(rule)
    if page is not None:
        from rich.markdown import Markdown

        out.print(Markdown(page.read_text(encoding="utf-8")))
    else:
        _docstring(rule, out)
    _treated_by(rule, out)


def _find(text: str) -> Analyzer:
    from gandiag.analyzers import ANALYZERS
    from gandiag.errors import UnknownName

    wanted = text.strip().lower()
    for rule in ANALYZERS:
        if wanted in (rule.code.lower(), rule.name):
            return rule
    # Codes are told apart by their digits, names by their words: suggest among the kind that was typed.
    is_code = wanted.startswith("gd") and any(ch.isdigit() for ch in wanted)
    known = [rule.code if is_code else rule.name for rule in ANALYZERS]
    raise UnknownName.of("finding", text.upper() if is_code else text, known)


def _page(rule: Analyzer) -> Path | None:
    """The reference page, which a checkout has and an installed package may not."""
    import gandiag

    page = Path(gandiag.__file__).parents[1] / "docs" / "reference" / "analyzers" / f"{rule.code}-{rule.name}.md"
    return page if page.is_file() else None


def _docstring(rule: Analyzer, out: Console) -> None:
    from rich.text import Text

    from gandiag.report.text import visible

    module = inspect.getmodule(rule.rule)
    texts = [inspect.getdoc(module) if module else None, inspect.getdoc(rule.rule)]
    out.print(Text(f"{rule.code} {rule.name}", style="bold"))
    for text in texts:
        if text:
            out.print()
            out.print(Text(visible(text.removeprefix(f"{rule.code}: ")).replace("\\n", "\n")))


def _treated_by(rule: Analyzer, out: Console) -> None:
    from rich.text import Text

    from gandiag.report.terminal import heading
    from gandiag.techniques import TECHNIQUES

    cards = sorted(
        (made.card for made in TECHNIQUES if rule.code in made.card.treats), key=lambda c: -c.treats[rule.code]
    )
    if not cards:
        return
    heading(out, "Treated by", "strongest evidence first; `gandiag techniques NAME` shows a card")
    for card in cards:
        out.print(Text.assemble((f"  {card.name:<28}", "bold"), f"{card.treats[rule.code]:.1f}  {card.summary}"))
