"""What is wrong with a set of samples, by name: a decision table over metrics beside their nulls.

No metric alone tells failures apart. Coverage is low where modes are missing, and keeps its null where all modes are
there but narrower; recall falls in both; density rises only in the second. So the names come from several metrics
together, and only if at least one of them is further from its null than chance explains, adjusted for how many are
looked at.

| read | name |
|---|---|
| duplicates high, and more than narrow modes explain | few outputs |
| coverage low, or modes of the table without samples | modes missing |
| copies high | memorised |
| recall low, and modes narrow or density high | modes shrunken |
| shares of modes wrong, none of them near 0 | modes under-represented |
| precision low | junk |
| anything else that differs | unlike the data |
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from gandiag.metrics import Measure, ModeTable
from gandiag.metrics._pass import CLOSENESS
from gandiag.score import phrases
from gandiag.score.chance import holm, p_value
from gandiag.score.phrases import MODES

LEVEL = 0.05
"""Probability that data are called different from data, at most: all p-values are adjusted together (Holm 1979)."""

USED = ("precision", "recall", "density", "coverage", "kid", "duplicates", "copies")
"""Each further metric costs the others power. The ones left out repeat one of these (the clipped ones) or have a null
of few splits (Fréchet distance, Vendi score)."""

COUNTED_AS = 5
"""Metrics that the shares of all modes together count as. Where modes are shrunken, say, several metrics are far off,
and Holm's method then is lenient with the rest: with shares counted as one, one set of samples in 60 with shrunken
modes was called under-represented as well."""

FEW, ALL = 0.25, 0.9
"""Repeated samples, beyond those of data, from which the outputs are few, and from which that explains all else."""
REACHED = 0.5
"""Share of the data whose modes are reached, from which on narrow modes excuse that samples repeat each other."""
COPIED, MOSTLY_COPIED = 0.025, 0.5
"""Samples near a real one, beyond those of held-out data, from which a generator has memorised: copies of the data are
looked for in half of them, so that is one sample in 20. The second is for where its outputs are a few points, some of
which may lie near a real sample for no such reason."""
TIMES = 3.0
"""... and so many times as often as data: in a plane or on a line data come close to each other, too."""
OFF, MOSTLY_OFF = 0.05, 0.3
"""Samples off the data from which they are junk, and from which coverage says nothing more about lost modes."""
LOST = 0.02
"""Least share of the data to lack samples before modes are missing."""
NARROW, WIDE = 0.95, 1.05
"""Spread within modes, over the data's, below which they have shrunk though coverage is low, too, and above which it
explains samples off the data."""
DENSER = 1.25
"""Density over its null that stands for it where no modes are known."""


@dataclass(frozen=True)
class Reading:
    """What metrics say together.

    Attributes:
        names: of what is wrong, worst first; empty if no difference from the data was found.
        because: for each name, the figures behind it.
        sentence: names and figures in one.
        different: the metrics, and "modes" for their shares, that differ from their null beyond chance.
    """

    names: tuple[str, ...]
    because: tuple[str, ...]
    sentence: str
    different: tuple[str, ...]

    def __str__(self) -> str:
        return self.sentence


def judge(metrics: Mapping[str, Measure], modes: ModeTable | None = None) -> Reading:
    """Name what is wrong.

    Args:
        metrics: name to measure, as `RealReference.measure` gives them. Those that are missing are not looked at.
        modes: the fate of each mode, where the data have any.
    """
    evidence = _Evidence(metrics, modes)
    found: dict[str, str] = {}
    if evidence.repeated >= FEW:
        found["few outputs (point collapse)"] = phrases.few(metrics["duplicates"])
    if evidence.repeated < ALL:
        found |= evidence.shares()
        if evidence.shrunken():
            found["modes shrunken"] = phrases.shrunken(metrics["recall"], evidence.spread)
        if evidence.off >= OFF:
            found["junk"] = phrases.junk(evidence.off, evidence.spread if evidence.spread > WIDE else None)
    if evidence.copied >= (COPIED if evidence.repeated < ALL else MOSTLY_COPIED):
        found["memorised"] = phrases.memorised(metrics["copies"])
    if evidence.different and not found:
        found["unlike the data"] = phrases.unlike(evidence.different, metrics)
    names = tuple(name for name in _WORST_FIRST if name in found)
    return Reading(
        names=names,
        because=tuple(found[name] for name in names),
        sentence=phrases.sentence(names, found) if names else phrases.nothing(metrics),
        different=evidence.different,
    )


_WORST_FIRST = (
    "few outputs (point collapse)",
    "modes missing",
    "memorised",
    "modes shrunken",
    "modes under-represented",
    "junk",
    "unlike the data",
)


class _Evidence:
    """The metrics, and what of them is beyond chance."""

    def __init__(self, metrics: Mapping[str, Measure], modes: ModeTable | None) -> None:
        self.metrics = metrics
        self.modes = modes if modes is not None and len(modes.modes) > 1 else None
        p = {name: p_value(name, metrics[name]) for name in USED if name in metrics}
        if self.modes is not None:
            p[MODES] = min(1.0, COUNTED_AS * min(mode.p_adjusted for mode in self.modes.modes))
        self.different = tuple(name for name, adjusted in holm(p).items() if adjusted <= LEVEL)
        self.repeated = 0.0 if self._only_dense() else self._excess("duplicates")
        self.copied = self._excess("copies")
        self.off = 1 - self._ratio("precision") if self.below("precision") else 0.0

    def above(self, name: str) -> bool:
        return name in self.different and self.metrics[name].value > self.metrics[name].null

    def below(self, name: str) -> bool:
        return name in self.different and self.metrics[name].value < self.metrics[name].null

    @property
    def lost(self) -> float:
        """Share of the data without samples, beyond what junk, repeated samples and wrong shares of modes explain.

        It is 0 if it cannot be told.
        """
        if not self.below("coverage") or self.off > MOSTLY_OFF:
            return 0.0
        coverage = self.metrics["coverage"]
        # A ball stays empty with probability (1 + m/n)^-k under the null, with good samples alone (1 + q m/n)^-k.
        good, sizes = (1 - self.off) * (1 - self.repeated), coverage.n_fake / coverage.n_real
        expected = sum(
            part * (1 - (1 - coverage.null) ** (math.log1p(good * ratio * sizes) / math.log1p(sizes)))
            for part, ratio in self._shares()
        )
        lost = 1 - coverage.value / expected if expected > 0 else 0.0
        return lost if lost > max(LOST, self.off / 2) else 0.0

    def _shares(self) -> list[tuple[float, float]]:
        """Share of the data in each mode, and over it that of the samples, where shares are wrong; else all are 1."""
        if self.modes is None or MODES not in self.different:
            return [(1.0, 1.0)]
        near = 1 - self.modes.unassigned_share
        return [(m.real_share, m.fake_share / near / m.real_share) for m in self.modes.modes if m.real_share * near]

    @property
    def spread(self) -> float:
        """Median over modes of how wide the samples in it are, over the data; NaN if not known."""
        ratios = [mode.spread_ratio for mode in self.modes.modes] if self.modes is not None else []
        known = [ratio for ratio in ratios if math.isfinite(ratio)]
        return float(np.median(known)) if known else math.nan

    def _only_dense(self) -> bool:
        """Whether samples repeat each other for no other reason than that they share narrow modes, or few of them."""
        measure = self.metrics.get("duplicates")
        if measure is None or {"coverage", "recall", "density"} - set(self.metrics):
            return False
        if self.modes is not None:
            reached = sum(mode.real_share for mode in self.modes.modes if mode.state != "missing")
        else:
            reached = min(1.0, self._ratio("coverage"))
        spread = 1.0
        if reached >= REACHED:  # else narrow is what few outputs are
            if self.modes is None and self.below("recall") and self._ratio("density") >= DENSER:
                return True
            spread = min(1.0, self.spread) if math.isfinite(self.spread) else 1.0
        # Of random points in k dimensions, 1 - 2^-(c^k) have another within c times the median distance.
        null = min(max(measure.null, 1e-12), 1 - 1e-12)
        dimensions = math.log(-math.log2(1 - null)) / math.log(CLOSENESS)
        denser = max(spread, 1e-3) ** -dimensions / max(reached, 1e-3)
        explained = -math.expm1(denser * math.log1p(-null))
        return measure.value - explained < FEW

    def shares(self) -> dict[str, str]:
        """Modes missing, or too rare."""
        lost = self.lost
        # Where nearly all samples are junk, the few that strayed into modes say nothing of their shares.
        table = self.modes if self.modes is not None and self.modes.unassigned_share < ALL else None
        if table is not None and (MODES in self.different or lost):
            missing = phrases.in_state("missing", table, "never or almost never generated")
            if missing:
                return {"modes missing": missing}
            wrong = [phrases.in_state("under", table, phrases.RARELY), phrases.in_state("over", table, phrases.OFTEN)]
            if any(wrong) and not self.repeated:  # which take their part from all others
                return {"modes under-represented": " and ".join(part for part in wrong if part)}
            if self.shrunken():
                return {}  # and coverage is low because modes are narrow
        if lost:
            return {"modes missing": f"about {phrases.percent(lost)} of the data is never generated"}
        if table is not None and MODES in self.different and not self.repeated:
            return {"modes under-represented": phrases.off_share(table)}
        return {}

    def shrunken(self) -> bool:
        if "density" not in self.metrics or "recall" not in self.metrics:
            return False
        density, spread = self._ratio("density"), self.spread
        if self.below("coverage") or self.repeated >= FEW:  # which lower recall, too
            narrow = spread < NARROW if math.isfinite(spread) else density >= DENSER
            return self.above("density") and self.below("recall") and narrow
        narrow = spread < NARROW and density > 1 if math.isfinite(spread) else self.above("density")
        return self.below("recall") and narrow

    def _ratio(self, name: str) -> float:
        measure = self.metrics[name]
        return measure.value / measure.null if measure.null > 0 else math.inf

    def _excess(self, name: str) -> float:
        """Share of the samples, beyond the null's, that a share of samples is too high by; 0 where it is by chance."""
        if not self.above(name) or self._ratio(name) < TIMES:
            return 0.0
        measure = self.metrics[name]
        return (measure.value - measure.null) / (1 - measure.null)
