"""Which techniques to turn on: follows from the findings and from what the cards say, from nothing else.

The gain of a set of techniques is the share of the findings' weight that it can be expected to cure: each
technique cures a finding with the strength of its card, and two of them as independent chances would. A set
pays for its cost and for every technique more, so that a second one is named only where it cures what the
first leaves.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from gandiag.analyzers import Finding
from gandiag.rundir import RunInfo
from gandiag.techniques import TECHNIQUES
from gandiag.techniques.base import Card

SEVERITY = {"critical": 1.0, "warning": 0.4, "info": 0.0}
CONFIDENCE = {"high": 1.0, "medium": 0.8, "low": 0.5}
COST = 0.1
"""A technique that doubles the time of a step loses 7 % of its score: a cure is worth much more than time."""
COMPANION = 0.75
"""What a set keeps of its score for each technique beyond the first: more parts, more that can go wrong."""
UNSURE = 0.9
"""What is kept where a technique needs a loss family that could not be told from the recording."""
PAIRED_FROM = 6
"""Sets of two are made of this many best single techniques: it is the strong ones that are worth combining."""
LEAD = 0.3
"""By how much each of a pair must be the better one against some finding."""
MOST = 8
"""Recommendations returned."""
IMAGE_LAYERS = {"Conv2d", "LazyConv2d", "ConvTranspose2d"}
"""Layers that D has where its samples are images, as far as a recording shows."""


@dataclass(frozen=True)
class Recommendation:
    """A set of techniques to turn on together.

    Attributes:
        techniques: `[{"name", "params"}]` with the defaults of each, ready for `--enable`.
        treats: the codes of the findings it is expected to help with.
        reasons: why, in plain words.
        cautions: what to look out for.
        score: expected share of the trouble cured, less cost; 0..1, higher is better.
    """

    techniques: tuple[dict[str, Any], ...]
    treats: tuple[str, ...]
    reasons: tuple[str, ...]
    cautions: tuple[str, ...]
    score: float

    @property
    def name(self) -> str:
        """The techniques' names in one line."""
        return " + ".join(technique["name"] for technique in self.techniques)


@dataclass(frozen=True)
class Option:
    """A technique that may be recommended: its card and its default parameters."""

    card: Card
    params: Mapping[str, Any]


def recommend(
    findings: Sequence[Finding],
    *,
    info: RunInfo,
    loss_family: str = "unknown",
    options: Iterable[Option] | None = None,
) -> list[Recommendation]:
    """Rank sets of techniques for what was found.

    Args:
        findings: of one run; those at severity `info` ask for no cure.
        info: what the run already uses and which layers its discriminator has.
        loss_family: as inferred from the recording.
        options: what to choose from; every registered technique unless given.

    Returns:
        At most eight, best first; empty where nothing needs a cure or nothing fits.
    """
    weights = _weights(findings)
    if not weights:
        return []
    fit = _suitable(_registered() if options is None else options, info, loss_family)
    singles: list[tuple[Option, ...]] = [(option,) for option in fit if _gain((option,), weights) > 0]
    singles.sort(key=lambda chosen: _score(chosen, weights, loss_family), reverse=True)
    pairs: list[tuple[Option, ...]] = [
        (first, second)
        for (first,), (second,) in itertools.combinations(singles[:PAIRED_FROM], 2)
        if not _conflict(first.card, second.card) and _complementary(first, second, weights)
    ]
    ranked = sorted(singles + pairs, key=lambda chosen: _score(chosen, weights, loss_family), reverse=True)
    return [_explain(chosen, findings, weights, loss_family) for chosen in ranked[:MOST]]


def _registered() -> list[Option]:
    return [Option(cls.card, cls().params()) for cls in TECHNIQUES]


def _weights(findings: Iterable[Finding]) -> dict[str, float]:
    """Code -> how much a cure of it is worth; of two findings with one code the heavier counts."""
    weights: dict[str, float] = {}
    for finding in findings:
        weight = SEVERITY[finding.severity] * CONFIDENCE[finding.confidence]
        if weight > 0:
            weights[finding.code] = max(weights.get(finding.code, 0.0), weight)
    return weights


def _suitable(options: Iterable[Option], info: RunInfo, loss_family: str) -> list[Option]:
    used = {str(technique.get("name")) for technique in info.techniques}
    # What watch() saw of D: the classes of its layers, where they were recorded.
    layers = set(map(str, info.roles.get("discriminator", {}).get("layers", [])))
    options = list(options)
    cards = {option.card.name: option.card for option in options}
    return [
        option
        for option in options
        if option.card.name not in used
        and not layers & set(option.card.layers)
        and (not option.card.wants or layers & set(option.card.wants))
        and ("images" not in option.card.data or layers & IMAGE_LAYERS)
        and (not option.card.suits or loss_family in (*option.card.suits, "unknown"))
        and not any(_conflict(option.card, cards[name]) for name in used if name in cards)
    ]


def _conflict(one: Card, other: Card) -> bool:
    return other.name in one.conflicts or one.name in other.conflicts


def _gain(chosen: Sequence[Option], weights: Mapping[str, float]) -> float:
    """Share of the weight that is expected to be cured, 0..1."""
    left = {code: prod(1 - option.card.treats.get(code, 0.0) for option in chosen) for code in weights}
    return sum(weight * (1 - left[code]) for code, weight in weights.items()) / sum(weights.values())


def _complementary(one: Option, other: Option, weights: Mapping[str, float]) -> bool:
    """Is each of the two clearly the better one against some finding?"""
    lead = [one.card.treats.get(code, 0.0) - other.card.treats.get(code, 0.0) for code in weights]
    return max(lead) >= LEAD and min(lead) <= -LEAD


def _score(chosen: Sequence[Option], weights: Mapping[str, float], loss_family: str) -> float:
    cost = prod(max(option.card.cost, 0.1) for option in chosen)
    unsure = loss_family == "unknown" and any(option.card.suits for option in chosen)
    return _gain(chosen, weights) * cost**-COST * COMPANION ** (len(chosen) - 1) * (UNSURE if unsure else 1.0)


def _explain(
    chosen: Sequence[Option], findings: Sequence[Finding], weights: Mapping[str, float], loss_family: str
) -> Recommendation:
    treats = tuple(code for code in sorted(weights) if any(code in option.card.treats for option in chosen))
    names = {finding.code: finding.name for finding in findings}
    reasons: list[str] = []
    cautions: list[str] = []
    for option in chosen:
        card = option.card
        helps = sorted((code for code in treats if code in card.treats), key=lambda code: -card.treats[code])
        against = ", ".join(f"{names[code]} ({code}): {_words(card.treats[code])}" for code in helps)
        reasons.append(f"{card.name}: {card.summary.rstrip('.')}. Evidence against {against}. {card.source}")
        cautions += card.cautions
        if card.suits and loss_family == "unknown":
            cautions.append(f"{card.name} needs the loss to be {' or '.join(card.suits)}; this script's is not known")
        if card.cost >= 1.25:
            cautions.append(f"{card.name} makes a training step about {card.cost:.1f} times as long")
        if card.restart:
            cautions.append(f"{card.name} changes what D's weights mean: train anew, not from a checkpoint")
    untouched = [code for code in sorted(weights) if code not in treats]
    if untouched:
        cautions.append(f"does nothing against {', '.join(untouched)}")
    return Recommendation(
        techniques=tuple({"name": option.card.name, "params": dict(option.params)} for option in chosen),
        treats=treats,
        reasons=tuple(reasons),
        cautions=tuple(dict.fromkeys(cautions)),
        score=round(_score(chosen, weights, loss_family), 4),
    )


_STRENGTH: tuple[tuple[float, str], ...] = ((0.75, "strong"), (0.5, "good"), (0.3, "some"), (0.0, "weak"))


def _words(strength: float) -> str:
    return next(word for least, word in _STRENGTH if strength >= least)
