"""Top-k training: G learns from those of its samples that D finds best."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gandiag.errors import UsageError
from gandiag.techniques.base import Batch, Card, Technique, positive, technique


def best(logits: Float[Tensor, "n ..."], k: int, *, pack: int, rows: int) -> Float[Tensor, " rows"]:
    """For each sample n / k if its score is among the k highest of n, else 0: a mean times this is one over the best.

    Source: Sinha et al. 2020, arXiv:2002.06224.

    Args:
        logits: one row for each pack of samples, whose mean is its score.
        k: how many packs are kept.
        pack: how many samples D judges at a time.
        rows: how many samples there are; the last pack may be short of some.
    """
    scores = logits.flatten(1).mean(dim=1)
    kept = torch.zeros_like(scores).index_fill(0, scores.topk(k).indices, len(scores) / k)
    return kept.repeat_interleave(pack)[:rows]


@technique(
    Card(
        name="top_k",
        summary="G learns only from those of its samples that D takes for real most; fewer and fewer of the batch.",
        treats={"GD203": 0.2},
        source="Sinha et al. 2020, arXiv:2002.06224",
        seams=("gradients",),
        cost=1.1,
        cautions=(
            "raises the quality of samples, not the number of modes: what D finds worst may be a mode being born",
            "reads D's score as higher for real samples; a script that swaps the labels trains on the worst",
            "where D mixes the samples of a batch, as batch norm does, a sample's share in the others' scores goes too",
        ),
        snippet="""\
share = max({gamma} ** (step // {every}), {share})               # step: how many G has made
scores, rows = D(G(z)).flatten().topk(math.ceil(share * len(z)))   # D's logits, before any sigmoid
loss_g = F.softplus(-scores).mean()                              # the script's own loss of G, of these alone""",
    )
)
@dataclass
class TopK(Technique):
    """Top-k training of G.

    The share of the batch that G learns from starts at 1 and is multiplied by `gamma` after each `every` steps of G,
    down to `share`.

    Attributes:
        gamma: in (0, 1).
        every: steps of G for one multiplication.
        share: the least share of the batch, in (0, 1).
    """

    gamma: float = 0.99
    every: int = 2000
    share: float = 0.5
    _step: int = field(default=0, init=False, repr=False)

    def check(self) -> None:
        """Refuse shares that are none."""
        positive("top_k", every=self.every)
        for name, value in (("gamma", self.gamma), ("share", self.share)):
            if not 0 < value < 1:
                raise UsageError(f"technique 'top_k': {name} must lie between 0 and 1, got {value}")

    def g_gradient(self, batch: Batch, gradient: Tensor) -> Tensor:
        """The gradient of the k best samples, or packs of them, times n / k; none for the others."""
        share = max(self.gamma ** (self._step // self.every), self.share)
        packs = -(-len(gradient) // batch.pack)
        k = math.ceil(share * packs)
        if k == packs:
            return gradient
        with torch.no_grad():
            logits = batch.critic(batch.fake, like="fake")
        kept = best(logits.reshape(packs, -1), k, pack=batch.pack, rows=len(gradient))
        return gradient * kept.reshape(-1, *[1] * (gradient.ndim - 1))

    def after_g_step(self, g_nets: list[nn.Module]) -> None:
        """G's steps are the clock."""
        self._step += 1
