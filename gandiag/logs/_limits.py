"""What a log can tell and what it cannot, in words."""

from __future__ import annotations

from collections.abc import Sequence

from gandiag.logs._table import Table
from gandiag.logs.base import Log

SHOWN = 8
"""Names of columns that are spelt out; the rest is counted."""

_WORDS = (
    ("loss/d", "D's loss"),
    ("loss/g", "G's loss"),
    ("d/logits/real/mean", "D's outputs on real"),
    ("d/logits/fake/mean", "D's outputs on fake"),
    ("g/logits/fake/mean", "D's outputs on fake in G's step"),
    ("d/logits/real/positive", "the share of real that D judges real"),
    ("d/logits/fake/positive", "the share of fake that D judges real"),
    ("d/accuracy", "D's accuracy"),
    ("grad/d/total", "D's gradient norm"),
    ("grad/g/total", "G's gradient norm"),
)


def read_as(table: Table) -> list[str]:
    """Which column is read as what: "D's loss from 'errD'"; what gandiag itself called so is not repeated."""
    return [f"{text} from {table.read_as[column]!r}" for column, text in _WORDS if column in table.read_as]


def limits(log: Log, table: Table, *, judged: Sequence[str]) -> tuple[str, ...]:
    """The blind spots of a diagnosis that rests on a log.

    Args:
        log: what was read.
        table: its columns under gandiag's names.
        judged: codes of the analyzers that could judge.
    """
    found = read_as(table)
    lines = [
        f"this is {log.title}, not a recording of gandiag's: it has no samples, and losses and scores alone never show "
        "that modes are missing, nor that none is; `gandiag run -- COMMAND` records what is needed",
        f"read: {'; '.join(found)}"
        if found
        else "no column is known as a loss, score or gradient norm of D or G: name "
        "them like 'loss_D', 'loss_G', 'scores/real', 'scores/fake', 'grad_norm_D', 'grad_norm_G'",
        f"what could be judged in full: {', '.join(judged) or 'nothing'}",
    ]
    if log.axis != "iterations":
        lines.append(f"where this report says iteration, the log counts {log.axis}")
    lines += _lacking(table)
    for names, what in (
        (table.watched, "only NaN and infinity were looked for in"),
        (table.unclear, "a loss to some, a score to others, so only NaN and infinity were looked for in"),
        (table.unused, "not used:"),
    ):
        if names:
            lines.append(f"{what} {_listed(names)}")
    return (*lines, *table.notes, *log.notes)


def _lacking(table: Table) -> list[str]:
    have = table.read_as
    lacks = [
        ("no loss of D", "loss/d" in have),
        ("no loss of G", "loss/g" in have),
        ("no outputs of D on real and fake", "d/logits/real/mean" in have and "d/logits/fake/mean" in have),
        (
            "no accuracy of D",
            "d/accuracy" in have or ("d/logits/real/positive" in have and "d/logits/fake/positive" in have),
        ),
        ("no gradient norm of D", "grad/d/total" in have),
        ("no gradient norm of G", "grad/g/total" in have),
    ]
    missing = [text for text, there in lacks if not there]
    return [f"the log has {', '.join(missing)}"] if missing else []


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(map(repr, names[:SHOWN])) + more
