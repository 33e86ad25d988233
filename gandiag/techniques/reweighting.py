"""Reweighting of real samples by how much D has missed each of them among the fakes (Dia-GAN)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor, nn

from gandiag.errors import TechniqueRefused
from gandiag.techniques.base import Batch, Card, Technique, positive, technique

LEAST = 0.01
"""Score below which none is told apart, as in the authors' code."""


def discrepancy(
    logits: Float[NDArray[np.float64], "samples times"], *, k: float, ratio: float
) -> Float[NDArray[np.float64], " samples"]:
    """Weights of mean 1: mean + k standard deviations of each sample's log density ratio, cut off at both ends.

    Source: Lee et al. 2021, arXiv:2102.12033, section 3.3; the ends as in the authors' code: no score below 0.01, none
    above `ratio` times the smallest.

    Args:
        logits: D's logit of each sample at several times, which estimates log(p_data / p_g) there; NaN where there is
            none. At least two of each.
        k: weight of the standard deviation.
        ratio: largest score over the smallest.
    """
    score = np.maximum(np.nanmean(logits, axis=1) + k * np.nanstd(logits, axis=1, ddof=1), LEAST)
    score = np.minimum(score, ratio * score.min())
    weights: Float[NDArray[np.float64], " samples"] = score / score.mean()
    return weights


@dataclass
class _Record:
    """What is known of the samples of one D: by their bytes, as a script hands out no numbers."""

    logits: dict[bytes, list[float]] = field(default_factory=dict)
    weights: dict[bytes, float] = field(default_factory=dict)


@technique(
    Card(
        name="reweighting",
        summary="Gives real samples more weight in D's loss the more D has missed them among the fakes (Dia-GAN).",
        treats={"GD101": 0.4},
        source="Lee et al. 2021, arXiv:2102.12033, section 3.3",
        seams=("gradients",),
        cost=1.4,
        cautions=(
            "samples are known again by their values, so the script must not augment them at random",
            "from the recording on each step waits for the device, to look the samples up",
            "outliers and wrong labels are what D misses most: they get weight too",
        ),
        conflicts=(
            "pacgan",
            "minibatch_discrimination",
            "minibatch_stddev",
            "instance_noise",
            "augment",
            "diffaugment",
            "ada",
        ),
        suits=("bce",),
        snippet="""\
# record D's logit of each real sample over {window} steps, from step {after} on: logits[i, t], then once
score = np.maximum(logits.mean(1) + {k} * logits.std(1, ddof=1), 0.01)
weight = np.minimum(score, {ratio} * score.min())
loader = DataLoader(data, batch_size, sampler=WeightedRandomSampler(weight, len(data)))""",
    )
)
@dataclass
class Reweighting(Technique):
    """Reweighting by the log density ratio, in expectation what the paper's resampling is.

    Attributes:
        after: D's steps before recording begins, above zero; 35,000 of 75,000 in the paper.
        window: D's steps that are recorded, above zero; 5,000 in the paper. Each sample must come at least twice.
        k: weight of the standard deviation, above zero; 0.3 to 5 in the paper.
        ratio: largest weight over the smallest, above zero; 50 in the paper.
    """

    reads_own_loss: ClassVar[bool] = True
    after: int = 2000
    window: int = 1000
    k: float = 1.0
    ratio: float = 50.0
    _records: dict[nn.Module, _Record] = field(default_factory=dict, init=False, repr=False)

    def check(self) -> None:
        """Refuse times and weights that mean nothing."""
        positive("reweighting", after=self.after, window=self.window, k=self.k, ratio=self.ratio)

    def d_loss(self, batch: Batch) -> Tensor | None:
        """The mean of (weight - 1) times the script's loss of each real sample; None before the weights are known."""
        record = self._records.setdefault(batch.net, _Record())
        if batch.step < self.after:
            return None
        keys = [row.tobytes() for row in batch.real.detach().cpu().numpy()]
        if batch.step < self.after + self.window:
            if batch.real_logits is not None:
                for key, logit in zip(keys, batch.real_logits.flatten(1).mean(dim=1).tolist(), strict=True):
                    record.logits.setdefault(key, []).append(logit)
            return None
        if not record.weights:
            record.weights, record.logits = self._weigh(record.logits), {}
        excess = batch.real.new_tensor([record.weights.get(key, 1.0) - 1 for key in keys])
        return (excess * batch.own.real(batch.critic(batch.real)).flatten(1).mean(dim=1)).mean()

    def _weigh(self, logits: dict[bytes, list[float]]) -> dict[bytes, float]:
        known = {key: values for key, values in logits.items() if len(values) > 1}
        if len(known) < len(logits) / 2:
            raise TechniqueRefused(
                f"reweighting has seen {len(logits)} real samples in {self.window} steps of D, and {len(known)} of "
                "them more than once, so none has a record: if the script augments its samples at random, take that "
                "out; else give a longer window, of several epochs (reweighting:window=...)"
            )
        longest = max(map(len, known.values()))
        table = np.full((len(known), longest), np.nan)
        for row, values in zip(table, known.values(), strict=True):
            row[: len(values)] = values
        return dict(zip(known, discrepancy(table, k=self.k, ratio=self.ratio).tolist(), strict=True))
