"""The figures behind a name, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gandiag.metrics import Measure, Mode, ModeTable
from gandiag.metrics.modes import SIGNIFICANT

MODES = "modes"
"""What the shares of all modes together are called among the metrics."""

RARELY, OFTEN = "generated too rarely", "generated too often"


def percent(share: float) -> str:
    """A share in per cent, with a digit more where it is small."""
    return f"{100 * share:.{int(0 < share < 0.0995)}f} %"


def in_state(state: str, table: ModeTable, say: str) -> str:
    """How many modes are in a state, and what they hold; empty if none is."""
    return _holding([mode for mode in table.modes if mode.state == state], table, say)


def off_share(table: ModeTable) -> str:
    """The modes whose shares are wrong beyond chance, though by less than it takes to be called so."""
    wrong = [mode for mode in table.modes if mode.p_adjusted < SIGNIFICANT]
    near = 1 - table.unassigned_share
    rare = [mode for mode in wrong if mode.fake_share < mode.real_share * near]
    often = [mode for mode in wrong if mode not in rare]
    return " and ".join(part for part in (_holding(rare, table, RARELY), _holding(often, table, OFTEN)) if part)


def few(duplicates: Measure) -> str:
    """Samples that repeat each other."""
    return (
        f"{percent(duplicates.value)} of the samples nearly repeat another sample, of data {percent(duplicates.null)}"
    )


def memorised(copies: Measure) -> str:
    """Samples that repeat data."""
    return (
        f"{percent(copies.value)} of the samples nearly repeat one of the {copies.n_real:,} real samples that they "
        f"were held against, of held-out data {percent(copies.null)}"
    )


def shrunken(recall: Measure, spread: float) -> str:
    """Modes with too little variety; `spread` is NaN where it is not known."""
    narrow = f"samples of a mode spread {spread:.2f} times as far as data" if spread < 1 else ""
    span = f"samples span {percent(recall.value)} of the data, where data would span {percent(recall.null)}"
    return f"{narrow}, and {span}" if narrow else f"they lie where the data are densest, and {span}"


def junk(off: float, spread: float | None) -> str:
    """Samples off the data, and the spread within modes where that explains them."""
    wide = f": samples of a mode spread {spread:.2f} times as far as data" if spread is not None else ""
    return f"about {percent(off)} of the samples lie off the data{wide}"


def unlike(different: Sequence[str], metrics: Mapping[str, Measure]) -> str:
    """What differs, where that has no name."""
    parts = []
    for name in different:
        if name == MODES:
            parts.append("the shares of modes")
            continue
        measure = metrics[name]
        parts.append(f"{name} ({measure.value:.3g}, where data would read {measure.null:.3g})")
    return f"samples differ from the data in {', '.join(parts)}, in a way that has no name here"


def sentence(names: Sequence[str], found: Mapping[str, str]) -> str:
    """Names and figures in one."""
    text = "; ".join(f"{name}: {found[name]}" for name in names)
    return text[0].upper() + text[1:] + "."


def nothing(metrics: Mapping[str, Measure]) -> str:
    """That no difference was found, and among how many samples."""
    sizes = next(((m.n_real, m.n_fake) for m in metrics.values()), None)
    beside = f", with {sizes[0]:,} real and {sizes[1]:,} generated samples" if sizes else ": nothing was measured"
    return f"No difference from the data was found{beside}."


def _holding(affected: Sequence[Mode], table: ModeTable, say: str) -> str:
    if not affected:
        return ""
    real = sum(mode.real_share for mode in affected)
    fake = sum(mode.fake_share for mode in affected)
    count = f"{len(affected)} of {len(table.modes)} modes {'is' if len(affected) == 1 else 'are'} {say}"
    return f"{count} ({percent(real)} of the data, {percent(fake)} of the samples)"
