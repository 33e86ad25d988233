"""Adaptive pseudo augmentation: as much as D overfits, fakes are shown to it as real samples."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gandiag.errors import UsageError
from gandiag.techniques.base import Batch, Card, Technique, positive, technique


def overfitting(real_logits: Float[Tensor, ...]) -> Float[Tensor, ""]:
    """E sign D(real), in [-1, 1]: 1 where D is sure of every real sample, 0 where it guesses.

    Source: Jiang et al. 2021, arXiv:2111.06849, Eq. 3 (λ_r), after Karras et al. 2020, arXiv:2006.06676, Eq. 1.
    """
    return real_logits.sign().mean()


@technique(
    Card(
        name="apa",
        summary="Shows D fakes in the place of real samples, as many as it takes to keep it from overfitting.",
        treats={"GD201": 0.4, "GD105": 0.35, "GD203": 0.2},
        source="Jiang et al. 2021, arXiv:2111.06849, Eq. 3 and section 3.2",
        seams=("gradients",),
        cost=1.65,
        cautions=(
            "it deceives D: with much data it costs quality",
            "with a conditional D the deceiving fakes get the labels of the real samples whose place they take",
        ),
        conflicts=("pacgan", "minibatch_discrimination", "minibatch_stddev"),
        snippet="""\
fooling = (torch.rand(len(x_real)) < p).view(-1, *[1] * (x_real.ndim - 1))             # p begins at 0
shown = torch.where(fooling, x_fake.detach(), x_real)                                  # D's loss of it, as real
signs.append(D(x_real).sign().mean())                                                  # of logits
if len(signs) == {interval}:
    p = (p + torch.sign(torch.stack(signs).mean() - {target}) * {interval} * len(x_real) / {over}).clamp(0, 1)
    signs.clear()""",
    )
)
@dataclass
class APA(Technique):
    """Adaptive pseudo augmentation, for any kind of data.

    Attributes:
        target: E sign D(real) that is aimed at, in (0, 1); 0.6 in the paper.
        over: real samples within which the probability can go from 0 to 1, above zero; 500,000 in the paper, which
            trains for 25 million. Less for short runs.
        interval: D steps between two changes of the probability; 4 in the paper.
    """

    reads_own_loss: ClassVar[bool] = True
    target: float = 0.6
    over: int = 500_000
    interval: int = 4
    _p: dict[nn.Module, Tensor] = field(default_factory=dict, init=False, repr=False)
    _signs: dict[nn.Module, list[Tensor]] = field(default_factory=dict, init=False, repr=False)

    def check(self) -> None:
        """Refuse targets and intervals that mean nothing."""
        positive("apa", over=self.over, interval=self.interval)
        if not 0 < self.target < 1:
            raise UsageError(f"technique 'apa': target must lie between 0 and 1, got {self.target}")

    def d_loss(self, batch: Batch) -> Tensor:
        """The script's loss with the exchanged batch, less its loss with the batch that it had."""
        n = min(len(batch.real), len(batch.fake))
        real, fake = batch.real[:n], batch.fake[:n].detach()
        p = self._p.setdefault(batch.net, torch.zeros((), device=real.device, dtype=torch.float64))
        fooling = torch.rand(n, device=real.device, generator=batch.generator) < p
        shown = torch.where(fooling.view(-1, *[1] * (real.ndim - 1)), fake, real)
        shown = torch.cat([shown, batch.real[n:]])
        self._adapt(batch)
        changed, plain = (batch.own.real(batch.critic(x)).mean() for x in (shown, batch.real))
        return changed - plain

    def _adapt(self, batch: Batch) -> None:
        if batch.real_logits is None:
            return
        signs = self._signs.setdefault(batch.net, [])
        signs.append(overfitting(batch.real_logits))
        if len(signs) == self.interval:
            move = (torch.stack(signs).mean() - self.target).sign() * self.interval * len(batch.real) / self.over
            self._p[batch.net] = (self._p[batch.net] + move).clamp(0, 1)
            signs.clear()
